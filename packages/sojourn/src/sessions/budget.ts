/**
 * How long one request may wait for the store, all its calls together. A store is asked to answer in time, and not
 * believed: a call that ignores its timeout is left alone when the time is over, so no request hangs on a driver's bug.
 */
import type { Clock } from "../core/clock.ts";
import { isSessionError, type SessionError, StoreUnavailableError } from "../core/errors.ts";
import { type Wait, waitsOf } from "./waits.ts";

export class StoreBudget {
  readonly #clock: Clock;
  readonly #storeName: string;
  readonly #budgetMs: number;
  #spentMs = 0;
  // Calls of one request may overlap; overlapping time is waited only once.
  #waiting = 0;
  #waitingSinceMs = 0;

  constructor(clock: Clock, storeName: string, budgetMs: number) {
    this.#clock = clock;
    this.#storeName = storeName;
    this.#budgetMs = budgetMs;
  }

  remainingMs(): number {
    const runningMs = this.#waiting > 0 ? this.#clock.monotonicMs() - this.#waitingSinceMs : 0;
    return this.#budgetMs - this.#spentMs - runningMs;
  }

  /**
   * Calls the store with what is left.
   *
   * @param action  for the message: "read a session"
   * @throws {SessionError} what the store threw; STORE_UNAVAILABLE for anything else it threw and when time is over
   */
  wait<T>(action: string, call: (timeoutMs: number) => Promise<T>): Promise<T> {
    const remainingMs = this.remainingMs();
    if (remainingMs <= 0) return Promise.reject(this.#overdue(action));
    const nowMs = this.#clock.monotonicMs();
    if (this.#waiting++ === 0) this.#waitingSinceMs = nowMs;
    return new Promise((resolve, reject) => {
      const failed = (error: unknown) => {
        this.#over();
        reject(storeFault(error, this.#storeName, action));
      };
      let calling: Promise<T>;
      try {
        calling = call(Math.max(1, Math.floor(remainingMs)));
      } catch (error) {
        failed(error);
        return;
      }
      const waits = waitsOf(this.#clock);
      const wait: Wait = {
        deadlineMs: nowMs + remainingMs,
        overdue: () => failed(this.#overdue(action)),
      };
      waits.add(wait, nowMs);
      calling.then(
        (result) => {
          if (!waits.end(wait)) return;
          this.#over();
          resolve(result);
        },
        (error: unknown) => {
          if (waits.end(wait)) failed(error);
        },
      );
    });
  }

  #over(): void {
    if (--this.#waiting === 0) this.#spentMs += this.#clock.monotonicMs() - this.#waitingSinceMs;
  }

  #overdue(action: string): StoreUnavailableError {
    return new StoreUnavailableError(
      this.#storeName,
      action,
      `did not answer within the ${this.#budgetMs} ms a request may wait for it`,
    );
  }
}

/** Drivers throw SessionErrors; whatever else escapes one is a fault of the store to everybody above. */
export function storeFault(error: unknown, storeName: string, action: string): SessionError {
  if (isSessionError(error)) return error;
  return new StoreUnavailableError(storeName, action, "failed", { cause: error });
}
