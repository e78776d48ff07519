/**
 * Any `connect-*` store of express-session as a Sojourn store.
 *
 *   const sessions = createSessions({ store: connectStore(new RedisStore({ client })), … });
 *
 * Such a store can read and write whole sessions, nothing more. Within this process the writes of a session wait for each
 * other, so one process keeps every promise of the contract in store/store.ts. Between processes a read and the write that
 * follows from it are two steps that others can come between; `limits` names what follows, docs/connect-stores.md explains
 * it. A process notices when a write of its own was overwritten, and says so.
 *
 * Decided here:
 * - The key is the id in the store, as it is. Sojourn's keys are hashes of ids, so its sessions and those of an
 *   express-session application never meet; who knows the id of one of the latter names it with `connectKey`.
 * - Deadlines are exact, whatever the store rounds its TTL to: they stand in the session, and the TTL only cleans up.
 *   A touch therefore writes the session; the store's own `touch` is not used, since some of them keep no deadline.
 */
import { type Clock, systemClock } from "../../core/clock.ts";
import { SessionError } from "../../core/errors.ts";
import type { OperationId, SessionKey } from "../../core/ids.ts";
import {
  applyDelta,
  expectationsHold,
  movedDeadline,
  type NewSession,
  type PrincipalChange,
  recordFrom,
  type SessionDelta,
  type SessionRecord,
} from "../../core/record.ts";
import { StampClock } from "../../core/stamp.ts";
import { covers, type Version } from "../../core/version.ts";
import { finite, invalidOption, positive } from "../../store/check.ts";
import { Endings } from "../../store/endings.ts";
import { TOMBSTONE_UNKNOWN_MS } from "../../store/lives.ts";
import { OperationLog } from "../../store/operation-log.ts";
import {
  type ApplyOptions,
  type ApplyResult,
  type CreateResult,
  OPERATION_ID_KEPT_MS,
  RENEWAL_GRACE_MS,
  type ReadOptions,
  type SessionStore,
  type SupersedeOptions,
  type SupersedeResult,
  type WriteOptions,
} from "../../store/store.ts";
import { goneAtMs } from "./blob.ts";
import { bounded, type Call } from "./calls.ts";
import { type AnyConnectStore, BROWSER_SESSION_MS_DEFAULT } from "./connect-contract.ts";
import {
  type ConnectDiagnostic,
  type ConnectDiagnosticCode,
  type ConnectLimit,
  limitsMessage,
  limitsOf,
  warn,
} from "./limits.ts";
import { Shelf } from "./shelf.ts";

const ABSOLUTE_TIMEOUT_MS_DEFAULT = 30 * 24 * 3_600_000;

export interface ConnectStoreOptions {
  /** For messages and metrics. Default `connect:` and the name of the store's class. */
  readonly name?: string;
  /** For sessions that express-session began without a `maxAge`: how long they live without a request, ms. Default one day. */
  readonly browserSessionMs?: number;
  /** For sessions that express-session began: their absolute timeout from then on, ms. Default 30 days. */
  readonly absoluteTimeoutMs?: number;
  /** Called by `close`: to end what the store uses, such as its client. */
  readonly close?: () => unknown;
  readonly clock?: Clock;
  /** Hears of the store's limits once, and of every write that was lost. Default: console.warn. */
  readonly onDiagnostic?: (event: ConnectDiagnostic) => void;
}

export interface ConnectStoreStats {
  /** Writes of this process that another program wrote over. */
  readonly writesLost: number;
  /** Sessions that this process ended and another one wrote back. */
  readonly revived: number;
}

export class ConnectStore implements SessionStore {
  readonly name: string;
  /** What this store cannot do; `CONNECT_LIMITS` has the words. */
  readonly limits: readonly ConnectLimit[];
  protected readonly shelf: Shelf;
  protected readonly endings = new Endings(TOMBSTONE_UNKNOWN_MS);
  protected readonly clock: Clock;
  readonly #closeStore: (() => unknown) | undefined;
  readonly #stamps: StampClock;
  readonly #operations: OperationLog;
  readonly #underWay = new Set<Promise<unknown>>();
  #closed = false;

  constructor(store: AnyConnectStore, options: ConnectStoreOptions = {}) {
    const { clock = systemClock, onDiagnostic = warn } = options;
    const { browserSessionMs = BROWSER_SESSION_MS_DEFAULT } = options;
    const { absoluteTimeoutMs = ABSOLUTE_TIMEOUT_MS_DEFAULT } = options;
    this.clock = clock;
    this.name = options.name ?? `connect:${store.constructor?.name || "store"}`;
    this.limits = limitsOf(store);
    const tell = (code: ConnectDiagnosticCode, message: string) => onDiagnostic({ code, message });
    this.shelf = new Shelf(store, {
      name: this.name,
      clock,
      blob: {
        browserSessionMs: positive(browserSessionMs, "browserSessionMs"),
        absoluteTimeoutMs: positive(absoluteTimeoutMs, "absoluteTimeoutMs"),
      },
      tell,
    });
    this.#closeStore = options.close;
    this.#stamps = new StampClock(clock, "connect");
    this.#operations = new OperationLog(OPERATION_ID_KEPT_MS, clock.monotonicMs(), () => 0);
    tell("CONNECT_STORE_LIMITS", limitsMessage(this.name, this.limits));
  }

  read(key: SessionKey, options?: ReadOptions): Promise<SessionRecord | null> {
    return this.enter(READ, options, async () => {
      const stored = await this.shelf.read(key, READ);
      if (!stored) return null;
      const { record, alias } = stored;
      return alias ? { ...record, expiresAtMs: Math.floor(goneAtMs(stored)) } : record;
    });
  }

  async create(session: NewSession, options?: WriteOptions): Promise<CreateResult> {
    finite(session.createdAtMs ?? 0, "createdAtMs");
    finite(session.expiresAtMs, "expiresAtMs");
    finite(session.absoluteExpiresAtMs, "absoluteExpiresAtMs");
    const own: NewSession = { ...session, attributes: copied(session.attributes) };
    const { key, principal } = own;
    return this.write(CREATE, key, options, async (call, operation): Promise<CreateResult> => {
      const there = await this.shelf.find(key, CREATE);
      if (there && operation && there.operation === operation) {
        return { status: "created", version: there.record.version };
      }
      if (there || this.shelf.ended.isTaken(key)) return { status: "taken" };
      if (this.#isRefused(principal)) return { status: "gone" };
      const version = this.shelf.nextVersion(new Map());
      const commit = { version, stamp: this.#stamps.next(), nowMs: this.clock.nowMs() };
      const record = recordFrom(own, this.clock.randomBytes(8).toString("hex"), commit);
      await this.shelf.put({ record, operation }, call, CREATE);
      // Once more: an `endAll` that came while this was written did not see its principal.
      if (!this.#isRefused(principal)) return { status: "created", version };
      await this.shelf.end(key, record.absoluteExpiresAtMs, CREATE);
      return { status: "gone" };
    });
  }

  async apply(key: SessionKey, delta: SessionDelta, options?: ApplyOptions): Promise<ApplyResult> {
    finite(delta.expiresAtMs ?? 0, "expiresAtMs");
    const own: SessionDelta = {
      ...delta,
      ...(delta.set && { set: copied(delta.set) }),
      ...(delta.delete && { delete: [...delta.delete] }),
      ...(delta.expect && { expect: new Map(delta.expect) }),
    };
    const { atLeast } = options ?? {};
    const result = await this.write(APPLY, key, options, (call, operation) =>
      this.#applyNow(key, own, { operation, atLeast }, call),
    );
    return result.status === "conflict" ? { ...result, current: copyOf(result.current) } : { ...result };
  }

  async #applyNow(
    key: SessionKey,
    delta: SessionDelta,
    { operation, atLeast }: { operation: OperationId | undefined; atLeast: Version | undefined },
    call: Call,
  ): Promise<ApplyResult> {
    const stored = await this.shelf.findLive(key, APPLY);
    if (!stored) return { status: "gone" };
    const { record: before } = stored;
    if (operation && stored.operation === operation) {
      return { status: "applied", version: before.version, expiresAtMs: before.expiresAtMs };
    }
    if (atLeast && !covers(before.lineage, atLeast)) return { status: "behind" };
    if (!expectationsHold(before, delta)) return { status: "conflict", current: before };
    if (!this.#isRefused(delta.principal)) {
      const version = this.shelf.nextVersion(before.lineage);
      const commit = { version, stamp: this.#stamps.next(before.stamp), nowMs: this.clock.nowMs() };
      const record = applyDelta(before, delta, commit);
      await this.shelf.put({ ...stored, record, operation, isDelivered: true }, call, APPLY);
      if (!this.#isRefused(delta.principal)) {
        return { status: "applied", version, expiresAtMs: record.expiresAtMs };
      }
    }
    await this.shelf.end(key, before.absoluteExpiresAtMs, APPLY);
    return { status: "gone" };
  }

  async touch(key: SessionKey, expiresAtMs: number, options?: WriteOptions): Promise<boolean> {
    finite(expiresAtMs, "expiresAtMs");
    return this.write(TOUCH, key, options, async (call, operation) => {
      const stored = await this.shelf.findLive(key, TOUCH);
      if (!stored) return false;
      const { record } = stored;
      const touchedAtMs = this.clock.nowMs();
      const touched = { ...record, expiresAtMs: movedDeadline(record, expiresAtMs), touchedAtMs };
      await this.shelf.put({ ...stored, record: touched, operation, isDelivered: true }, call, TOUCH);
      return true;
    });
  }

  async supersede(key: SessionKey, options: SupersedeOptions): Promise<SupersedeResult> {
    const { successor, graceMs = RENEWAL_GRACE_MS } = options;
    finite(graceMs, "graceMs");
    if (typeof successor !== "string" || successor === "" || successor === key) {
      throw invalidOption(SUPERSEDE, "the successor is not the key of another session");
    }
    const renewal = await this.write(SUPERSEDE, key, options, async (call, operation) => {
      const stored = await this.shelf.find(key, SUPERSEDE);
      if (!stored) return {};
      const earlier = stored.alias;
      const final: SessionRecord = { ...stored.record, state: "superseded" };
      if (operation && stored.operation === operation) return { final };
      const untilMs = Math.min(this.clock.nowMs() + graceMs, earlier?.untilMs ?? Number.POSITIVE_INFINITY);
      const alias = { untilMs, successor };
      const renewed = { ...stored, record: final, operation, alias };
      if (goneAtMs(renewed) > this.clock.nowMs()) {
        await this.shelf.put(renewed, call, SUPERSEDE);
        // Its earlier successor may have ended while this was written, and it with it.
        if (this.shelf.ended.has(key)) return {};
        this.shelf.ended.supersede(key, final.absoluteExpiresAtMs, alias);
      } else {
        await this.shelf.end(key, final.absoluteExpiresAtMs, SUPERSEDE);
      }
      return earlier && earlier.successor !== successor
        ? { final, undelivered: earlier.successor }
        : { final };
    });
    if (!renewal.final) return { status: "gone" };
    if (renewal.undelivered) await this.#endUndelivered(renewal.undelivered, options);
    return { status: "superseded", final: copyOf(renewal.final) };
  }

  /** No browser has come back with this successor, so nobody loses it; if it was not created yet, it never will be. */
  #endUndelivered(key: SessionKey, { timeoutMs, signal }: ReadOptions): Promise<void> {
    const bounds = { ...(timeoutMs !== undefined && { timeoutMs }), ...(signal && { signal }) };
    return this.write(DESTROY, key, bounds, async () => {
      const stored = await this.shelf.find(key, DESTROY);
      if (!stored?.isDelivered) await this.shelf.end(key, stored?.record.absoluteExpiresAtMs, DESTROY);
    });
  }

  destroy(key: SessionKey, options?: WriteOptions): Promise<boolean> {
    return this.write(DESTROY, key, options, async () => {
      const stored = await this.shelf.find(key, DESTROY);
      await this.shelf.end(key, stored?.record.absoluteExpiresAtMs, DESTROY);
      return stored !== undefined;
    });
  }

  stats(): ConnectStoreStats {
    return { ...this.shelf.totals };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.allSettled([...this.#underWay]);
    await this.#closeStore?.();
  }

  /** Every call passes here: it settles in its time, and `close` waits for it. */
  protected async enter<Value>(
    action: string,
    options: ReadOptions | undefined,
    work: (call: Call) => Promise<Value>,
  ): Promise<Value> {
    if (this.#closed) {
      throw new SessionError("STORE_CLOSED", `Cannot ${action}: store "${this.name}" was closed`);
    }
    options?.signal?.throwIfAborted();
    const promise = bounded(this.clock, { name: this.name, action }, options, work);
    this.#underWay.add(promise);
    try {
      return await promise;
    } finally {
      this.#underWay.delete(promise);
    }
  }

  /** Every write passes here: after the writes of the same subject, its operation id first, then `act`. */
  protected write<Kept>(
    action: string,
    subject: string,
    options: WriteOptions | undefined,
    act: (call: Call, operation: OperationId | undefined) => Promise<Kept>,
  ): Promise<Kept> {
    const id = options?.operationId;
    return this.enter(action, options, (call) =>
      this.shelf.queue.run(subject, async () => {
        call.requireOpen();
        const known = id && this.#operations.find(id, action, subject);
        if (known) return known.answer as Kept;
        const answer = await act(call, id);
        if (id) this.#operations.remember(id, action, subject, this.clock.monotonicMs(), answer);
        return answer;
      }),
    );
  }

  #isRefused(login: PrincipalChange | undefined): boolean {
    return login !== undefined && this.endings.cover(login, this.clock.monotonicMs());
  }
}

const READ = "read a session";
const CREATE = "create a session";
const APPLY = "change a session";
const TOUCH = "touch a session";
const SUPERSEDE = "renew a session";
const DESTROY = "end a session";

/** The caller may change what it gave as soon as the call has returned. */
function copied(values: ReadonlyMap<string, Uint8Array>): Map<string, Uint8Array> {
  return new Map([...values].map(([name, value]) => [name, Buffer.from(value)]));
}

/** A remembered answer is given again as it was, whatever its first owner did to it. */
function copyOf(record: SessionRecord): SessionRecord {
  const attributes = [...record.attributes].map(
    ([name, attribute]) => [name, { ...attribute, value: Buffer.from(attribute.value) }] as const,
  );
  return { ...record, lineage: new Map(record.lineage), attributes: new Map(attributes) };
}
