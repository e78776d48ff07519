/**
 * Encryption at rest, over any store: attribute values leave this process encrypted (core/sealing.ts says how) and are
 * opened on the way back, so the store, its dumps and its network see none.
 *
 * What stays readable, and why:
 * - **attribute names**, because the store merges by name: a delta names what it sets and deletes;
 * - **the principal**, because the store finds a principal's sessions (`endAll`, `list`). Use a user's number, not a mail
 *   address, if that matters;
 * - **times, counts and sizes**, because the store expires sessions, and the length of a value is its own.
 *
 * A value grows by 37 bytes. Whatever does not open with one of the keys rejects with STORED_DATA_UNREADABLE: also values
 * that were stored before encryption was switched on, so give the encrypted store a prefix or a domain of its own.
 */
import { type Clock, systemClock } from "../core/clock.ts";
import type { SessionKey } from "../core/ids.ts";
import type { Attribute, SessionRecord } from "../core/record.ts";
import { type EncryptionKey, SEAL_BYTES, Sealing } from "../core/sealing.ts";
import {
  type EnumerableStore,
  isEnumerable,
  isWatchable,
  type ListOptions,
  type SessionPage,
  type SessionStore,
  type WatchableStore,
} from "./store.ts";

export type { EncryptionKey } from "../core/sealing.ts";

export interface EncryptedStoreOptions {
  /** Newest first: the first encrypts, every one opens. */
  readonly keys: readonly EncryptionKey[];
  readonly clock?: Clock;
}

/** As much of the contract as the store inside has. */
export type EncryptedStore<Inner extends SessionStore> = SessionStore &
  (Inner extends EnumerableStore ? EnumerableStore : unknown) &
  (Inner extends WatchableStore ? WatchableStore : unknown);

/**
 * To change the key, add the new one last on every server, then put it first, and remove the old one when the absolute
 * timeout has passed since: a value is encrypted anew only when it is written.
 *
 * @param inner  closed with this store
 * @throws {SessionError} INVALID_OPTION; no message ever holds a key or a value
 */
export function encryptedStore<Inner extends SessionStore>(
  inner: Inner,
  { keys, clock = systemClock }: EncryptedStoreOptions,
): EncryptedStore<Inner> {
  const sealing = new Sealing(keys, clock);
  const store: SessionStore = {
    name: inner.name,
    async read(key, options) {
      const record = await inner.read(key, options);
      return record && opened(sealing, key, record);
    },
    create: (session, options) =>
      inner.create({ ...session, attributes: sealed(sealing, session.key, session.attributes) }, options),
    async apply(key, delta, options) {
      const { set } = delta;
      const result = await inner.apply(
        key,
        set ? { ...delta, set: sealed(sealing, key, set) } : delta,
        options,
      );
      if (result.status !== "conflict") return result;
      return { ...result, current: opened(sealing, key, result.current) };
    },
    touch: (key, expiresAtMs, options) => inner.touch(key, expiresAtMs, options),
    async supersede(key, options) {
      const result = await inner.supersede(key, options);
      if (result.status === "gone") return result;
      return { ...result, final: opened(sealing, key, result.final) };
    },
    destroy: (key, options) => inner.destroy(key, options),
    close: () => inner.close(),
  };
  return Object.assign(
    store,
    isEnumerable(inner) && enumeration(inner),
    isWatchable(inner) && { watch: inner.watch.bind(inner) },
  ) as EncryptedStore<Inner>;
}

function enumeration(inner: EnumerableStore): Omit<EnumerableStore, keyof SessionStore> {
  return {
    async list(options?: ListOptions): Promise<SessionPage> {
      const { sessions, ...rest } = await inner.list(options);
      return {
        ...rest,
        sessions: sessions.map((summary) => ({
          ...summary,
          attributeBytes: Math.max(0, summary.attributeBytes - summary.attributeCount * SEAL_BYTES),
        })),
      };
    },
    count: inner.count.bind(inner),
    endAll: inner.endAll.bind(inner),
  };
}

function sealed(
  sealing: Sealing,
  key: SessionKey,
  attributes: ReadonlyMap<string, Uint8Array>,
): Map<string, Uint8Array> {
  const seal = sealing.session(key);
  const values = new Map<string, Uint8Array>();
  for (const [name, value] of attributes) values.set(name, seal.seal(name, value));
  return values;
}

/** @throws {SessionError} STORED_DATA_UNREADABLE when one value does not open: half a session is none */
function opened(sealing: Sealing, key: SessionKey, record: SessionRecord): SessionRecord {
  const seal = sealing.session(key);
  const attributes = new Map<string, Attribute>();
  for (const [name, attribute] of record.attributes) {
    attributes.set(name, { ...attribute, value: seal.open(name, attribute.value) });
  }
  return { ...record, attributes };
}
