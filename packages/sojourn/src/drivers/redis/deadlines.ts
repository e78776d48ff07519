/**
 * One coarse timer for every call under way: an AbortSignal or a timer each costs more than the command itself. Calls
 * end up to a tick late, never early.
 */
import type { Clock, Timer } from "../../core/clock.ts";

const TICK_MS = 20;
/** A tick this late was not late by itself: our own loop was busy, and replies may lie unread. */
const BUSY_MS = 50;
const DRAIN_MS = 5;

export interface Due {
  readonly deadlineMs: number;
  /** Past its deadline: leaves by `delete`. */
  due(): void;
}

export class Deadlines {
  readonly #clock: Clock;
  readonly #waiting = new Set<Due>();
  #timer: Timer | undefined;
  #expectedMs = 0;
  readonly #drained: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#waiting.size;
  }

  add(call: Due): void {
    this.#waiting.add(call);
    if (this.#timer === undefined) this.#arm(TICK_MS);
  }

  delete(call: Due): void {
    this.#waiting.delete(call);
    if (this.#waiting.size === 0 && this.#drained.length > 0) {
      for (const resolve of this.#drained.splice(0)) resolve();
    }
  }

  /** Resolves when nobody waits. */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#waiting.size === 0) resolve();
      else this.#drained.push(resolve);
    });
  }

  #arm(delayMs: number): void {
    this.#expectedMs = this.#clock.monotonicMs() + delayMs;
    this.#timer = this.#clock.setTimer(() => this.#tick(delayMs), delayMs, "keep-alive");
  }

  #tick(delayMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    if (delayMs === TICK_MS && nowMs - this.#expectedMs > BUSY_MS) {
      this.#arm(DRAIN_MS);
      return;
    }
    for (const call of this.#waiting) {
      if (call.deadlineMs > nowMs) continue;
      call.due();
    }
    // The timer runs on only while somebody waits.
    if (this.#waiting.size > 0) this.#arm(TICK_MS);
    else this.#timer = undefined;
  }
}
