/**
 * A session of ours as one of express-session, and back: attributes as plain JSON beside a `cookie`, and one field with
 * what express-session has no place for. A session that express-session wrote itself has no such field; one that it
 * changed has a field that no longer fits. Both are read for what they say: a value that another program set is a commit
 * of its own, whose epoch is a hash of what it set, so that whoever reads it again finds the same version.
 */
import { createHash } from "node:crypto";
import { jsonCodec } from "../../core/codec.ts";
import { SessionError } from "../../core/errors.ts";
import type { OperationId, SessionKey } from "../../core/ids.ts";
import { packRecord, unpackRecord } from "../../core/pack.ts";
import type { Attribute, SessionRecord } from "../../core/record.ts";
import { advance, type Epoch } from "../../core/version.ts";
import { FIELD, markOf, type Visible, visibleIn, visibleOf } from "./blob-values.ts";
import type { ConnectCookie, ConnectSession } from "./connect-contract.ts";

/** A session as it lies in the store. All times wall ms. */
export interface Stored {
  readonly record: SessionRecord;
  /** The last write's operation. */
  readonly operation?: OperationId | undefined;
  /** A touch or an apply reached it since its creation: the browser that was given its id has come back. */
  readonly isDelivered?: boolean | undefined;
  readonly alias?: Alias | undefined;
  /** Of a session that another program began: kept as it is, but for the deadline. */
  readonly cookie?: ConnectCookie | undefined;
  /** How unchanged attributes look, by attribute, so that they are not worked out again. */
  readonly visible?: ReadonlyMap<Attribute, Visible | undefined>;
  /** It was last written without our field. */
  readonly isForeign?: boolean;
}

export interface Alias {
  readonly untilMs: number;
  readonly successor: SessionKey;
}

interface Field {
  readonly v: 1;
  readonly key: SessionKey;
  /** core/pack.ts, base64; values that `json` names are empty in it. */
  readonly packed: string;
  /** Created, touched, idle deadline, absolute deadline. */
  readonly at: readonly [number, number, number, number];
  /** Attributes that stand in the session as JSON: name, mark, and 1 when JSON is not all of the value. */
  readonly json: readonly (readonly [name: string, mark: string, kept?: 1])[];
  readonly operation?: OperationId;
  readonly delivered?: true;
  readonly alias?: readonly [untilMs: number, successor: SessionKey];
  /** Another program began the session. */
  readonly foreign?: true;
}

export interface BlobOptions {
  /** How long a session without a deadline of its own lives between two requests, ms. */
  readonly browserSessionMs: number;
  /** For sessions that another program began, ms. */
  readonly absoluteTimeoutMs: number;
}

const EMPTY = new Uint8Array(0);

/** From this moment on the session is gone. */
export function goneAtMs({ record, alias }: Stored): number {
  const deadlineMs = Math.min(record.expiresAtMs, record.absoluteExpiresAtMs);
  return alias ? Math.min(deadlineMs, alias.untilMs) : deadlineMs;
}

/** What a store is given: plain data, and a `cookie` that answers what stores ask for their TTL. */
export function toBlob(stored: Stored, nowMs: number): ConnectSession {
  const { record, operation, isDelivered, alias, cookie } = stored;
  const blob: Record<string, unknown> = { cookie: cookieOf(stored, nowMs) };
  const json: [string, string, 1?][] = [];
  const attributes = new Map<string, Attribute>();
  for (const [name, attribute] of record.attributes) {
    const known = stored.visible?.has(attribute);
    const visible = known ? stored.visible?.get(attribute) : visibleOf(name, attribute.value);
    if (visible) {
      blob[name] = visible.json;
      json.push(visible.isExact ? [name, visible.mark] : [name, visible.mark, 1]);
    }
    attributes.set(name, visible?.isExact ? { ...attribute, value: EMPTY } : attribute);
  }
  const field: Field = {
    v: 1,
    key: record.key,
    packed: packRecord({ ...record, attributes }).toString("base64"),
    at: [record.createdAtMs, record.touchedAtMs, record.expiresAtMs, record.absoluteExpiresAtMs],
    json,
    ...(operation && { operation }),
    ...(isDelivered && { delivered: true }),
    ...(alias && { alias: [alias.untilMs, alias.successor] }),
    ...(cookie && { foreign: true }),
  };
  blob[FIELD] = field;
  return blob as ConnectSession;
}

function cookieOf(stored: Stored, nowMs: number): ConnectCookie {
  const expiresAtMs = goneAtMs(stored);
  const own = { httpOnly: true, path: "/", originalMaxAge: Math.ceil(expiresAtMs - nowMs) };
  const cookie: ConnectCookie = { ...(stored.cookie ?? own) };
  // That of a session which ends with the browser has no deadline, and stays so.
  if (!stored.cookie || cookie.expires) cookie.expires = new Date(expiresAtMs);
  // Asked for by some stores, part of the data in none.
  return Object.defineProperty(cookie, "maxAge", { value: cookie.expires ? expiresAtMs - nowMs : null });
}

/** The key of a listed session that we wrote; undefined for others. */
export function keyIn(session: unknown): SessionKey | undefined {
  return fieldOf(session)?.key;
}

/**
 * @param session  what a store's `get` gave; not changed, and nothing of it is kept
 * @throws {SessionError} STORED_DATA_UNREADABLE
 */
export function fromBlob(key: SessionKey, session: unknown, nowMs: number, options: BlobOptions): Stored {
  if (typeof session !== "object" || session === null) throw unreadable("it is no object");
  const field = fieldOf(session);
  const cookie = (session as { cookie?: ConnectCookie }).cookie ?? {};
  const base = field ? fieldRecord(key, field) : foreignRecord(key, cookie, nowMs, options);
  const marks = new Map((field?.json ?? []).map(([name, mark, kept]) => [name, { mark, kept: kept === 1 }]));
  const attributes = new Map<string, Attribute>();
  const visible = new Map<Attribute, Visible | undefined>();
  const changed: [string, unknown, string][] = [];
  for (const [name, attribute] of base.attributes) {
    if (marks.has(name)) continue;
    attributes.set(name, attribute);
    visible.set(attribute, undefined);
  }
  const shown = new Map(visibleIn(session));
  for (const [name, json] of shown) {
    const mark = markOf(json);
    const ours = marks.get(name);
    const attribute = base.attributes.get(name);
    if (!attribute || ours?.mark !== mark) {
      changed.push([name, json, mark]);
      continue;
    }
    const whole = ours.kept ? attribute : { ...attribute, value: jsonCodec.encode(json, name) };
    attributes.set(name, whole);
    visible.set(whole, { json, mark, isExact: !ours.kept });
  }
  const removed = [...marks.keys()].filter((name) => !shown.has(name));
  const stored = {
    operation: field?.operation,
    isDelivered: !field || field.delivered,
    alias: field?.alias && { untilMs: field.alias[0], successor: field.alias[1] },
    cookie: field && !field.foreign ? undefined : plainCookie(cookie),
    visible,
    isForeign: !field,
  };
  if (field && changed.length === 0 && removed.length === 0) {
    const record = { ...base, attributes, expiresAtMs: foreignDeadlineMs(base, cookie, stored.alias) };
    return { ...stored, record };
  }
  // What other programs wrote is one commit of theirs.
  const words = changed
    .map(([name, , mark]) => `${JSON.stringify(name)}${mark}`)
    .concat(removed)
    .sort();
  const epoch = createHash("sha256").update(words.join("\n")).digest("hex").slice(0, 16) as Epoch;
  const version = { epoch, counter: 1 };
  for (const [name, json, mark] of changed) {
    const attribute = { value: jsonCodec.encode(json, name), version, stamp: base.stamp };
    attributes.set(name, attribute);
    visible.set(attribute, { json, mark, isExact: true });
  }
  const lineage = advance(field ? base.lineage : new Map(), version);
  const expiresAtMs = foreignDeadlineMs(base, cookie, stored.alias);
  return { ...stored, record: { ...base, attributes, version, lineage, expiresAtMs } };
}

/** Without the values that stand beside it. */
function fieldRecord(key: SessionKey, { packed, at }: Field): SessionRecord {
  const [createdAtMs, touchedAtMs, expiresAtMs, absoluteExpiresAtMs] = at;
  const times = { createdAtMs, touchedAtMs, expiresAtMs, absoluteExpiresAtMs };
  return unpackRecord(key, times, Buffer.from(packed, "base64"));
}

/**
 * It lives, because its store answers it: express-session asks for no more, and a connect-redis that was only touched
 * still shows the deadline of the last write.
 */
function foreignRecord(
  key: SessionKey,
  cookie: ConnectCookie,
  nowMs: number,
  { browserSessionMs, absoluteTimeoutMs }: BlobOptions,
): SessionRecord {
  const { originalMaxAge } = cookie;
  const idleMs = typeof originalMaxAge === "number" && originalMaxAge > 0 ? originalMaxAge : browserSessionMs;
  const writtenMs = timeOf(cookie);
  const expiresAtMs = writtenMs !== undefined && writtenMs > nowMs ? writtenMs : nowMs + idleMs;
  const touchedAtMs = Math.min(nowMs, expiresAtMs - idleMs);
  const epoch = "0".repeat(16) as Epoch;
  return {
    key,
    birth: createHash("sha256").update(key).digest("hex").slice(0, 16),
    createdAtMs: touchedAtMs,
    touchedAtMs,
    expiresAtMs,
    absoluteExpiresAtMs: touchedAtMs + absoluteTimeoutMs,
    principal: null,
    state: "live",
    version: { epoch, counter: 1 },
    lineage: new Map(),
    stamp: { physicalMs: 0, logical: 0, member: "connect" },
    attributes: new Map(),
  };
}

/** Another program may have moved the deadline: then its cookie says another one than we wrote. */
function foreignDeadlineMs(record: SessionRecord, cookie: ConnectCookie, alias: Alias | undefined): number {
  const saysMs = timeOf(cookie);
  if (saysMs === undefined || saysMs === goneAtMs({ record, alias })) return record.expiresAtMs;
  return Math.min(Math.max(saysMs, record.expiresAtMs), record.absoluteExpiresAtMs);
}

function timeOf(cookie: ConnectCookie): number | undefined {
  const timeMs = cookie.expires ? new Date(cookie.expires).getTime() : Number.NaN;
  return Number.isNaN(timeMs) ? undefined : timeMs;
}

/** A store may give the very object that a program holds. */
function plainCookie(cookie: ConnectCookie): ConnectCookie {
  return JSON.parse(JSON.stringify(cookie)) as ConnectCookie;
}

function fieldOf(session: unknown): Field | undefined {
  const field = (session as Record<string, unknown> | null)?.[FIELD];
  if (typeof field !== "object" || field === null) return undefined;
  const { v, packed, at, json, alias } = field as { readonly [Name in keyof Field]?: unknown };
  if (typeof v === "number" && v > 1) throw unreadable(`its field ${FIELD} is of a newer release`);
  const isOurs =
    v === 1 &&
    typeof packed === "string" &&
    isList(at) &&
    at.length === 4 &&
    at.every(Number.isFinite) &&
    isList(json) &&
    json.every((row) => isList(row) && typeof row[0] === "string") &&
    (alias === undefined || (isList(alias) && Number.isFinite(alias[0]) && typeof alias[1] === "string"));
  if (isOurs) return field as Field;
  throw unreadable(`its field ${FIELD} is damaged`);
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

function unreadable(found: string): SessionError {
  return new SessionError("STORED_DATA_UNREADABLE", `Cannot read a session of a connect store: ${found}`);
}
