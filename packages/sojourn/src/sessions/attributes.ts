/**
 * One request's copy of a session's attributes, and what it changed. Values are decoded when first asked for. Objects
 * that were handed out or set may be changed inside at any time, so they are encoded again when the request commits and
 * compared with the bytes that the store is known to hold; everything else is compared as it was set. `WriteContents`
 * says what of it travels.
 */
import { SessionError } from "../core/errors.ts";
import type { Version } from "../core/version.ts";
import { REFUSED, type ValueCodec } from "./schema.ts";
import type { WriteContents } from "./write-policy.ts";

/** Names are keys in every store, screen and listing. */
export const ATTRIBUTE_NAME_BYTES_MAX = 8 * 1024;

/** Names that begin so are Sojourn's own, stored beside the application's and never shown to it. */
export const RESERVED_PREFIX = "sojourn:";

export interface StoredAttribute {
  readonly value: Uint8Array;
  readonly version: Version;
}

export type StoredAttributes = ReadonlyMap<string, StoredAttribute>;

export interface AttributePolicy {
  readonly sessionBytesMax: number;
  readonly attributesMax: number;
  readonly writeContents: WriteContents;
}

export interface Changes {
  readonly set: ReadonlyMap<string, Uint8Array>;
  readonly delete: ReadonlySet<string>;
}

/** An attribute of which this request has seen or changed the value. */
class Seen {
  value: unknown;
  /** As set or last encoded; undefined: not there. */
  bytes: Uint8Array | undefined;
  /** The value is an object in which the handler may make changes that count. */
  readonly isShared: boolean;
  /** What it is compared with: the bytes this request has read or stored. */
  origin: Uint8Array | undefined;
  /** The newest state that is known to be stored; after a renewal it may be newer than what this request has read. */
  known: StoredAttribute | null;

  // A class and no literals: V8 takes literals for long-lived once some were, and then they die late.
  constructor(
    value: unknown,
    bytes: Uint8Array | undefined,
    isShared: boolean,
    origin: Uint8Array | undefined,
    known: StoredAttribute | null,
  ) {
    this.value = value;
    this.bytes = bytes;
    this.isShared = isShared;
    this.origin = origin;
    this.known = known;
  }
}

const NONE: StoredAttributes = new Map();

export class Attributes {
  readonly #codec: ValueCodec;
  readonly #policy: AttributePolicy;
  #stored: StoredAttributes;
  readonly #seen = new Map<string, Seen>();
  /** Of names and values as they are now; counted when first needed. */
  #bytesNow: number | undefined;

  constructor(codec: ValueCodec, policy: AttributePolicy, stored: StoredAttributes = NONE) {
    this.#codec = codec;
    this.#policy = policy;
    this.#stored = stored;
  }

  get(name: string): unknown {
    const seen = this.#seen.get(name);
    if (seen) return seen.value;
    const stored = this.#stored.get(name);
    if (!stored) return undefined;
    const value = this.#codec.decode(stored.value, name);
    if (value === REFUSED) return undefined;
    const isWritten = this.#policy.writeContents !== "ONLY_SET_ATTRIBUTES";
    // As `#see` of something that was not seen before and changes no size.
    const isShared = isWritten && value !== null && typeof value === "object";
    this.#seen.set(name, new Seen(value, stored.value, isShared, stored.value, stored));
    return value;
  }

  has(name: string): boolean {
    const seen = this.#seen.get(name);
    if (seen) return seen.bytes !== undefined;
    const stored = this.#stored.get(name);
    if (!stored || !this.#codec.mayRefuse) return stored !== undefined;
    return this.#codec.decode(stored.value, name) !== REFUSED;
  }

  keys(): string[] {
    return this.#names().filter((name) => this.has(name) && !isReserved(name));
  }

  /** Of all that is stored or was seen, there or not. */
  #names(): string[] {
    const names = [...this.#stored.keys()];
    for (const name of this.#seen.keys()) if (!this.#stored.has(name)) names.push(name);
    return names;
  }

  /** @throws {SessionError} UNSUPPORTED_VALUE, INVALID_VALUE, INVALID_ATTRIBUTE_NAME, SESSION_TOO_LARGE, TOO_MANY_ATTRIBUTES: nothing changed */
  set(name: string, value: unknown): void {
    const bytes = this.encode(name, value);
    this.requireRoom(name, bytes);
    this.#see(name, value, bytes, true);
  }

  delete(name: string): void {
    if (this.#stored.has(name) || this.#seen.has(name)) this.#see(name, undefined, undefined, false);
  }

  /** Checks name and value as `set` does, without setting. */
  encode(name: string, value: unknown): Uint8Array {
    requireName(name);
    return this.#codec.encode(value, name);
  }

  /** The value of bytes that are or were stored; undefined when the schema refuses it. */
  decode(name: string, bytes: Uint8Array): unknown {
    const value = this.#codec.decode(bytes, name);
    return value === REFUSED ? undefined : value;
  }

  /** The bytes as this request sees them now, changes inside objects included. */
  current(name: string): Uint8Array | undefined {
    const seen = this.#seen.get(name);
    if (!seen) return this.#stored.get(name)?.value;
    return seen.isShared ? this.#codec.encode(seen.value, name) : seen.bytes;
  }

  /** True when the store does not have what this request has. */
  isChanged(name: string): boolean {
    const seen = this.#seen.get(name);
    return seen !== undefined && !sameBytes(this.current(name), seen.origin);
  }

  /** The newest state that is known to be stored. */
  known(name: string): StoredAttribute | null {
    const seen = this.#seen.get(name);
    return seen ? seen.known : (this.#stored.get(name) ?? null);
  }

  /**
   * What differs from the store, or null.
   *
   * @throws {SessionError} UNSUPPORTED_VALUE or SESSION_TOO_LARGE when an object was changed so; nothing changed
   */
  changes(): Changes | null {
    const encoded = this.#encodeShared();
    let set: Map<string, Uint8Array> | undefined;
    let deleted: Set<string> | undefined;
    for (const [name, { bytes, origin }] of this.#seen) {
      const now = encoded?.get(name) ?? bytes;
      if (sameBytes(now, origin)) continue;
      set ??= new Map();
      deleted ??= new Set();
      if (now === undefined) deleted.add(name);
      else set.set(name, now);
    }
    // What most requests end with.
    if (set === undefined || deleted === undefined) return null;
    if (this.#policy.writeContents === "ALL_SESSION_ATTRIBUTES") {
      for (const name of this.keys()) {
        const seen = this.#seen.get(name);
        set.set(name, (seen ? (encoded?.get(name) ?? seen.bytes) : this.#stored.get(name)?.value)!);
      }
    }
    return { set, delete: deleted };
  }

  /** The store took these changes with the commit `version`. */
  committed({ set, delete: deleted }: Changes, version: Version): void {
    if (this.#policy.writeContents === "ALL_SESSION_ATTRIBUTES") {
      this.#stored = new Map([...set].map(([name, value]) => [name, { value, version }]));
    }
    for (const [name, bytes] of set) this.#originIs(name, bytes, version);
    for (const name of deleted) this.#originIs(name, undefined, null);
  }

  /**
   * `update` stored this, whatever this request had before.
   *
   * @param stored  what the store has now: perhaps more, when other updates were stored with it
   */
  adopt(name: string, value: unknown, bytes: Uint8Array | undefined, stored: StoredAttribute | null): void {
    this.#see(name, value, bytes, this.#policy.writeContents !== "ONLY_SET_ATTRIBUTES");
    const seen = this.#seen.get(name)!;
    seen.origin = bytes;
    seen.known = stored;
  }

  /**
   * The session lives under a new id with these attributes. What this request has read stays as it is, and is not taken
   * for a change where others have stored something newer.
   */
  moved(finalState: StoredAttributes): void {
    this.#stored = finalState;
    for (const [name, seen] of this.#seen) seen.known = finalState.get(name) ?? null;
  }

  clear(): void {
    this.reread(NONE);
  }

  /** Forgets what this request has read. */
  reread(stored: StoredAttributes = NONE): void {
    this.#stored = stored;
    this.#seen.clear();
    this.#bytesNow = undefined;
  }

  /** @throws {SessionError} SESSION_TOO_LARGE, TOO_MANY_ATTRIBUTES. Shrinking is allowed even above a limit. */
  requireRoom(name: string, bytes: Uint8Array): void {
    const { attributesMax } = this.#policy;
    if (!this.has(name) && attributesMax !== Number.POSITIVE_INFINITY) {
      const count = this.keys().length + 1;
      if (count > attributesMax) {
        throw new SessionError(
          "TOO_MANY_ATTRIBUTES",
          `Cannot set attribute ${shownName(name)}: the session would have ${count} attributes, limit ${attributesMax}`,
        );
      }
    }
    this.#requireBytes(this.#sizeOf(name, bytes) - this.#sizeOf(name), `set attribute ${shownName(name)}`);
  }

  #requireBytes(growth: number, action: string): void {
    const { sessionBytesMax } = this.#policy;
    if (growth <= 0 || sessionBytesMax === Number.POSITIVE_INFINITY) return;
    const total = this.#countBytes() + growth;
    if (total <= sessionBytesMax) return;
    throw new SessionError(
      "SESSION_TOO_LARGE",
      `Cannot ${action}: the session would be ${total} bytes, limit ${sessionBytesMax}`,
    );
  }

  /** Encodes what the handler may have changed inside; remembers it only when all of it can be stored. */
  #encodeShared(): Map<string, Uint8Array> | undefined {
    let encoded: Map<string, Uint8Array> | undefined;
    let growth = 0;
    let largest = "";
    let largestGrowth = 0;
    for (const [name, seen] of this.#seen) {
      if (!seen.isShared || seen.bytes === undefined) continue;
      const bytes = this.#codec.encode(seen.value, name);
      const grown = bytes.byteLength - seen.bytes.byteLength;
      growth += grown;
      if (grown > largestGrowth) [largest, largestGrowth] = [name, grown];
      encoded ??= new Map();
      encoded.set(name, bytes);
    }
    if (!encoded) return undefined;
    this.#requireBytes(growth, `store what was changed inside attribute ${shownName(largest)}`);
    for (const [name, bytes] of encoded) this.#seen.get(name)!.bytes = bytes;
    if (this.#bytesNow !== undefined) this.#bytesNow += growth;
    return encoded;
  }

  /** @param isWritten  changes inside it are to be found */
  #see(name: string, value: unknown, bytes: Uint8Array | undefined, isWritten: boolean): void {
    if (this.#bytesNow !== undefined) this.#bytesNow += this.#sizeOf(name, bytes) - this.#sizeOf(name);
    const isShared = isWritten && value !== null && typeof value === "object";
    const before = this.#seen.get(name);
    const stored = before ? undefined : this.#stored.get(name);
    const origin = before ? before.origin : stored?.value;
    this.#seen.set(name, new Seen(value, bytes, isShared, origin, before ? before.known : (stored ?? null)));
  }

  #originIs(name: string, bytes: Uint8Array | undefined, version: Version | null): void {
    const seen = this.#seen.get(name);
    if (!seen) return;
    seen.origin = bytes;
    seen.known = bytes && version ? { value: bytes, version } : null;
  }

  #countBytes(): number {
    if (this.#bytesNow === undefined) {
      this.#bytesNow = 0;
      for (const name of this.#names()) if (!isReserved(name)) this.#bytesNow += this.#sizeOf(name);
    }
    return this.#bytesNow;
  }

  /** Of name and value; 0 when not there. */
  #sizeOf(name: string, ...given: [bytes?: Uint8Array | undefined]): number {
    const bytes =
      given.length > 0 ? given[0] : (this.#seen.get(name) ?? { bytes: this.#stored.get(name)?.value }).bytes;
    return bytes === undefined ? 0 : Buffer.byteLength(name) + bytes.byteLength;
  }
}

function requireName(name: string): void {
  if (typeof name !== "string") {
    throw new SessionError("INVALID_ATTRIBUTE_NAME", `Cannot set an attribute: its name is a ${typeof name}`);
  }
  if (name.length > ATTRIBUTE_NAME_BYTES_MAX || Buffer.byteLength(name) > ATTRIBUTE_NAME_BYTES_MAX) {
    throw new SessionError(
      "INVALID_ATTRIBUTE_NAME",
      `Cannot set attribute ${shownName(name)}: its name is longer than ${ATTRIBUTE_NAME_BYTES_MAX} bytes`,
    );
  }
  if (isReserved(name)) {
    throw new SessionError(
      "INVALID_ATTRIBUTE_NAME",
      `Cannot set attribute ${shownName(name)}: names that begin with "${RESERVED_PREFIX}" are Sojourn's own`,
    );
  }
  if (/\p{Surrogate}/u.test(name)) {
    throw new SessionError(
      "INVALID_ATTRIBUTE_NAME",
      "Cannot set an attribute: its name holds half a surrogate pair",
    );
  }
}

export function isReserved(name: string): boolean {
  return name.startsWith(RESERVED_PREFIX);
}

function shownName(name: string): string {
  return JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name);
}

export function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === b) return true;
  return a !== undefined && b !== undefined && Buffer.compare(a, b) === 0;
}
