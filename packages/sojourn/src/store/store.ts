/**
 * The contract of a session store: where sessions live. Memory, session servers, Redis and a cluster of application
 * servers are implementations of it, so nothing above ever learns which one it runs on.
 *
 * The rules that make sessions correct are here, not in the callers:
 * - **A write never creates.** `apply` and `touch` on a session that is missing, expired or destroyed answer and change
 *   nothing. Only `create` creates, and only under a key that was never ended. This alone makes logout final.
 * - **The store merges.** A delta names the attributes it sets and deletes; requests that change different attributes
 *   both survive. One delta is one atomic commit.
 * - **Answers are values, faults are errors.** Missing, taken, conflict: answers. Refused, unreachable, full: a
 *   `SessionError`, and then the write may or may not have happened.
 * - **A retry is harmless.** A write repeated with its operation id changes nothing and gives the first answer, for at
 *   least `OPERATION_ID_KEPT_MS`. Looked up before anything else; every answer is remembered, "gone", "conflict" and
 *   "behind" too, so who tries again after one of these does so under a new id.
 * - **Ending a principal reaches logins under way.** A `create` or `apply` that brings a principal whose `endAll` came
 *   after that login's request began answers "gone", and the session under such an `apply` ends.
 * - **Every wait ends.** `timeoutMs` bounds the call, and an authority that receives the operation later refuses it.
 *
 * `testing/store-conformance.ts` is this text as tests; a driver is done when it passes.
 */
import type { OperationId, SessionKey } from "../core/ids.ts";
import type { NewSession, SessionDelta, SessionRecord } from "../core/record.ts";
import type { Version } from "../core/version.ts";

export const OPERATION_ID_KEPT_MS = 10_000;
/** For how long a superseded id still answers reads, unless the caller of `supersede` says otherwise. */
export const RENEWAL_GRACE_MS = 10_000;
export const STORE_TIMEOUT_MS_DEFAULT = 500;

export interface ReadOptions {
  /** How long the caller waits, in ms. Default STORE_TIMEOUT_MS_DEFAULT. */
  readonly timeoutMs?: number;
  /** Stops waiting. A write already sent may still happen. */
  readonly signal?: AbortSignal;
}

export interface WriteOptions extends ReadOptions {
  /** Default: a fresh one for the call, reused in the driver's own retries. */
  readonly operationId?: OperationId;
}

export interface ApplyOptions extends WriteOptions {
  /** The newest write the browser has seen. An authority that does not contain it answers "behind" and changes nothing. */
  readonly atLeast?: Version;
}

export interface SupersedeOptions extends WriteOptions {
  /** The new id's key; the old one's frozen snapshot is readable only while this is not ended. */
  readonly successor: SessionKey;
  /** Default RENEWAL_GRACE_MS; 0 ends the old id at once. */
  readonly graceMs?: number;
}

export type CreateResult =
  | { readonly status: "created"; readonly version: Version }
  /** The key is in use or was ended: draw another id. */
  | { readonly status: "taken" }
  /** The principal's sessions were ended after this login began. */
  | { readonly status: "gone" };

export type ApplyResult =
  | { readonly status: "applied"; readonly version: Version; readonly expiresAtMs: number }
  | { readonly status: "conflict"; readonly current: SessionRecord }
  | { readonly status: "behind" }
  | { readonly status: "gone" };

export type SupersedeResult =
  /** `final`: everything the old id ever held; later writes under it are gone. */
  { readonly status: "superseded"; readonly final: SessionRecord } | { readonly status: "gone" };

export interface SessionStore {
  /** Short, for messages and metrics: "memory", "session-servers". */
  readonly name: string;

  /** The session, or null when missing, ended or past a deadline. The record is the caller's: nobody else changes it. */
  read(key: SessionKey, options?: ReadOptions): Promise<SessionRecord | null>;

  /**
   * Only for a store that holds sessions itself: what `read` would answer, known without waiting. The caller neither
   * changes the record nor keeps it beyond its request: it may show the store's own bytes.
   *
   * @returns undefined when it must be asked with `read`
   * @throws  what `read` would reject with
   */
  readNow?(key: SessionKey): SessionRecord | null | undefined;

  create(session: NewSession, options?: WriteOptions): Promise<CreateResult>;

  /** Merges one commit into the stored session, atomically. Never creates. */
  apply(key: SessionKey, delta: SessionDelta, options?: ApplyOptions): Promise<ApplyResult>;

  /**
   * Moves the idle deadline, never backwards, never past the absolute one, never on a superseded session.
   *
   * @returns false when there is no live session; nothing is created
   */
  touch(key: SessionKey, expiresAtMs: number, options?: WriteOptions): Promise<boolean>;

  /**
   * For a renewal: atomically refuses later writes under `key` and returns its final state, to be created under the
   * successor. Superseding an id again within its grace starts from the same snapshot and ends the earlier successor if
   * no browser has come back with it yet.
   */
  supersede(key: SessionKey, options: SupersedeOptions): Promise<SupersedeResult>;

  /**
   * Ends the session for good: the key can never be created again while a late writer could still try.
   * Idempotent; ending an unknown key is remembered too.
   *
   * @returns true when this call ended a session that was there
   */
  destroy(key: SessionKey, options?: WriteOptions): Promise<boolean>;

  /** Finishes or fails calls under way, then releases everything. Later calls: STORE_CLOSED. Idempotent. */
  close(): Promise<void>;
}

/** Metadata only: values never appear in listings. */
export interface SessionSummary {
  readonly key: SessionKey;
  readonly principal: string | null;
  readonly createdAtMs: number;
  readonly touchedAtMs: number;
  readonly expiresAtMs: number;
  readonly absoluteExpiresAtMs: number;
  readonly attributeCount: number;
  /** Names and values. */
  readonly attributeBytes: number;
}

export interface ListOptions extends ReadOptions {
  readonly principal?: string;
  /** `next` of the page before. Opaque. */
  readonly cursor?: string;
  /** At most this many, 1..1000, default 100. */
  readonly limit?: number;
}

export interface SessionPage {
  readonly sessions: readonly SessionSummary[];
  /** Absent on the last page. */
  readonly next?: string;
}

/** A store that can be looked through. Superseded and expired sessions do not appear. */
export interface EnumerableStore extends SessionStore {
  /** A session that lives throughout the paging appears exactly once, whatever happens to others meanwhile. */
  list(options?: ListOptions): Promise<SessionPage>;
  count(options?: ReadOptions & { readonly principal?: string }): Promise<number>;
  /**
   * Ends every session of `principal`, and every login of it that began before this call, committed or not.
   *
   * @param options.except  stays alive
   * @returns               how many were ended
   */
  endAll(principal: string, options?: WriteOptions & { readonly except?: SessionKey }): Promise<number>;
}

export interface WatchListener {
  /** These sessions changed or ended, whoever did it; "all": something was missed, drop everything. */
  invalidated(keys: readonly SessionKey[] | "all"): void;
}

export interface Watch {
  /** Until this moment (the store's clock, monotonic ms) no change can be older than its invalidation. Infinity: always. */
  leaseUntilMs(): number;
  close(): void;
}

/** A store that tells when sessions change, so copies can be kept. */
export interface WatchableStore extends SessionStore {
  /** Resolves once changes from now on will be told. */
  watch(listener: WatchListener): Promise<Watch>;
}

export function isEnumerable(store: SessionStore): store is EnumerableStore {
  return "list" in store && "count" in store && "endAll" in store;
}

export function isWatchable(store: SessionStore): store is WatchableStore {
  return "watch" in store;
}
