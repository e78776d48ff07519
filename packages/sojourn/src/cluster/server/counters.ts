/** What a session server counts, and the page it answers to `status`. */
import type { Clock } from "../../core/clock.ts";
import type { Operation } from "../wire/requests.ts";

const WINDOW_S = 10;

export class OperationCounters {
  readonly #clock: Clock;
  readonly #totals = new Map<Operation, number>();
  /** Per second of the last ten, by second modulo ten. */
  readonly #seconds: { second: number; count: number }[] = [];
  readonly #startedMs: number;
  refused = 0;
  late = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
  }

  count(operation: Operation): void {
    this.#totals.set(operation, (this.#totals.get(operation) ?? 0) + 1);
    if (operation === "heartbeat" || operation === "status") return;
    const second = Math.floor(this.#clock.monotonicMs() / 1000);
    const slot = this.#seconds[second % WINDOW_S];
    if (slot?.second === second) slot.count++;
    else this.#seconds[second % WINDOW_S] = { second, count: 1 };
  }

  get totals(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#totals);
  }

  get uptimeMs(): number {
    return this.#clock.monotonicMs() - this.#startedMs;
  }

  /** Mean of the last whole seconds, at most ten; heartbeats and status apart. */
  get perSecond(): number {
    const now = Math.floor(this.#clock.monotonicMs() / 1000);
    const seconds = Math.max(1, Math.min(WINDOW_S - 1, Math.floor(this.uptimeMs / 1000)));
    let count = 0;
    for (const slot of this.#seconds) {
      if (slot && slot.second < now && slot.second >= now - seconds) count += slot.count;
    }
    return count / seconds;
  }
}
