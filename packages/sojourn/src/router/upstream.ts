/**
 * How a request reaches a server. Two ways, one shape: undici for nearly everything (it costs least), `node:http` for what
 * undici cannot carry (see upstream-node.ts). Neither retries, follows or buffers anything.
 */
import type { Dispatcher, Pool } from "undici";
import type { RequestBody } from "./request-body.ts";
import type { RequestHead } from "./request-head.ts";
import type { RawHeaders } from "./response-head.ts";

/** What happens to one attempt, in this order; `onEnd` or `onError` comes last and once. */
export interface UpstreamHandler {
  /** From here on the server may have seen the request. Before it, nothing was sent. */
  onSent(): void;
  onInformation(status: number, headers: RawHeaders): void;
  onHead(status: number, statusText: string, headers: RawHeaders): void;
  /** @returns false to be paused until `resume()` */
  onData(chunk: Buffer): boolean;
  onEnd(trailers: RawHeaders): void;
  onError(error: Error): void;
}

/** The attempt, as its owner holds it. */
export interface Attempt {
  resume(): void;
  /** Cuts the connection to the server; `onError` does not come after it. */
  abort(): void;
}

export function dispatchPooled(
  pool: Pool,
  head: RequestHead,
  body: RequestBody | null,
  handler: UpstreamHandler,
): Attempt {
  const attempt = new PooledAttempt(handler);
  const { method, path } = head;
  const headers =
    typeof head.body === "object"
      ? [...head.headers, "Content-Length", String(head.body.lengthBytes)]
      : head.headers;
  pool.dispatch(
    {
      method: method as Dispatcher.HttpMethod,
      path,
      headers,
      body: body as unknown as Dispatcher.DispatchOptions["body"],
    },
    attempt,
  );
  return attempt;
}

class PooledAttempt implements Attempt, Dispatcher.DispatchHandler {
  readonly #handler: UpstreamHandler;
  #controller: Dispatcher.DispatchController | null = null;
  #aborted = false;

  constructor(handler: UpstreamHandler) {
    this.#handler = handler;
  }

  resume(): void {
    this.#controller?.resume();
  }

  abort(): void {
    this.#aborted = true;
    this.#controller?.abort(new Error("the router gave the request up"));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#aborted) controller.abort(new Error("the router gave the request up"));
    else this.#handler.onSent();
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    _parsed: unknown,
    statusText = "",
  ): void {
    const headers = (controller.rawHeaders ?? []) as RawHeaders;
    if (status < 200) this.#handler.onInformation(status, headers);
    else this.#handler.onHead(status, statusText, headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#handler.onData(chunk)) controller.pause();
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (!this.#aborted) this.#handler.onEnd((controller.rawTrailers ?? []) as RawHeaders);
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    if (!this.#aborted) this.#handler.onError(error);
  }
}
