/** One caller's time over several steps: each is given what the ones before it left. */
import type { Clock } from "../../core/clock.ts";
import type { WriteOptions } from "../../store/store.ts";

export class Budget implements WriteOptions {
  readonly signal?: AbortSignal;
  readonly #clock: Clock;
  readonly #deadlineMs: number;

  constructor(clock: Clock, timeoutMs: number, signal: AbortSignal | undefined) {
    this.#clock = clock;
    this.#deadlineMs = clock.monotonicMs() + timeoutMs;
    if (signal) this.signal = signal;
  }

  /** What is left, at least 1. */
  get timeoutMs(): number {
    return Math.max(1, Math.ceil(this.#deadlineMs - this.#clock.monotonicMs()));
  }
}
