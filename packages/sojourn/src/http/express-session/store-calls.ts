/**
 * Calls of a callback store: each answers exactly once, in time, and a throw or a rejection is an answer too, so a
 * request ends however the store behaves.
 */
import { systemClock } from "../../core/clock.ts";
import { StoreUnavailableError } from "../../core/errors.ts";

/** `undefined` or `null`: done. */
export type Done = (error?: unknown) => void;
export type Answer<Value> = (error?: unknown, value?: Value) => void;

/**
 * @param action     for the message: "read a session"
 * @param timeoutMs  Infinity: waits forever
 * @param begin      calls the store with the callback it is given
 * @param answer     called once, perhaps before this returns
 */
export function callStore<Value>(
  action: string,
  timeoutMs: number,
  begin: (answer: Answer<Value>) => unknown,
  answer: Answer<Value>,
): void {
  let isOver = false;
  let timer: { cancel(): void } | undefined;
  const finish: Answer<Value> = (error, value) => {
    if (isOver) return;
    isOver = true;
    timer?.cancel();
    answer(error, value);
  };
  // What the caller's own answer throws is not the store's failure.
  const failed = (error: unknown) => {
    if (isOver) throw error;
    finish(error ?? new StoreUnavailableError("express-session", action, "failed without an error"));
  };
  try {
    const returned = begin(finish);
    if (isPromise(returned)) returned.then(undefined, failed);
  } catch (error) {
    failed(error);
  }
  if (isOver || timeoutMs === Number.POSITIVE_INFINITY) return;
  timer = systemClock.setTimer(
    () =>
      finish(new StoreUnavailableError("express-session", action, `did not answer within ${timeoutMs} ms`)),
    timeoutMs,
    "keep-alive",
  );
}

/**
 * Of a method that takes a callback or gives a promise.
 *
 * @param isTold  a rejection reaches somebody even if nobody waits for the promise
 */
export function promiseOf(isTold: boolean, begin: (done: Done) => void): Promise<void> {
  const promise = new Promise<void>((resolve, reject) => {
    begin((error) => (error ? reject(error) : resolve()));
  });
  if (isTold) promise.catch(() => {});
  return promise;
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === "function";
}
