/**
 * What a client asks. One byte of type, u32 id, the deadline in the authority's monotonic clock, then the fields.
 *
 * No wall time crosses the wire: deadlines travel as remaining ms, creation as an age, and a login's beginning in the
 * authority's own clock, so that neither a wrong clock nor a slow link makes a session live longer or a login younger.
 */
import { SessionError } from "../../core/errors.ts";
import type { OperationId, SessionKey } from "../../core/ids.ts";
import type { NewSession, PrincipalChange, SessionDelta } from "../../core/record.ts";
import type { Version } from "../../core/version.ts";
import { invalidFrame, Reader, Writer } from "./bytes.ts";
import { FRAME_BYTES_MAX, MESSAGE, OPERATIONS } from "./protocol.ts";

export type Request =
  | { readonly op: "read"; readonly key: SessionKey }
  | { readonly op: "create"; readonly operationId: OperationId; readonly session: NewSession }
  | {
      readonly op: "apply";
      readonly key: SessionKey;
      readonly operationId: OperationId;
      readonly delta: SessionDelta;
      readonly atLeast?: Version | undefined;
    }
  | {
      readonly op: "touch";
      readonly key: SessionKey;
      readonly operationId: OperationId;
      readonly expiresAtMs: number;
    }
  | {
      readonly op: "supersede";
      readonly key: SessionKey;
      readonly operationId: OperationId;
      readonly successor: SessionKey;
      readonly graceMs: number;
    }
  | { readonly op: "destroy"; readonly key: SessionKey; readonly operationId: OperationId }
  | {
      readonly op: "list";
      readonly principal?: string | undefined;
      readonly cursor?: string | undefined;
      readonly limit?: number | undefined;
    }
  | { readonly op: "count"; readonly principal?: string | undefined }
  | {
      readonly op: "endAll";
      readonly operationId: OperationId;
      readonly principal: string;
      readonly except?: SessionKey | undefined;
    }
  | { readonly op: "watch" }
  | { readonly op: "heartbeat" }
  | { readonly op: "status" };

export type Operation = Request["op"];

/** The two clocks of the process that encodes or decodes; the authority's is estimated on a client. */
export interface Moment {
  readonly wallMs: number;
  readonly authorityMs: number;
}

export interface RequestEnvelope {
  readonly id: number;
  /** In the authority's monotonic clock; the operation is refused after it. */
  readonly deadlineMs: number;
  readonly request: Request;
}

const CURSOR_BYTES_MAX = 4096;
const LONE_SURROGATE = /\p{Surrogate}/u;
const TEXT_BYTES_MAX = FRAME_BYTES_MAX;

/** @throws {SessionError} INVALID_OPTION or INVALID_ATTRIBUTE_NAME for what cannot be sent; nothing was */
export function encodeRequest({ id, deadlineMs, request }: RequestEnvelope, now: Moment): Buffer {
  const writer = new Writer(sizeHint(request)).u8(MESSAGE[request.op]).u32(id).f64(deadlineMs);
  switch (request.op) {
    case "read":
      return writer.key(request.key).finish();
    case "create":
      writer.key(request.session.key).operationId(request.operationId);
      writeNewSession(writer, request.session, now);
      return writer.finish();
    case "apply":
      writer.key(request.key).operationId(request.operationId);
      writer.optional(request.atLeast, (version) => writer.version(version));
      writeDelta(writer, request.delta, now);
      return writer.finish();
    case "touch":
      return writer
        .key(request.key)
        .operationId(request.operationId)
        .f64(request.expiresAtMs - now.wallMs)
        .finish();
    case "supersede":
      return writer
        .key(request.key)
        .operationId(request.operationId)
        .key(request.successor)
        .f64(request.graceMs)
        .finish();
    case "destroy":
      return writer.key(request.key).operationId(request.operationId).finish();
    case "list":
      writer.optional(request.principal, (principal) => writer.text(wellFormed(principal, "a principal")));
      writer.optional(request.cursor, (cursor) => writer.text(cursor));
      writer.optional(request.limit, (limit) => writer.u16(limit));
      return writer.finish();
    case "count":
      return writer
        .optional(request.principal, (principal) => writer.text(wellFormed(principal, "a principal")))
        .finish();
    case "endAll":
      writer.operationId(request.operationId).text(wellFormed(request.principal, "a principal"));
      writer.optional(request.except, (except) => writer.key(except));
      return writer.finish();
    case "watch":
    case "heartbeat":
    case "status":
      return writer.finish();
  }
}

const OPERATION_OF: ReadonlyMap<number, Operation> = new Map(OPERATIONS.map((op) => [MESSAGE[op], op]));

/** @throws {SessionError} INVALID_FRAME; the connection it came from cannot be trusted to be in step any more */
export function decodeRequest(frame: Uint8Array, now: Moment): RequestEnvelope {
  const reader = new Reader(frame);
  const type = reader.u8();
  const op = OPERATION_OF.get(type);
  if (op === undefined) throw invalidFrame(`message type ${type} is no request`);
  const id = reader.u32();
  const deadlineMs = reader.f64();
  const request = readRequest(reader, op, now);
  reader.end();
  return { id, deadlineMs, request };
}

function readRequest(reader: Reader, op: Operation, now: Moment): Request {
  switch (op) {
    case "read":
      return { op, key: reader.key() };
    case "create": {
      const key = reader.key();
      return { op, operationId: reader.operationId(), session: readNewSession(reader, key, now) };
    }
    case "apply": {
      const key = reader.key();
      const operationId = reader.operationId();
      const atLeast = reader.optional(() => reader.version());
      return { op, key, operationId, atLeast, delta: readDelta(reader, now) };
    }
    case "touch":
      return {
        op,
        key: reader.key(),
        operationId: reader.operationId(),
        expiresAtMs: now.wallMs + reader.f64(),
      };
    case "supersede":
      return {
        op,
        key: reader.key(),
        operationId: reader.operationId(),
        successor: reader.key(),
        graceMs: reader.f64(),
      };
    case "destroy":
      return { op, key: reader.key(), operationId: reader.operationId() };
    case "list":
      return {
        op,
        principal: reader.optional(() => reader.text(TEXT_BYTES_MAX)),
        cursor: reader.optional(() => reader.text(CURSOR_BYTES_MAX)),
        limit: reader.optional(() => reader.u16()),
      };
    case "count":
      return { op, principal: reader.optional(() => reader.text(TEXT_BYTES_MAX)) };
    case "endAll":
      return {
        op,
        operationId: reader.operationId(),
        principal: reader.text(TEXT_BYTES_MAX),
        except: reader.optional(() => reader.key()),
      };
    case "watch":
    case "heartbeat":
    case "status":
      return { op };
  }
}

function writeNewSession(writer: Writer, session: NewSession, now: Moment): void {
  writer.f64(session.expiresAtMs - now.wallMs).f64(session.absoluteExpiresAtMs - now.wallMs);
  writer.optional(session.createdAtMs, (createdAtMs) => writer.f64(now.wallMs - createdAtMs));
  writer.optional(session.principal, (change) => writePrincipal(writer, change, now));
  writeValues(writer, session.attributes);
}

function readNewSession(reader: Reader, key: SessionKey, now: Moment): NewSession {
  const expiresAtMs = now.wallMs + reader.f64();
  const absoluteExpiresAtMs = now.wallMs + reader.f64();
  const createdAtMs = reader.optional(() => now.wallMs - reader.f64());
  const principal = reader.optional(() => readPrincipal(reader, now));
  return {
    key,
    expiresAtMs,
    absoluteExpiresAtMs,
    ...(createdAtMs === undefined ? {} : { createdAtMs }),
    ...(principal === undefined ? {} : { principal }),
    attributes: readValues(reader),
  };
}

function writeDelta(writer: Writer, delta: SessionDelta, now: Moment): void {
  writer.optional(delta.expiresAtMs, (expiresAtMs) => writer.f64(expiresAtMs - now.wallMs));
  writer.optional(delta.principal, (change) => writePrincipal(writer, change, now));
  writeValues(writer, delta.set ?? new Map());
  const deleted = [...(delta.delete ?? [])];
  writer.u32(deleted.length);
  for (const name of deleted) writer.text(attributeName(name));
  writer.u32(delta.expect?.size ?? 0);
  for (const [name, expected] of delta.expect ?? []) {
    writer.text(attributeName(name)).optional(expected, (version) => writer.version(version));
  }
}

function readDelta(reader: Reader, now: Moment): SessionDelta {
  const expiresAtMs = reader.optional(() => now.wallMs + reader.f64());
  const principal = reader.optional(() => readPrincipal(reader, now));
  const set = readValues(reader);
  const deleted: string[] = [];
  for (let left = reader.count(4); left > 0; left--) deleted.push(reader.text(TEXT_BYTES_MAX));
  const expect = new Map<string, Version | null>();
  for (let left = reader.count(5); left > 0; left--) {
    expect.set(reader.text(TEXT_BYTES_MAX), reader.optional(() => reader.version()) ?? null);
  }
  return {
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    ...(principal === undefined ? {} : { principal }),
    ...(set.size === 0 ? {} : { set }),
    ...(deleted.length === 0 ? {} : { delete: deleted }),
    ...(expect.size === 0 ? {} : { expect }),
  };
}

function writeValues(writer: Writer, values: ReadonlyMap<string, Uint8Array>): void {
  writer.u32(values.size);
  for (const [name, value] of values) writer.text(attributeName(name)).blob(value);
}

function readValues(reader: Reader): Map<string, Uint8Array> {
  const values = new Map<string, Uint8Array>();
  for (let left = reader.count(8); left > 0; left--) values.set(reader.text(TEXT_BYTES_MAX), reader.blob());
  return values;
}

/** The login's beginning goes as a moment of the authority's clock: it ages while the frame waits, as it should. */
function writePrincipal(writer: Writer, change: PrincipalChange, now: Moment): void {
  writer.optional(change.principal, (principal) => writer.text(wellFormed(principal, "a principal")));
  writer.f64(now.authorityMs - change.ageMs);
}

function readPrincipal(reader: Reader, now: Moment): PrincipalChange {
  const principal = reader.optional(() => reader.text(TEXT_BYTES_MAX)) ?? null;
  return { principal, ageMs: Math.max(0, now.authorityMs - reader.f64()) };
}

/** UTF-8 would silently make one name of two that differ in a lone surrogate. */
function attributeName(name: string): string {
  if (LONE_SURROGATE.test(name)) {
    throw new SessionError(
      "INVALID_ATTRIBUTE_NAME",
      "Cannot send an attribute: its name has a lone surrogate",
    );
  }
  return name;
}

function wellFormed(text: string, what: string): string {
  if (LONE_SURROGATE.test(text)) {
    throw new SessionError("INVALID_OPTION", `Cannot send ${what}: it has a lone surrogate`);
  }
  return text;
}

function sizeHint(request: Request): number {
  const values =
    request.op === "create"
      ? request.session.attributes
      : request.op === "apply"
        ? request.delta.set
        : undefined;
  let bytes = 192;
  for (const [name, value] of values ?? []) bytes += 8 + name.length + value.byteLength;
  return bytes;
}
