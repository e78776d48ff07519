/**
 * Exclusive access: requests of one session that ask for it run one after another, on whatever servers they arrive. Here
 * they queue; between servers a lease stands in the session itself, taken by compare-and-swap and given back by the very
 * write that commits the request, so no store needs an operation for it.
 *
 * The lease is fencing, not only politeness: the commit of a request expects the lease it took. Whoever was so slow that
 * another one took over stores nothing. So clocks that disagree can only make somebody wait or fail, never overwrite.
 */
import { type Clock, delay, type Timer } from "../core/clock.ts";
import { jsonCodec } from "../core/codec.ts";
import { isSessionError, SessionError } from "../core/errors.ts";
import type { SessionKey } from "../core/ids.ts";
import type { Attribute, SessionDelta, SessionRecord } from "../core/record.ts";
import { sameVersion, type Version } from "../core/version.ts";
import { type ApplyContext, applyDelta } from "./apply.ts";
import { RESERVED_PREFIX } from "./attributes.ts";
import { StoreBudget } from "./budget.ts";
import type { Loads } from "./loads.ts";

/** Wall time until which others leave it alone, in ms. Its version says whose it is. */
export const LEASE_ATTRIBUTE = `${RESERVED_PREFIX}lease`;
/** What a server that died keeps others of the session waiting. Longer lets slower handlers commit. */
export const LEASE_MS = 15_000;
export const EXCLUSIVE_WAIT_MS_DEFAULT = 1_000;
export const EXCLUSIVE_WAIT_MS_MAX = 10_000;
/** Between two looks at a lease of another server. */
const PAUSE_MS_MIN = 8;
const PAUSE_MS_MAX = 64;

export interface Exclusive {
  /** Null: there is no session, so nobody to share it with. */
  readonly record: SessionRecord | null;
  /** Null: an id that was renewed. Nobody can write under it. */
  readonly lease: Lease | null;
}

interface Waiting {
  readonly begin: () => void;
  readonly timer: Timer;
}

export class ExclusiveAccess {
  readonly #context: ApplyContext;
  readonly #loads: Loads;
  /** Sessions with a request that has the turn on this server, and those that wait for it. */
  readonly #lines = new Map<SessionKey, Waiting[]>();
  readonly #releasing = new Set<Promise<void>>();

  constructor(context: ApplyContext, loads: Loads) {
    this.#context = context;
    this.#loads = loads;
  }

  /**
   * Waits for the turn and reads the session as it is then.
   *
   * @throws {SessionError} SESSION_BUSY after `waitMs`; what the store throws
   */
  async enter(key: SessionKey, waitMs: number): Promise<Exclusive> {
    const { clock } = this.#context.policy;
    const untilMs = clock.monotonicMs() + waitMs;
    await this.#turn(key, waitMs);
    try {
      const entered = await this.#takeLease(key, untilMs);
      if (!entered.lease) this.pass(key);
      return entered;
    } catch (error) {
      this.pass(key);
      throw error;
    }
  }

  /** The next one's turn on this server. */
  pass(key: SessionKey): void {
    const line = this.#lines.get(key);
    const next = line?.shift();
    if (!next) {
      this.#lines.delete(key);
      return;
    }
    next.timer.cancel();
    next.begin();
  }

  /** Off the response's path: what fails here runs out by itself. */
  giveBack(lease: Lease): void {
    const { clock, store, storeBudgetMs } = this.#context.policy;
    const budget = new StoreBudget(clock, store.name, storeBudgetMs);
    const releasing = applyDelta(this.#context, budget, lease.key, lease.returning)
      .then(
        () => {},
        () => {},
      )
      .finally(() => {
        this.#releasing.delete(releasing);
        this.pass(lease.key);
      });
    this.#releasing.add(releasing);
  }

  async close(): Promise<void> {
    await Promise.all(this.#releasing);
  }

  #turn(key: SessionKey, waitMs: number): Promise<void> {
    const line = this.#lines.get(key);
    if (!line) {
      this.#lines.set(key, []);
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const timer = this.#context.policy.clock.setTimer(
        () => {
          line.splice(line.indexOf(waiting), 1);
          reject(busy(waitMs));
        },
        waitMs,
        "keep-alive",
      );
      const waiting: Waiting = { begin: resolve, timer };
      line.push(waiting);
    });
  }

  async #takeLease(key: SessionKey, untilMs: number): Promise<Exclusive> {
    const { clock, store, storeBudgetMs } = this.#context.policy;
    const beganMs = clock.monotonicMs();
    // Its own: waiting for a turn must not leave the commit without time.
    const budget = new StoreBudget(clock, store.name, storeBudgetMs);
    const read = () => budget.wait("read a session", (timeoutMs) => this.#loads.load(key, timeoutMs));
    let record = await read();
    for (let looks = 0; ; looks++) {
      if (record?.state !== "live") return { record, lease: null };
      const held = record.attributes.get(LEASE_ATTRIBUTE);
      if (held && isHeld(held, clock.nowMs())) {
        const pauseMs = pauseFor(clock, looks);
        if (clock.monotonicMs() + pauseMs > untilMs) throw busy(untilMs - beganMs);
        await delay(clock, pauseMs);
        record = await read();
        continue;
      }
      const taken = await this.#take(key, held, budget);
      if ("version" in taken) {
        const lease = new Lease(this, key, taken.version);
        if (isNext(record.version, taken.version)) return { record: after(record, taken), lease };
        record = await read();
        const isOurs = sameVersion(record?.attributes.get(LEASE_ATTRIBUTE)?.version, taken.version);
        if (isOurs) return { record, lease };
      } else {
        record = taken.current ?? (await read());
      }
    }
  }

  /** @returns without `current` when the session ended meanwhile */
  async #take(key: SessionKey, held: Attribute | undefined, budget: StoreBudget): Promise<Taken> {
    const { clock } = this.#context.policy;
    const value = jsonCodec.encode(clock.nowMs() + LEASE_MS, LEASE_ATTRIBUTE);
    try {
      const result = await applyDelta(this.#context, budget, key, {
        expect: new Map([[LEASE_ATTRIBUTE, held?.version ?? null]]),
        set: new Map([[LEASE_ATTRIBUTE, value]]),
      });
      return result.status === "applied" ? result : { current: result.current };
    } catch (error) {
      if (isSessionError(error) && error.code === "SESSION_ENDED") return { current: undefined };
      throw error;
    }
  }
}

type Taken =
  | { readonly version: Version; readonly expiresAtMs: number }
  | { readonly current: SessionRecord | undefined };

/** One request's exclusive access to one session. */
export class Lease {
  readonly key: SessionKey;
  readonly #access: ExclusiveAccess;
  readonly #version: Version;
  #isOver = false;

  constructor(access: ExclusiveAccess, key: SessionKey, version: Version) {
    this.#access = access;
    this.key = key;
    this.#version = version;
  }

  /** For a write that must not happen once somebody else has taken over. */
  get fence(): Pick<SessionDelta, "expect"> {
    return { expect: new Map([[LEASE_ATTRIBUTE, this.#version]]) };
  }

  /** The same, giving it back. */
  get returning(): SessionDelta {
    return { ...this.fence, delete: [LEASE_ATTRIBUTE] };
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** It went with a write, or the id it belongs to is no more. */
  wentAlong(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#access.pass(this.key);
  }

  /** The request needs it no longer. */
  giveBack(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#access.giveBack(this);
  }

  /** Another request has taken over. Not over: whatever this request still tries must find the same. */
  lost(): SessionError {
    return new SessionError(
      "SESSION_BUSY",
      `Cannot change a session: this request's exclusive access ended after ${LEASE_MS} ms and another one took over`,
    );
  }
}

function busy(waitedMs: number): SessionError {
  return new SessionError(
    "SESSION_BUSY",
    `Cannot have a session exclusively: other requests of it took longer than ${Math.round(waitedMs)} ms`,
  );
}

function isHeld({ value }: Attribute, nowMs: number): boolean {
  const untilMs = jsonCodec.decode(value);
  // A clock that jumped must not lock a session for longer than a lease.
  return typeof untilMs === "number" && untilMs > nowMs && untilMs <= nowMs + 2 * LEASE_MS;
}

/** True when nothing was written in between, so what was read is what is stored. */
function isNext(before: Version, after: Version): boolean {
  return before.epoch === after.epoch && before.counter + 1 === after.counter;
}

function after(
  record: SessionRecord,
  { version, expiresAtMs }: Extract<Taken, { version: Version }>,
): SessionRecord {
  return { ...record, version, expiresAtMs };
}

/** Longer each time, and never the same for two servers. */
function pauseFor(clock: Clock, looks: number): number {
  const most = Math.min(PAUSE_MS_MIN * 2 ** looks, PAUSE_MS_MAX);
  return most / 2 + (clock.randomBytes(1)[0]! / 256) * (most / 2);
}
