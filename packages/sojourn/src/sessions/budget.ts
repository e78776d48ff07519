/**
 * How long one request may wait for the store, all its calls together. A store is asked to answer in time, and not
 * believed: a call that ignores its timeout is left alone when the time is over, so no request hangs on a driver's bug.
 */
import type { Clock } from "../core/clock.ts";
import { isSessionError, type SessionError, StoreUnavailableError } from "../core/errors.ts";

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
  async wait<T>(action: string, call: (timeoutMs: number) => Promise<T>): Promise<T> {
    const remainingMs = this.remainingMs();
    if (remainingMs <= 0) throw this.#overdue(action);
    if (this.#waiting++ === 0) this.#waitingSinceMs = this.#clock.monotonicMs();
    try {
      return await this.#within(action, remainingMs, call(Math.max(1, Math.floor(remainingMs))));
    } catch (error) {
      throw storeFault(error, this.#storeName, action);
    } finally {
      if (--this.#waiting === 0) this.#spentMs += this.#clock.monotonicMs() - this.#waitingSinceMs;
    }
  }

  #within<T>(action: string, ms: number, call: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimer(() => reject(this.#overdue(action)), ms, "keep-alive");
      call.then(
        (result) => {
          timer.cancel();
          resolve(result);
        },
        (error: unknown) => {
          timer.cancel();
          reject(error);
        },
      );
    });
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
