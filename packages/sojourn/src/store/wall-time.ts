/**
 * Wall times come in and go out, deadlines are held on the monotonic clock: stepping the wall clock ends no session and
 * lengthens none, it only changes what is shown.
 *
 * The two clocks tick at different phases, so converting with a fresh difference each time would make a stored deadline
 * read a millisecond earlier now and later then. The difference is therefore a whole number and kept until the wall
 * clock has really moved; within that time a round trip is exact.
 */
import type { Clock } from "../core/clock.ts";

/** Phase and rounding stay below 2 ms; slewing by NTP crosses this in minutes and then moves what is shown by 3 ms. */
const STEP_MS = 3;

export class WallTime {
  readonly #clock: Clock;
  #differenceMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  toMonotonic(wallMs: number): number {
    return wallMs - this.sinceMs();
  }

  toWall(monotonicMs: number): number {
    return monotonicMs + this.sinceMs();
  }

  /** What the wall clock shows more than the monotonic one. */
  sinceMs(monotonicMs: number = this.#clock.monotonicMs()): number {
    const differenceMs = this.#clock.nowMs() - monotonicMs;
    if (Math.abs(differenceMs - this.#differenceMs) >= STEP_MS) this.#differenceMs = Math.round(differenceMs);
    return this.#differenceMs;
  }
}
