/** What a listing tells of a session. */
import { attributeBytes, type SessionRecord } from "../core/record.ts";
import type { SessionSummary } from "./store.ts";

export function summaryOf(record: SessionRecord): SessionSummary {
  const { key, principal, createdAtMs, touchedAtMs, expiresAtMs, absoluteExpiresAtMs, attributes } = record;
  return {
    key,
    principal,
    createdAtMs,
    touchedAtMs,
    expiresAtMs,
    absoluteExpiresAtMs,
    attributeCount: attributes.size,
    attributeBytes: attributeBytes(attributes),
  };
}
