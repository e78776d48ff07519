/**
 * What the authority answers, and what it says unasked. A reply repeats its request's type and id, and the key it is
 * about: a reader compares all three, so an answer can never end up with another visitor's request.
 */
import type { ErrorCode } from "../../core/errors.ts";
import type { SessionKey } from "../../core/ids.ts";
import { packRecord, unpackRecord } from "../../core/pack.ts";
import type { SessionRecord } from "../../core/record.ts";
import type {
  ApplyResult,
  CreateResult,
  SessionPage,
  SessionSummary,
  SupersedeResult,
} from "../../store/store.ts";
import { invalidFrame, Reader, Writer } from "./bytes.ts";
import { knownCode } from "./hello.ts";
import { FRAME_BYTES_MAX, MESSAGE, OPERATIONS } from "./protocol.ts";

export type Reply =
  | { readonly op: "read"; readonly key: SessionKey; readonly record: SessionRecord | null }
  | { readonly op: "create"; readonly key: SessionKey; readonly result: CreateResult }
  | { readonly op: "apply"; readonly key: SessionKey; readonly result: ApplyResult }
  | { readonly op: "touch"; readonly key: SessionKey; readonly live: boolean }
  | { readonly op: "supersede"; readonly key: SessionKey; readonly result: SupersedeResult }
  | { readonly op: "destroy"; readonly key: SessionKey; readonly ended: boolean }
  | { readonly op: "list"; readonly page: SessionPage }
  | { readonly op: "count"; readonly count: number }
  | { readonly op: "endAll"; readonly count: number }
  | { readonly op: "watch" }
  | { readonly op: "heartbeat"; readonly authorityMs: number }
  /** JSON text: it grows with every release and only people and dashboards read it. */
  | { readonly op: "status"; readonly json: string }
  /** The operation was refused or failed; whatever the request was. */
  | { readonly op: "error"; readonly code: ErrorCode; readonly message: string };

export type Push =
  | { readonly push: "invalidated"; readonly keys: readonly SessionKey[] | "all" }
  /** The server is stopping in good order: send no more on this connection. */
  | { readonly push: "leaving" };

const KEY_BYTES = 32;
const MESSAGE_BYTES_MAX = 4096;

export function encodeReply(id: number, reply: Reply, wallMs: number): Buffer {
  const writer = new Writer();
  if (reply.op === "error") {
    return writer.u8(MESSAGE.error).u32(id).text(reply.code).text(reply.message.slice(0, 1000)).finish();
  }
  writer.u8(MESSAGE[reply.op] | MESSAGE.replyBit).u32(id);
  switch (reply.op) {
    case "read":
      return writer
        .key(reply.key)
        .optional(reply.record, (record) => writeRecord(writer, record, wallMs))
        .finish();
    case "create":
      writer.key(reply.key).u8(CREATE_STATUSES.indexOf(reply.result.status));
      if (reply.result.status === "created") writer.version(reply.result.version);
      return writer.finish();
    case "apply":
      writer.key(reply.key).u8(APPLY_STATUSES.indexOf(reply.result.status));
      if (reply.result.status === "applied") {
        writer.version(reply.result.version).f64(reply.result.expiresAtMs - wallMs);
      } else if (reply.result.status === "conflict") writeRecord(writer, reply.result.current, wallMs);
      return writer.finish();
    case "touch":
      return writer
        .key(reply.key)
        .u8(reply.live ? 1 : 0)
        .finish();
    case "supersede":
      writer.key(reply.key).u8(reply.result.status === "superseded" ? 1 : 0);
      if (reply.result.status === "superseded") writeRecord(writer, reply.result.final, wallMs);
      return writer.finish();
    case "destroy":
      return writer
        .key(reply.key)
        .u8(reply.ended ? 1 : 0)
        .finish();
    case "list":
      writer.optional(reply.page.next, (next) => writer.text(next)).u32(reply.page.sessions.length);
      for (const summary of reply.page.sessions) writeSummary(writer, summary, wallMs);
      return writer.finish();
    case "count":
    case "endAll":
      return writer.u48(reply.count).finish();
    case "watch":
      return writer.finish();
    case "heartbeat":
      return writer.f64(reply.authorityMs).finish();
    case "status":
      return writer.text(reply.json).finish();
  }
}

export function encodePush(push: Push): Buffer {
  if (push.push === "leaving") return new Writer(1).u8(MESSAGE.leaving).finish();
  if (push.keys === "all") return new Writer(6).u8(MESSAGE.invalidated).u8(1).finish();
  const writer = new Writer(8 + push.keys.length * KEY_BYTES)
    .u8(MESSAGE.invalidated)
    .u8(0)
    .u32(push.keys.length);
  for (const key of push.keys) writer.key(key);
  return writer.finish();
}

const CREATE_STATUSES = ["created", "taken", "gone"] as const;
const APPLY_STATUSES = ["applied", "conflict", "behind", "gone"] as const;
const REPLY_OPS: ReadonlyMap<number, Exclude<Reply["op"], "error">> = new Map(
  OPERATIONS.map((op) => [MESSAGE[op] | MESSAGE.replyBit, op]),
);

/** @throws {SessionError} INVALID_FRAME */
export function decodeFromServer(
  frame: Uint8Array,
  wallMs: number,
): { readonly id: number; readonly reply: Reply } | Push {
  const reader = new Reader(frame);
  const type = reader.u8();
  const decoded =
    type === MESSAGE.leaving || type === MESSAGE.invalidated
      ? readPush(reader, type)
      : { id: reader.u32(), reply: readReply(reader, type, wallMs) };
  reader.end();
  return decoded;
}

function readPush(reader: Reader, type: number): Push {
  if (type === MESSAGE.leaving) return { push: "leaving" };
  if (bool(reader)) return { push: "invalidated", keys: "all" };
  const keys: SessionKey[] = [];
  for (let left = reader.count(KEY_BYTES); left > 0; left--) keys.push(reader.key());
  return { push: "invalidated", keys };
}

function readReply(reader: Reader, type: number, wallMs: number): Reply {
  if (type === MESSAGE.error) {
    return { op: "error", code: knownCode(reader.text(64)), message: reader.text(MESSAGE_BYTES_MAX) };
  }
  const op = REPLY_OPS.get(type);
  if (op === undefined) throw invalidFrame(`message type ${type} is no reply`);
  switch (op) {
    case "read": {
      const key = reader.key();
      return { op, key, record: reader.optional(() => readRecord(reader, key, wallMs)) ?? null };
    }
    case "create": {
      const key = reader.key();
      const status = choice(reader, CREATE_STATUSES);
      return { op, key, result: status === "created" ? { status, version: reader.version() } : { status } };
    }
    case "apply": {
      const key = reader.key();
      return { op, key, result: readApplied(reader, key, wallMs) };
    }
    case "touch":
      return { op, key: reader.key(), live: bool(reader) };
    case "supersede": {
      const key = reader.key();
      return {
        op,
        key,
        result: bool(reader)
          ? { status: "superseded", final: readRecord(reader, key, wallMs) }
          : { status: "gone" },
      };
    }
    case "destroy":
      return { op, key: reader.key(), ended: bool(reader) };
    case "list": {
      const next = reader.optional(() => reader.text(4096));
      const sessions: SessionSummary[] = [];
      for (let left = reader.count(KEY_BYTES); left > 0; left--) sessions.push(readSummary(reader, wallMs));
      return { op, page: next === undefined ? { sessions } : { sessions, next } };
    }
    case "count":
    case "endAll":
      return { op, count: reader.u48() };
    case "watch":
      return { op };
    case "heartbeat":
      return { op, authorityMs: reader.f64() };
    case "status":
      return { op, json: reader.text(FRAME_BYTES_MAX) };
  }
}

function readApplied(reader: Reader, key: SessionKey, wallMs: number): ApplyResult {
  const status = choice(reader, APPLY_STATUSES);
  switch (status) {
    case "applied":
      return { status, version: reader.version(), expiresAtMs: wallMs + reader.f64() };
    case "conflict":
      return { status, current: readRecord(reader, key, wallMs) };
    default:
      return { status };
  }
}

/** Ages and remaining times, then the packed record. */
function writeRecord(writer: Writer, record: SessionRecord, wallMs: number): void {
  writer
    .f64(wallMs - record.createdAtMs)
    .f64(wallMs - record.touchedAtMs)
    .f64(record.expiresAtMs - wallMs)
    .f64(record.absoluteExpiresAtMs - wallMs)
    .blob(packRecord(record));
}

function readRecord(reader: Reader, key: SessionKey, wallMs: number): SessionRecord {
  const times = {
    createdAtMs: wallMs - reader.f64(),
    touchedAtMs: wallMs - reader.f64(),
    expiresAtMs: wallMs + reader.f64(),
    absoluteExpiresAtMs: wallMs + reader.f64(),
  };
  // A copy: the record outlives this frame, and would hold the socket buffer around it.
  return unpackRecord(key, times, Buffer.from(reader.blob()));
}

function writeSummary(writer: Writer, summary: SessionSummary, wallMs: number): void {
  writer
    .key(summary.key)
    .optional(summary.principal, (principal) => writer.text(principal))
    .f64(wallMs - summary.createdAtMs)
    .f64(wallMs - summary.touchedAtMs)
    .f64(summary.expiresAtMs - wallMs)
    .f64(summary.absoluteExpiresAtMs - wallMs)
    .u32(summary.attributeCount)
    .u48(summary.attributeBytes);
}

function readSummary(reader: Reader, wallMs: number): SessionSummary {
  return {
    key: reader.key(),
    principal: reader.optional(() => reader.text(FRAME_BYTES_MAX)) ?? null,
    createdAtMs: wallMs - reader.f64(),
    touchedAtMs: wallMs - reader.f64(),
    expiresAtMs: wallMs + reader.f64(),
    absoluteExpiresAtMs: wallMs + reader.f64(),
    attributeCount: reader.u32(),
    attributeBytes: reader.u48(),
  };
}

function bool(reader: Reader): boolean {
  const value = reader.u8();
  if (value > 1) throw invalidFrame(`a yes or no of ${value}`);
  return value === 1;
}

function choice<T>(reader: Reader, values: readonly T[]): T {
  const index = reader.u8();
  const value = values[index];
  if (value === undefined) throw invalidFrame(`status ${index} of ${values.length}`);
  return value;
}
