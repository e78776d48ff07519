/**
 * Orders commits: a hybrid logical clock. One commit has one stamp; of two commits that wrote the same attribute the
 * larger stamp wins, the member id breaking ties, so every member that merges two copies decides alike.
 *
 * Physical time is read once and then advanced by the monotonic clock: stepping the wall clock never orders writes.
 *
 * Source: Kulkarni et al., "Logical Physical Clocks", 2014.
 */
import type { Clock } from "./clock.ts";

export interface Stamp {
  readonly physicalMs: number;
  readonly logical: number;
  /** The member that stamped, ≤ 64 ASCII characters. */
  readonly member: string;
}

/** Negative when `a` is older. Total: only equal stamps give 0. */
export function compareStamps(a: Stamp, b: Stamp): number {
  if (a.physicalMs !== b.physicalMs) return a.physicalMs - b.physicalMs;
  if (a.logical !== b.logical) return a.logical - b.logical;
  return a.member < b.member ? -1 : a.member > b.member ? 1 : 0;
}

/** Only a session's primary stamps, with max(own clock, greatest stamp in the record + 1). */
export class StampClock {
  readonly #clock: Clock;
  readonly #member: string;
  readonly #offsetMs: number;
  #last: Stamp;

  constructor(clock: Clock, member: string) {
    this.#clock = clock;
    this.#member = member;
    this.#offsetMs = clock.nowMs() - clock.monotonicMs();
    this.#last = { physicalMs: 0, logical: 0, member };
  }

  /** A stamp greater than every one given before and than `atLeast`. */
  next(atLeast?: Stamp): Stamp {
    const physicalMs = Math.floor(this.#clock.monotonicMs() + this.#offsetMs);
    let floor = this.#last;
    if (atLeast && compareStamps(atLeast, floor) > 0) floor = atLeast;
    this.#last =
      physicalMs > floor.physicalMs
        ? { physicalMs, logical: 0, member: this.#member }
        : { physicalMs: floor.physicalMs, logical: floor.logical + 1, member: this.#member };
    return this.#last;
  }
}
