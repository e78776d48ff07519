/**
 * The authority's monotonic clock as a client knows it: never ahead of the true one. So a deadline translated with it is
 * never late, and an authority that was away refuses what its caller has given up on.
 *
 * Each answered hello or heartbeat is a sample: the authority's time was read after we sent and before we received. Taking
 * the moment of receiving gives a lower bound; the best of the last few is off by the shortest answer's way back.
 */

/** Eight seconds of heartbeats: two clocks drift apart by less than a millisecond in that time. */
const SAMPLES = 16;

export class AuthorityClock {
  readonly #offsets: number[] = [];
  #offsetMs = 0;

  /** @param receivedMs  our monotonic clock when the answer was here */
  observe(receivedMs: number, authorityMs: number): void {
    this.#offsets.push(authorityMs - receivedMs);
    if (this.#offsets.length > SAMPLES) this.#offsets.shift();
    this.#offsetMs = Math.max(...this.#offsets);
  }

  /** The authority's clock at our moment `monotonicMs`, or a little less. */
  at(monotonicMs: number): number {
    return monotonicMs + this.#offsetMs;
  }
}
