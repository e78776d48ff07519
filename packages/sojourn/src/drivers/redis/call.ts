/** One script call: what is sent, until when its caller waits, and how it ends. */
import { StoreUnavailableError } from "../../core/errors.ts";
import type { Due } from "./deadlines.ts";
import { asSessionError, STORE_NAME } from "./errors.ts";
import type { Argument } from "./port.ts";
import type { Script } from "./scripts.ts";
import type { ServerClock } from "./server-clock.ts";

/** A reply and the clock of the node that gave it. */
export interface Answered {
  readonly reply: readonly unknown[];
  readonly clock: ServerClock;
}

/** What a script call is made of. */
export interface Work {
  readonly script: Script;
  readonly key: string;
  /** Goes in front of `more`, behind the deadline: "by …". Undefined: a script without arguments. */
  readonly head?: string | ((clock: ServerClock) => string);
  readonly more?: readonly Argument[] | undefined;
  /** In words, for messages: "read the session". */
  readonly action: string;
}

export class Call implements Due {
  readonly work: Work;
  readonly deadlineMs: number;
  readonly timeoutMs: number;
  readonly promise: Promise<Answered>;
  attempts = 0;
  sentMs = 0;
  isSettled = false;
  timedOut!: (call: Call) => void;
  readonly #signal: AbortSignal | undefined;
  readonly #onSettled: (call: Call) => void;
  #resolve!: (answered: Answered) => void;
  #reject!: (error: unknown) => void;

  constructor(
    work: Work,
    deadlineMs: number,
    timeoutMs: number,
    signal: AbortSignal | undefined,
    onSettled: (call: Call) => void,
  ) {
    this.work = work;
    this.deadlineMs = deadlineMs;
    this.timeoutMs = timeoutMs;
    this.#signal = signal;
    this.#onSettled = onSettled;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    signal?.addEventListener("abort", this.#aborted, { once: true });
  }

  due(): void {
    this.timedOut(this);
  }

  resolve(answered: Answered): void {
    if (this.#settle()) this.#resolve(answered);
  }

  reject(error: unknown): void {
    if (this.#settle()) this.#reject(error);
  }

  /** With what the client or the server said. */
  fail(error: unknown): void {
    if (!this.isSettled) this.reject(asSessionError(error, this.work.action));
  }

  unavailable(found: string): void {
    this.reject(new StoreUnavailableError(STORE_NAME, this.work.action, found));
  }

  readonly #aborted = (): void => this.reject(this.#signal?.reason);

  #settle(): boolean {
    if (this.isSettled) return false;
    this.isSettled = true;
    this.#signal?.removeEventListener("abort", this.#aborted);
    this.#onSettled(this);
    return true;
  }
}

export function commandOf(
  { work, deadlineMs }: Call,
  clock: ServerClock,
  command: "EVALSHA" | "EVAL",
): Argument[] {
  const { script, key, head, more } = work;
  const which = command === "EVALSHA" ? script.sha : script.source;
  if (head === undefined) return [command, which, "1", key];
  const rest = typeof head === "string" ? head : head(clock);
  const args: Argument[] = [command, which, "1", key, `${clock.deadline(deadlineMs)} ${rest}`];
  if (more) for (const argument of more) args.push(argument);
  return args;
}

/** The script's answer to what arrived after its deadline. */
export function isLate(part: unknown): boolean {
  return Buffer.isBuffer(part) && part.length === 1 && part[0] === 0x6c;
}
