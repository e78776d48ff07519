/**
 * A Redis node's clock as this process knows it, from the `TIME` in every reply. Two estimates, because they may err in
 * different directions:
 * - `toServer` and `toMonotonic` convert what is stored and shown. They move only when a reply proves them wrong by more
 *   than a few ms, so that one deadline reads the same twice; and where our wall clock may be the server's they take it
 *   for that, so that it reads the same in every process of one machine.
 * - `deadline` is never ahead of the true clock, so an operation its caller has given up on is refused when it arrives late.
 */

const SAMPLES = 16;
/** Between two samples that only confirm. */
const SAMPLE_INTERVAL_MS = 250;
const STEP_MS = 5;

export class ServerClock {
  /** Server − monotonic. */
  #offsetMs = Number.NaN;
  #floorMs = Number.NEGATIVE_INFINITY;
  #floors: number[] = [];
  #sampledAtMs = Number.NEGATIVE_INFINITY;

  readonly #wallOffsetMs: () => number;

  /** @param wallOffsetMs  our wall clock − monotonic, whole ms */
  constructor(wallOffsetMs: () => number) {
    this.#wallOffsetMs = wallOffsetMs;
  }

  get isKnown(): boolean {
    return this.#floors.length > 0;
  }

  /** @param sentMs, receivedMs  our monotonic clock around the request; `serverMs`: whole ms, read in between */
  observe(sentMs: number, receivedMs: number, serverMs: number): void {
    const leastMs = serverMs - receivedMs;
    const mostMs = serverMs + 1 - sentMs;
    if (this.#offsetMs < leastMs - STEP_MS || this.#offsetMs > mostMs + STEP_MS || !this.isKnown) {
      // The first sample, drift that has summed up, or somebody set a clock.
      const wallMs = this.#wallOffsetMs();
      const mayBeWall = wallMs >= leastMs - STEP_MS && wallMs <= mostMs + STEP_MS;
      this.#offsetMs = mayBeWall ? wallMs : Math.round((leastMs + mostMs) / 2);
      this.#floors = [leastMs];
      this.#floorMs = leastMs;
      this.#sampledAtMs = receivedMs;
    } else if (leastMs > this.#floorMs || receivedMs - this.#sampledAtMs > SAMPLE_INTERVAL_MS) {
      this.#floors.push(leastMs);
      if (this.#floors.length > SAMPLES) this.#floors.shift();
      this.#floorMs = Math.max(...this.#floors);
      this.#sampledAtMs = receivedMs;
    }
  }

  /** The server's clock at our moment `monotonicMs`, or a little less. */
  deadline(monotonicMs: number): number {
    return Math.floor(monotonicMs + this.#floorMs);
  }

  toMonotonic(serverMs: number): number {
    return serverMs - this.#offsetMs;
  }

  toServer(monotonicMs: number): number {
    return monotonicMs + this.#offsetMs;
  }
}
