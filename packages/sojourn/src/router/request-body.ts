/**
 * A client's request body on its way to a server: read only when the server takes it (backpressure), untouched until the
 * server is connected (so that an attempt which sent nothing can be repeated), and watched while the client is awaited.
 */
import type { IncomingMessage } from "node:http";
import type { Clock } from "../core/clock.ts";

export class RequestBody implements AsyncIterableIterator<Buffer> {
  readonly #request: IncomingMessage;
  readonly #clock: Clock;
  #chunks: AsyncIterator<Buffer> | null = null;
  #waitingSinceMs: number | null = null;
  #progressMs = 0;

  constructor(request: IncomingMessage, clock: Clock) {
    this.#request = request;
    this.#clock = clock;
  }

  /** When we began to wait for the client's next piece, monotonic; null when it is not the client's turn. */
  get waitingSinceMs(): number | null {
    return this.#request.complete ? null : this.#waitingSinceMs;
  }

  /** When the server last took something, monotonic; 0 before. */
  get progressMs(): number {
    return this.#progressMs;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Buffer>> {
    this.#chunks ??= this.#request.iterator({ destroyOnReturn: false });
    this.#waitingSinceMs = this.#clock.monotonicMs();
    try {
      return await this.#chunks.next();
    } finally {
      this.#waitingSinceMs = null;
      this.#progressMs = this.#clock.monotonicMs();
    }
  }

  /** The server wants no more. What the client still sends is read and dropped, within `bodyIdleMs`. */
  async return(): Promise<IteratorResult<Buffer>> {
    await this.#chunks?.return?.();
    this.discard();
    return { done: true, value: undefined };
  }

  discard(): void {
    this.#waitingSinceMs = this.#clock.monotonicMs();
    this.#request.resume();
  }
}
