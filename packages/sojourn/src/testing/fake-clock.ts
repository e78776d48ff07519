/**
 * A clock that a test moves by hand. Timers run only when time passes them, in order of their moment and then of their
 * setting, and all randomness comes from the seed: the same test is the same run.
 */
import { type Clock, systemClock, type Timer } from "../core/clock.ts";

export interface FakeClockOptions {
  /** Equal seeds draw equal bytes. Default 1. */
  readonly seed?: number;
  /** Wall time at the start, ms since 1970. Default some moment in 2033. */
  readonly startMs?: number;
}

interface PendingTimer {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
}

/** More timers than this in one `advance` is a timer that sets itself with no delay. */
const TIMERS_PER_ADVANCE_MAX = 1_000_000;
/** Not zero: code that takes 0 for "never" is found. */
const MONOTONIC_START_MS = 5_000;

export class FakeClock implements Clock {
  #wallOffsetMs: number;
  #monotonicMs = MONOTONIC_START_MS;
  #order = 0;
  readonly #pending = new Set<PendingTimer>();
  readonly #nextWord: () => number;

  constructor(options: FakeClockOptions = {}) {
    this.#wallOffsetMs = (options.startMs ?? 2_000_000_000_000) - MONOTONIC_START_MS;
    this.#nextWord = seededWords(options.seed ?? 1);
  }

  nowMs(): number {
    return Math.floor(this.#monotonicMs + this.#wallOffsetMs);
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  setTimer(callback: () => void, delayMs: number): Timer {
    const timer = { dueMs: this.#monotonicMs + Math.max(0, delayMs), order: this.#order++, callback };
    this.#pending.add(timer);
    return { cancel: () => this.#pending.delete(timer) };
  }

  randomBytes(count: number): Buffer {
    const bytes = Buffer.allocUnsafe(count);
    for (let offset = 0; offset < count; offset++) bytes[offset] = this.#nextWord() >>> 24;
    return bytes;
  }

  /** How many timers wait. After everything under test was closed: 0. */
  get pendingTimers(): number {
    return this.#pending.size;
  }

  /** Lets `ms` pass; each timer due meanwhile runs at its own moment. Promises it resolves continue after this call. */
  advance(ms: number): void {
    const untilMs = this.#monotonicMs + ms;
    for (let ran = 0; this.#runNext(untilMs); ran++) {
      if (ran > TIMERS_PER_ADVANCE_MAX) throw new Error(`Cannot advance ${ms} ms: timers never end`);
    }
    this.#monotonicMs = untilMs;
  }

  /** As `advance`, and lets promises and I/O continue before it begins, after each timer and at the end. */
  async advanceAsync(ms: number): Promise<void> {
    const untilMs = this.#monotonicMs + ms;
    await loopTurn();
    for (let ran = 0; this.#runNext(untilMs); ran++) {
      if (ran > TIMERS_PER_ADVANCE_MAX) throw new Error(`Cannot advance ${ms} ms: timers never end`);
      await loopTurn();
    }
    this.#monotonicMs = untilMs;
    await loopTurn();
  }

  /** An operator or NTP sets the wall clock; the monotonic one does not notice. */
  stepWall(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  #runNext(untilMs: number): boolean {
    let next: PendingTimer | undefined;
    for (const timer of this.#pending) {
      if (timer.dueMs > untilMs) continue;
      if (!next || timer.dueMs < next.dueMs || (timer.dueMs === next.dueMs && timer.order < next.order)) {
        next = timer;
      }
    }
    if (!next) return false;
    this.#pending.delete(next);
    this.#monotonicMs = Math.max(this.#monotonicMs, next.dueMs);
    next.callback();
    return true;
  }
}

/** One turn of the real event loop: every promise that could continue has continued. */
function loopTurn(): Promise<void> {
  return new Promise((resolve) => {
    systemClock.setTimer(resolve, 0, "keep-alive");
  });
}

/** 32-bit words of sfc32: small, fast, passes PractRand. Source: Chris Doty-Humphrey, PractRand. */
export function seededWords(seed: number): () => number {
  let a = seed | 0;
  let b = (seed / 0x1_0000_0000) | 0;
  let c = 0x9e3779b9 | 0;
  let counter = 1;
  const next = () => {
    const word = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + word;
    c |= 0;
    return word >>> 0;
  };
  // Nearby seeds start alike; a dozen rounds later they do not.
  for (let round = 0; round < 12; round++) next();
  return next;
}
