/**
 * What a session is: attributes, a principal, two deadlines, and which writes it contains. And what a change to one is:
 * a delta of sets and deletes, applied by one pure function, so every authority (memory, session server, later each
 * member) decides alike.
 *
 * Attribute values are bytes here (core/codec.ts): stores, wire and merge never parse a value.
 *
 * All times are wall milliseconds *of the process that holds the object*. Nothing sends them elsewhere as they are: the
 * wire carries remaining time, so clocks that disagree cannot lengthen or shorten a session.
 */
import type { SessionKey } from "./ids.ts";
import type { Stamp } from "./stamp.ts";
import { advance, type Lineage, sameVersion, type Version } from "./version.ts";

export interface Attribute {
  /** Encoded value: codec byte, then payload. Never mutated. */
  readonly value: Uint8Array;
  /** The commit that wrote it. Absent elsewhere but covered by that copy's lineage means deleted there: no markers needed. */
  readonly version: Version;
  readonly stamp: Stamp;
}

export interface SessionRecord {
  readonly key: SessionKey;
  /** 16 hex characters drawn at creation. Records of different births never merge. */
  readonly birth: string;
  readonly createdAtMs: number;
  /** When a store last accepted activity (create, commit, touch). */
  readonly touchedAtMs: number;
  /** Idle deadline as stored. The session is gone from this moment on. */
  readonly expiresAtMs: number;
  /** Absolute deadline. Nothing moves it. */
  readonly absoluteExpiresAtMs: number;
  readonly principal: string | null;
  /** "superseded": renewed to another id; for a grace period reads still answer this frozen snapshot, writes are gone. */
  readonly state: "live" | "superseded";
  /** The newest commit it contains. */
  readonly version: Version;
  readonly lineage: Lineage;
  /** The newest commit's stamp: the next one must be greater. */
  readonly stamp: Stamp;
  readonly attributes: ReadonlyMap<string, Attribute>;
  /** Fields a newer release wrote, kept byte for byte (core/pack.ts). Absent: none. */
  readonly unknownFields?: Uint8Array;
}

/**
 * A new owner of the session. `ageMs`: how long ago the request that logs in *began*. An `endAll` of the principal that
 * came after that beginning also ends this login, however late it commits.
 */
export interface PrincipalChange {
  readonly principal: string | null;
  readonly ageMs: number;
}

/** What the caller of `create` decides; the authority adds version, stamp and birth. */
export interface NewSession {
  readonly key: SessionKey;
  readonly attributes: ReadonlyMap<string, Uint8Array>;
  readonly principal?: PrincipalChange;
  /** Kept over a renewal: the session began when the visitor did. Default now. */
  readonly createdAtMs?: number;
  readonly expiresAtMs: number;
  readonly absoluteExpiresAtMs: number;
}

/** One commit. Applied whole or not at all. */
export interface SessionDelta {
  readonly set?: ReadonlyMap<string, Uint8Array>;
  readonly delete?: Iterable<string>;
  /** Attribute → the version the caller read, null for absent. Any difference answers "conflict" and changes nothing. */
  readonly expect?: ReadonlyMap<string, Version | null>;
  readonly principal?: PrincipalChange;
  /** New idle deadline. Never moves back. */
  readonly expiresAtMs?: number;
}

/** What the authority contributes to a commit. */
export interface Commit {
  readonly version: Version;
  readonly stamp: Stamp;
  readonly nowMs: number;
}

export function recordFrom(session: NewSession, birth: string, commit: Commit): SessionRecord {
  const { version, stamp, nowMs } = commit;
  const attributes = new Map<string, Attribute>();
  for (const [name, value] of session.attributes) attributes.set(name, { value, version, stamp });
  return {
    key: session.key,
    birth,
    createdAtMs: session.createdAtMs ?? nowMs,
    touchedAtMs: nowMs,
    expiresAtMs: Math.min(session.expiresAtMs, session.absoluteExpiresAtMs),
    absoluteExpiresAtMs: session.absoluteExpiresAtMs,
    principal: session.principal?.principal ?? null,
    state: "live",
    version,
    lineage: new Map([[version.epoch, version.counter]]),
    stamp,
    attributes,
  };
}

/** True when every attribute still is what the delta expects. */
export function expectationsHold(record: SessionRecord, delta: SessionDelta): boolean {
  for (const [name, expected] of delta.expect ?? []) {
    if (!sameVersion(record.attributes.get(name)?.version, expected)) return false;
  }
  return true;
}

/** The record after one commit. Pure; `record` is unchanged. */
export function applyDelta(record: SessionRecord, delta: SessionDelta, commit: Commit): SessionRecord {
  const { version, stamp, nowMs } = commit;
  const attributes = new Map(record.attributes);
  for (const name of delta.delete ?? []) attributes.delete(name);
  for (const [name, value] of delta.set ?? []) attributes.set(name, { value, version, stamp });
  return {
    ...record,
    touchedAtMs: nowMs,
    expiresAtMs: movedDeadline(record, delta.expiresAtMs),
    principal: delta.principal ? delta.principal.principal : record.principal,
    version,
    lineage: advance(record.lineage, version),
    stamp,
    attributes,
  };
}

/** Idle deadline after a touch: never earlier than it was, never past the absolute one. */
export function movedDeadline(
  record: Pick<SessionRecord, "expiresAtMs" | "absoluteExpiresAtMs">,
  expiresAtMs: number | undefined,
): number {
  if (expiresAtMs === undefined) return record.expiresAtMs;
  return Math.min(Math.max(record.expiresAtMs, expiresAtMs), record.absoluteExpiresAtMs);
}

/** Bytes of names and values: what limits count. */
export function attributeBytes(attributes: Iterable<readonly [string, Attribute | Uint8Array]>): number {
  let bytes = 0;
  for (const [name, attribute] of attributes) {
    bytes += Buffer.byteLength(name) + ("value" in attribute ? attribute.value : attribute).byteLength;
  }
  return bytes;
}
