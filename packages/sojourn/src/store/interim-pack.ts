/** Until core/pack.ts is there: the same two functions over V8's serialisation. */
import { deserialize, serialize } from "node:v8";
import type { SessionKey } from "../core/ids.ts";
import type { SessionRecord } from "../core/record.ts";

export type RecordTimes = Pick<
  SessionRecord,
  "createdAtMs" | "touchedAtMs" | "expiresAtMs" | "absoluteExpiresAtMs"
>;

export function packRecord(record: SessionRecord): Buffer {
  return serialize(record);
}

export function unpackRecord(key: SessionKey, times: RecordTimes, bytes: Uint8Array): SessionRecord {
  return { ...(deserialize(bytes) as SessionRecord), ...times, key };
}
