/**
 * Tells when a session has ended, for what outlives a request: WebSockets, event streams. A store that tells of changes
 * (memory, session servers) is watched, and costs a read for each change of a session somebody waits on; any other is
 * asked at an interval. Nobody tells of an expiry, so that moment has a timer in both cases.
 *
 * A store that cannot answer ends nothing but what is past its absolute timeout: an outage must not close every socket,
 * and all of them coming back at once would prolong it.
 */
import type { Timer } from "../core/clock.ts";
import type { SessionKey } from "../core/ids.ts";
import type { SessionRecord } from "../core/record.ts";
import { isWatchable, type Watch } from "../store/store.ts";
import { StoreBudget } from "./budget.ts";
import type { Loads } from "./loads.ts";
import type { Policy } from "./options.ts";

/** "renewed": lives on under a new id, which only its browser knows. */
export type EndReason = "ended" | "expired" | "renewed";

export type EndListener = (reason: EndReason) => void;

export const END_POLL_MS_DEFAULT = 5_000;
/** The longest pause between two looks: timers hold no more than 24 days, and a miss must not last for ever. */
const LOOK_INTERVAL_MS_MAX = 3_600_000;

interface Watched {
  readonly key: SessionKey;
  readonly listeners: Set<EndListener>;
  pollMs: number;
  expiresAtMs: number;
  absoluteExpiresAtMs: number;
  principal: string | null;
  timer: Timer | undefined;
  isLooking: boolean;
  /** Something happened while the store was being asked: its answer may be older. */
  isOutdated: boolean;
}

export interface WaitedOn {
  readonly key: SessionKey;
  readonly expiresAtMs: number;
  readonly principal: string | null;
}

export class EndWatch {
  readonly #policy: Policy;
  readonly #loads: Loads;
  readonly #watched = new Map<SessionKey, Watched>();
  #watch: Watch | undefined;
  #watching: Promise<void> | undefined;

  constructor(policy: Policy, loads: Loads) {
    this.#policy = policy;
    this.#loads = loads;
  }

  /** @returns stops waiting; `listener` is called once at most, never within this call */
  add({ key, expiresAtMs, principal }: WaitedOn, listener: EndListener, pollMs: number): () => void {
    let watched = this.#watched.get(key);
    const isSooner = watched === undefined || pollMs < watched.pollMs;
    if (watched) {
      watched.listeners.add(listener);
      watched.pollMs = Math.min(watched.pollMs, pollMs);
    } else {
      watched = {
        key,
        listeners: new Set([listener]),
        pollMs,
        expiresAtMs,
        absoluteExpiresAtMs: Number.POSITIVE_INFINITY,
        principal,
        timer: undefined,
        isLooking: false,
        isOutdated: false,
      };
      this.#watched.set(key, watched);
    }
    void this.#begin(watched, isSooner);
    const joined = watched;
    return () => {
      joined.listeners.delete(listener);
      if (joined.listeners.size === 0) this.#forget(joined);
    };
  }

  /** This process has ended or renewed it. */
  changed(key: SessionKey): void {
    const watched = this.#watched.get(key);
    if (watched) void this.#look(watched);
  }

  /** This process has ended all sessions of a user. */
  changedOf(principal: string): void {
    for (const watched of this.#watched.values())
      if (watched.principal === principal) void this.#look(watched);
  }

  /** Tells nobody any more. */
  close(): void {
    for (const watched of [...this.#watched.values()]) this.#forget(watched);
  }

  async #begin(watched: Watched, isSooner: boolean): Promise<void> {
    const { store } = this.#policy;
    if (!isWatchable(store)) {
      // Whoever joins must not put off the next look for the others.
      if (isSooner) this.#lookLater(watched);
      return;
    }
    // What happened before the watch stood is told by the look after it.
    await this.#ensureWatch();
    await this.#look(watched);
  }

  /** Never rejects: without a watch, sessions are asked for at an interval. */
  #ensureWatch(): Promise<void> {
    const { store } = this.#policy;
    if (this.#watch || !isWatchable(store)) return Promise.resolve();
    this.#watching ??= store
      .watch({ invalidated: (keys) => this.#invalidated(keys) })
      .then(
        (watch) => {
          if (this.#watched.size === 0) watch.close();
          else this.#watch = watch;
        },
        () => {},
      )
      .finally(() => {
        this.#watching = undefined;
      });
    return this.#watching;
  }

  #invalidated(keys: readonly SessionKey[] | "all"): void {
    if (keys !== "all") {
      for (const key of keys) {
        const watched = this.#watched.get(key);
        // Not within the store's own call.
        if (watched) queueMicrotask(() => void this.#look(watched));
      }
      return;
    }
    // Everybody at once would be a herd on a store that has only just come back.
    for (const watched of this.#watched.values()) this.#lookIn(watched, watched.pollMs * this.#random());
  }

  async #look(watched: Watched): Promise<void> {
    if (this.#watched.get(watched.key) !== watched) return;
    if (watched.isLooking) {
      watched.isOutdated = true;
      return;
    }
    watched.isLooking = true;
    do {
      watched.isOutdated = false;
      const record = await this.#read(watched.key);
      if (this.#watched.get(watched.key) !== watched) return;
      const reason = this.#judge(watched, record);
      if (reason !== undefined) {
        this.#end(watched, reason);
        return;
      }
    } while (watched.isOutdated);
    watched.isLooking = false;
    this.#lookLater(watched);
  }

  /** @returns undefined when the store cannot tell */
  async #read(key: SessionKey): Promise<SessionRecord | null | undefined> {
    const { clock, store, storeBudgetMs } = this.#policy;
    try {
      const budget = new StoreBudget(clock, store.name, storeBudgetMs);
      return await budget.wait("look whether a session has ended", (timeoutMs) =>
        this.#loads.load(key, timeoutMs),
      );
    } catch {
      return undefined;
    }
  }

  #judge(watched: Watched, record: SessionRecord | null | undefined): EndReason | undefined {
    const nowMs = this.#policy.clock.nowMs();
    if (record === undefined) return nowMs >= watched.absoluteExpiresAtMs ? "expired" : undefined;
    if (record === null) return nowMs >= watched.expiresAtMs ? "expired" : "ended";
    if (record.state === "superseded") return "renewed";
    watched.expiresAtMs = record.expiresAtMs;
    watched.absoluteExpiresAtMs = record.absoluteExpiresAtMs;
    watched.principal = record.principal;
    return undefined;
  }

  #lookLater(watched: Watched): void {
    const { clock } = this.#policy;
    const untilExpiryMs = Math.max(1, watched.expiresAtMs - clock.nowMs() + 1);
    const isTold = this.#watch !== undefined && this.#watch.leaseUntilMs() > clock.monotonicMs();
    // Overdue, so the store cannot answer now: asked again at the interval, like all that nobody tells about.
    const isOverdue = untilExpiryMs === 1;
    const pollMs = isTold && !isOverdue ? LOOK_INTERVAL_MS_MAX : watched.pollMs * (0.75 + this.#random() / 2);
    this.#lookIn(watched, isOverdue ? pollMs : Math.min(untilExpiryMs, pollMs));
  }

  #lookIn(watched: Watched, delayMs: number): void {
    watched.timer?.cancel();
    watched.timer = this.#policy.clock.setTimer(() => {
      void this.#ensureWatch();
      void this.#look(watched);
    }, delayMs);
  }

  #end(watched: Watched, reason: EndReason): void {
    this.#forget(watched);
    for (const listener of watched.listeners) {
      try {
        listener(reason);
      } catch {
        // One socket that cannot be closed must not keep the others open.
      }
    }
  }

  #forget(watched: Watched): void {
    watched.timer?.cancel();
    if (this.#watched.get(watched.key) !== watched) return;
    this.#watched.delete(watched.key);
    if (this.#watched.size > 0) return;
    this.#watch?.close();
    this.#watch = undefined;
  }

  /** 0..1 */
  #random(): number {
    return this.#policy.clock.randomBytes(2).readUInt16BE() / 65_536;
  }
}
