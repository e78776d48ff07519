/** One call of a client on its way: over several connections if it must, under one operation id, until one deadline. */
import type { Clock, Timer } from "../../core/clock.ts";
import { isSessionError, SessionError, StoreUnavailableError } from "../../core/errors.ts";
import type { SessionKey } from "../../core/ids.ts";
import type { Reply } from "../wire/replies.ts";
import type { Request } from "../wire/requests.ts";
import type { Link } from "./link.ts";

export const STORE_NAME = "session-servers";

/** Once more after the connection was lost, and once more again; then it may be this very request that loses it. */
const ATTEMPTS_MAX = 3;
const TIMEOUT_MS_MAX = 2 ** 31 - 1;
/** A timer this late was not late by itself: our own loop was busy, and answers may lie unread. */
const BUSY_MS = 50;
const DRAIN_MS = 5;

export class Operation {
  readonly request: Request;
  /** In words, for messages: "read the session". */
  readonly action: string;
  readonly timeoutMs: number;
  readonly deadlineMs: number;
  readonly reply: Promise<Reply>;
  attempts = 0;
  /** The link it was sent over last, and its id there. */
  way: { readonly link: Link; readonly id: number } | undefined;
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;
  #settled = false;
  #timer: Timer;
  #resolve!: (reply: Reply) => void;
  #reject!: (error: unknown) => void;
  #onSettled: ((operation: Operation, timedOut: boolean) => void) | undefined;

  constructor(
    request: Request,
    action: string,
    clock: Clock,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
    onSettled: (operation: Operation, timedOut: boolean) => void,
  ) {
    this.request = request;
    this.action = action;
    // "As long as it takes" is 24 days: beyond that a timer would fire at once.
    this.timeoutMs = Math.min(options.timeoutMs, TIMEOUT_MS_MAX);
    this.#clock = clock;
    this.#signal = options.signal;
    this.#onSettled = onSettled;
    this.deadlineMs = clock.monotonicMs() + this.timeoutMs;
    this.reply = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#timer = clock.setTimer(() => this.#due(), this.timeoutMs, "keep-alive");
    options.signal?.addEventListener("abort", this.#aborted, { once: true });
  }

  get settled(): boolean {
    return this.#settled;
  }

  /** What an answer must be about; undefined: about nothing in particular. */
  get key(): SessionKey | undefined {
    const { request } = this;
    return request.op === "create" ? request.session.key : "key" in request ? request.key : undefined;
  }

  /** May be sent (again) over another connection. */
  get retryable(): boolean {
    return !this.#settled && this.attempts < ATTEMPTS_MAX && this.#clock.monotonicMs() < this.deadlineMs;
  }

  answer(reply: Reply): void {
    if (reply.op === "error") this.fail(this.#refused(reply));
    else this.#settle(false, () => this.#resolve(reply));
  }

  fail(error: unknown): void {
    this.#settle(false, () => this.#reject(error));
  }

  unavailable(found: string, cause?: unknown): void {
    this.fail(
      new StoreUnavailableError(STORE_NAME, this.action, found, cause === undefined ? {} : { cause }),
    );
  }

  /** Fails with the reason for which no connection stands. */
  unreachable(reason: SessionError): void {
    if (reason.code === "STORE_UNAVAILABLE" || reason.code === "INVALID_FRAME") {
      this.unavailable(`is not reachable. ${reason.message}`, reason);
    } else {
      // Wrong secret, domain or protocol: time does not cure it, so the caller sees it by its own code.
      this.fail(new SessionError(reason.code, `Cannot ${this.action}. ${reason.message}`, { cause: reason }));
    }
  }

  #due(graced = false): void {
    if (!graced && this.#clock.monotonicMs() - this.deadlineMs > BUSY_MS) {
      this.#timer = this.#clock.setTimer(() => this.#due(true), DRAIN_MS, "keep-alive");
      return;
    }
    const error = new StoreUnavailableError(
      STORE_NAME,
      this.action,
      `did not answer within ${this.timeoutMs} ms`,
    );
    this.#settle(true, () => this.#reject(error));
  }

  readonly #aborted = (): void => this.fail(this.#signal?.reason);

  #refused(reply: { readonly code: SessionError["code"]; readonly message: string }): SessionError {
    return reply.code === "STORE_UNAVAILABLE"
      ? new StoreUnavailableError(STORE_NAME, this.action, `refused. ${reply.message}`)
      : new SessionError(reply.code, reply.message);
  }

  #settle(timedOut: boolean, how: () => void): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#timer.cancel();
    this.#signal?.removeEventListener("abort", this.#aborted);
    how();
    this.#onSettled?.(this, timedOut);
    this.#onSettled = undefined;
  }
}

/** Any fault as a SessionError, so that the reason for an outage can always be shown. */
export function asSessionError(error: unknown, action: string): SessionError {
  if (isSessionError(error)) return error;
  const found = error instanceof Error ? error.message : String(error);
  return new StoreUnavailableError(STORE_NAME, action, `failed: ${found}`, { cause: error });
}
