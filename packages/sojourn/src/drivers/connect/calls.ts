/**
 * Callbacks of somebody else's code as promises that always settle, and the order in which one process writes a session.
 */
import type { Clock } from "../../core/clock.ts";
import { isSessionError, SessionError, StoreUnavailableError } from "../../core/errors.ts";
import { type ReadOptions, STORE_TIMEOUT_MS_DEFAULT } from "../../store/store.ts";

/** A store that never answers must not close a session to this process for good. */
const HELD_MS_MAX = 10_000;

/** One call: once it was answered, also by giving up, it may no longer write. */
export class Call {
  #refusal: { readonly reason: unknown } | undefined;

  refuse(reason: unknown): void {
    this.#refusal ??= { reason };
  }

  /** Between a read and the write that follows from it. @throws why the caller was refused meanwhile */
  requireOpen(): void {
    if (this.#refusal) throw this.#refusal.reason;
  }
}

/** Settles within the call's time, whatever the store does. */
export function bounded<Value>(
  clock: Clock,
  { name, action }: { readonly name: string; readonly action: string },
  options: ReadOptions | undefined,
  work: (call: Call) => Promise<Value>,
): Promise<Value> {
  const { timeoutMs = STORE_TIMEOUT_MS_DEFAULT, signal } = options ?? {};
  const call = new Call();
  return new Promise<Value>((resolve, reject) => {
    const refuse = (reason: unknown) => {
      call.refuse(reason);
      finish();
      reject(reason);
    };
    const late = () =>
      refuse(new StoreUnavailableError(name, action, `did not answer within ${timeoutMs} ms`));
    const aborted = () => refuse(signal?.reason);
    const timer = clock.setTimer(late, timeoutMs);
    signal?.addEventListener("abort", aborted, { once: true });
    const finish = () => {
      timer.cancel();
      signal?.removeEventListener("abort", aborted);
    };
    work(call).finally(finish).then(resolve, reject);
  });
}

/**
 * One method of a store, by its callback.
 *
 * @throws {SessionError} STORE_UNAVAILABLE, or STORED_DATA_UNREADABLE when the store could not parse what it holds
 */
export async function asked<Value>(
  name: string,
  action: string,
  ask: (callback: (error: unknown, value?: Value) => void) => unknown,
): Promise<Value | undefined> {
  try {
    return await new Promise<Value | undefined>((resolve, reject) => {
      const returned = ask((error, value) => (error ? reject(error) : resolve(value)));
      // Some give a promise besides, and its rejection would be nobody's.
      if (returned instanceof Promise) returned.catch(reject);
    });
  } catch (cause) {
    if (isSessionError(cause)) throw cause;
    if (cause instanceof SyntaxError) {
      const found = `Cannot ${action}: store "${name}" could not parse it`;
      throw new SessionError("STORED_DATA_UNREADABLE", found, { cause });
    }
    throw new StoreUnavailableError(name, action, "answered with an error", { cause });
  }
}

/** Runs what concerns one key one after the other. */
export class KeyQueue {
  readonly #clock: Clock;
  readonly #forsaken: () => void;
  readonly #tails = new Map<string, Promise<void>>();

  /** @param forsaken  told when somebody was not waited for any longer: what it sent may still happen, at any time */
  constructor(clock: Clock, forsaken: () => void) {
    this.#clock = clock;
    this.#forsaken = forsaken;
  }

  run<Value>(key: string, task: () => Promise<Value>): Promise<Value> {
    const before = this.#tails.get(key);
    const result = before ? before.then(task) : task();
    const tail = this.#settled(result).then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    this.#tails.set(key, tail);
    return result;
  }

  /** Resolves when `result` has settled, or nobody should wait for it any more. */
  #settled(result: Promise<unknown>): Promise<void> {
    return new Promise((resolve) => {
      const giveUp = () => {
        this.#forsaken();
        resolve();
      };
      const timer = this.#clock.setTimer(giveUp, HELD_MS_MAX);
      const done = () => {
        timer.cancel();
        resolve();
      };
      result.then(done, done);
    });
  }
}
