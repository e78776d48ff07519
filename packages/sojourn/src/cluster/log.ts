/**
 * What servers and clients of our engine tell an operator: one line each, never a secret, a key or a value. Floods are
 * summed up, so that being attacked does not fill a disk.
 */
import { type Clock, systemClock, type Timer } from "../core/clock.ts";

export type LogLevel = "info" | "warn" | "error";

/** `message` is one line and complete in itself. */
export type Log = (level: LogLevel, message: string) => void;

export const silent: Log = () => undefined;

const LINES_MAX = 5;
const WINDOW_MS = 10_000;

/** Lets the first five lines of each kind through in any ten seconds and then says how many more there were. */
export class LimitedLog {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #counts = new Map<string, { lines: number; timer: Timer }>();

  constructor(log: Log, clock: Clock = systemClock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** @param kind  few and fixed: an error code, not an address */
  write(kind: string, level: LogLevel, message: string): void {
    let count = this.#counts.get(kind);
    if (count === undefined) {
      count = { lines: 0, timer: this.#clock.setTimer(() => this.#close(kind, level), WINDOW_MS) };
      this.#counts.set(kind, count);
    }
    count.lines++;
    if (count.lines <= LINES_MAX) this.#log(level, message);
  }

  close(): void {
    for (const { timer } of this.#counts.values()) timer.cancel();
    this.#counts.clear();
  }

  #close(kind: string, level: LogLevel): void {
    const more = (this.#counts.get(kind)?.lines ?? 0) - LINES_MAX;
    this.#counts.delete(kind);
    if (more > 0) this.#log(level, `${kind}: ${more} more in ${WINDOW_MS / 1000} s`);
  }
}
