/**
 * Requests per second of one server, exponentially weighted: old traffic fades with a time constant of 10 s. At 10
 * requests/s that figure is off by about 7 % (one standard deviation), which is why relief ignores less.
 */

export const RATE_TIME_CONSTANT_MS = 10_000;

export class Rate {
  #perS = 0;
  #sinceTick = 0;

  count(): void {
    this.#sinceTick++;
  }

  /** Folds what was counted since the last tick into the average. */
  tick(elapsedMs: number): void {
    if (elapsedMs <= 0) return;
    const fresh = 1 - Math.exp(-elapsedMs / RATE_TIME_CONSTANT_MS);
    this.#perS += fresh * ((this.#sinceTick * 1_000) / elapsedMs - this.#perS);
    this.#sinceTick = 0;
  }

  /** The average, with what the current tick has added so far: a burst counts at once. */
  get perS(): number {
    return this.#perS + (this.#sinceTick * 1_000) / RATE_TIME_CONSTANT_MS;
  }

  /** A server that comes back starts as busy as the others, else all new sessions would be sent to it at once. */
  startFrom(perS: number): void {
    this.#perS = perS;
    this.#sinceTick = 0;
  }
}
