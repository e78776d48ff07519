/**
 * An attribute beside others in a session of express-session. Its value stands there as JSON, where every program that
 * reads the store can see and change it. What JSON cannot carry (Date, Map, bytes) stands there as JSON makes it, and the
 * true bytes are kept in our own field; what JSON has no words for is kept there alone.
 */
import { createHash } from "node:crypto";
import { jsonCodec } from "../../core/codec.ts";

/** Our field in a stored session: versions, deadlines, owner, and the values that JSON cannot carry. */
export const FIELD = "~sojourn";

/** What an attribute looks like to other programs. */
export interface Visible {
  readonly json: unknown;
  /** Tells whether another program has changed it. */
  readonly mark: string;
  /** The JSON is the whole value. */
  readonly isExact: boolean;
}

/** Names that express-session or @fastify/session keep for themselves: an attribute there would be dropped or taken for a method. */
const RESERVED = new Set(
  "cookie id req touch resetMaxAge save reload destroy regenerate sessionId encryptedSessionId options get set isModified isSaved"
    .split(" ")
    .concat(FIELD, Object.getOwnPropertyNames(Object.prototype)),
);
/** What stores add to a session on their own. */
const ADDED_BY_STORES = new Set(["__lastAccess"]);

/** Undefined: other programs do not see the attribute. */
export function visibleOf(name: string, bytes: Uint8Array): Visible | undefined {
  if (RESERVED.has(name) || ADDED_BY_STORES.has(name)) return undefined;
  try {
    const text: string | undefined = JSON.stringify(jsonCodec.decode(bytes));
    if (text === undefined) return undefined;
    const json: unknown = JSON.parse(text);
    const isExact = Buffer.compare(jsonCodec.encode(json, name), bytes) === 0;
    return { json, mark: markOf(json), isExact };
  } catch {
    // Bytes of another codec, a BigInt.
    return undefined;
  }
}

/** The attributes that a stored session shows to every program. */
export function* visibleIn(session: object): Generator<readonly [string, unknown]> {
  for (const [name, json] of Object.entries(session)) {
    if (json !== undefined && !RESERVED.has(name) && !ADDED_BY_STORES.has(name)) yield [name, json];
  }
}

/** Of the value, however a store orders the keys of an object. */
export function markOf(json: unknown): string {
  return createHash("sha256").update(JSON.stringify(json, sortedKeys)).digest("base64url").slice(0, 11);
}

function sortedKeys(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
