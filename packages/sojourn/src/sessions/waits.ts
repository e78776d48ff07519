/**
 * Time limits of everything that waits for a store, on one timer: a timer for each wait costs more than most waits, and
 * nearly all end long before it. The timer runs while somebody waits, at most WAKE_MS at a time, so that it neither ends a
 * wait late nor keeps a process alive for the limit of a wait that is over.
 */
import type { Clock, Timer } from "../core/clock.ts";

export const WAKE_MS = 50;

export interface Wait {
  /** On the monotonic clock. */
  readonly deadlineMs: number;
  /** The time is over; nobody waits any more. */
  overdue(): void;
}

export class Waits {
  readonly #clock: Clock;
  readonly #waiting = new Set<Wait>();
  #timer: Timer | undefined;
  #wakesAtMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(wait: Wait, nowMs: number): void {
    this.#waiting.add(wait);
    if (wait.deadlineMs < this.#wakesAtMs) this.#wake(Math.min(wait.deadlineMs, nowMs + WAKE_MS), nowMs);
  }

  /** @returns false when its time was over before */
  end(wait: Wait): boolean {
    return this.#waiting.delete(wait);
  }

  #wake(atMs: number, nowMs: number): void {
    // Nobody is waiting for anything earlier than the wake that is due already.
    if (this.#wakesAtMs <= atMs) return;
    this.#timer?.cancel();
    this.#wakesAtMs = atMs;
    this.#timer = this.#clock.setTimer(() => this.#woken(), atMs - nowMs, "keep-alive");
  }

  #woken(): void {
    this.#timer = undefined;
    this.#wakesAtMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#clock.monotonicMs();
    let earliestMs = nowMs + WAKE_MS;
    for (const wait of this.#waiting) {
      if (wait.deadlineMs > nowMs) {
        earliestMs = Math.min(earliestMs, wait.deadlineMs);
      } else {
        this.#waiting.delete(wait);
        wait.overdue();
      }
    }
    if (this.#waiting.size > 0) this.#wake(earliestMs, nowMs);
  }
}

const ALL = new WeakMap<Clock, Waits>();

/** One for all who measure with this clock. */
export function waitsOf(clock: Clock): Waits {
  let waits = ALL.get(clock);
  if (waits === undefined) {
    waits = new Waits(clock);
    ALL.set(clock, waits);
  }
  return waits;
}
