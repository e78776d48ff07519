/**
 * Reads of one session by parallel requests, made few: while one read is under way, everybody who arrives waits for one
 * more that begins after it. So a page that sends twenty requests at once costs two reads, and after an outage each
 * session is asked for once.
 *
 * Nobody joins the read already under way: it may have begun before a write that this browser was already told of.
 */
import type { Clock, Timer } from "../core/clock.ts";
import { StoreUnavailableError } from "../core/errors.ts";
import type { SessionKey } from "../core/ids.ts";
import type { SessionRecord } from "../core/record.ts";
import { inThisContext } from "../store/channels.ts";
import type { SessionStore } from "../store/store.ts";
import type { Telemetry } from "./telemetry.ts";

interface Queued {
  readonly promise: Promise<SessionRecord | null>;
  readonly begin: (timeoutMs: number) => void;
  /** The latest moment at which one of those waiting still wants it. */
  wantedUntilMs: number;
  /** A driver that never answers must not keep the next read from beginning. */
  readonly timer: Timer;
}

interface Lane {
  readonly overdueAtMs: number;
  queued: Queued | undefined;
}

export class Loads {
  readonly #store: SessionStore;
  readonly #clock: Clock;
  readonly #telemetry: Telemetry;
  /** Sessions with a read under way. */
  readonly #lanes = new Map<SessionKey, Lane>();

  constructor(store: SessionStore, clock: Clock, telemetry: Telemetry) {
    this.#store = store;
    this.#clock = clock;
    this.#telemetry = telemetry;
  }

  /**
   * The record as of a moment after this call. Shared by all who waited: never change it.
   *
   * @param timeoutMs  how long the caller waits. It must do so itself: a store may ignore its timeout.
   */
  load(key: SessionKey, timeoutMs: number): Promise<SessionRecord | null> {
    let lane = this.#lanes.get(key);
    if (lane && lane.overdueAtMs <= this.#clock.monotonicMs()) {
      this.#over(key, lane);
      lane = this.#lanes.get(key);
    }
    if (!lane) return this.#begin(key, timeoutMs);
    lane.queued ??= this.#queue(key, lane);
    lane.queued.wantedUntilMs = Math.max(lane.queued.wantedUntilMs, this.#clock.monotonicMs() + timeoutMs);
    return lane.queued.promise;
  }

  /** Where the store knows without waiting: nobody needs to share a read. @returns undefined: `load` it */
  now(key: SessionKey): SessionRecord | null | undefined {
    const record = this.#store.readNow?.(key);
    if (record !== undefined) this.#telemetry.count("loads");
    return record;
  }

  #begin(key: SessionKey, timeoutMs: number): Promise<SessionRecord | null> {
    const lane: Lane = { overdueAtMs: this.#clock.monotonicMs() + timeoutMs, queued: undefined };
    this.#lanes.set(key, lane);
    this.#telemetry.count("loads");
    let read: Promise<SessionRecord | null>;
    try {
      read = this.#store.read(key, { timeoutMs });
    } catch (error) {
      read = Promise.reject(error);
    }
    const over = () => this.#over(key, lane);
    read.then(over, over);
    return read;
  }

  #queue(key: SessionKey, lane: Lane): Queued {
    let begin: Queued["begin"] | undefined;
    const promise = new Promise<SessionRecord | null>((resolve) => {
      begin = inThisContext((timeoutMs: number) =>
        resolve(timeoutMs > 0 ? this.#begin(key, timeoutMs) : this.#unwanted()),
      );
    });
    // Whoever waits has its own time limit and may have left.
    promise.catch(() => {});
    const untilOverdueMs = lane.overdueAtMs - this.#clock.monotonicMs();
    const timer = this.#clock.setTimer(() => this.#over(key, lane), untilOverdueMs);
    return { promise, begin: begin!, wantedUntilMs: 0, timer };
  }

  #over(key: SessionKey, lane: Lane): void {
    // Otherwise it was overdue and others went on without it.
    if (this.#lanes.get(key) !== lane) return;
    this.#lanes.delete(key);
    if (!lane.queued) return;
    lane.queued.timer.cancel();
    lane.queued.begin(Math.floor(lane.queued.wantedUntilMs - this.#clock.monotonicMs()));
  }

  #unwanted(): Promise<never> {
    return Promise.reject(
      new StoreUnavailableError(this.#store.name, "read a session", "did not answer in time"),
    );
  }
}
