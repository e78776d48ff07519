/**
 * One request on its way through: choose a server, forward, relay what comes back, fail over where that is safe, and stop
 * on every way it can end. Bodies stream both ways; nobody is read faster than the other side takes it.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { answer } from "./answer.ts";
import type { Backend } from "./backend.ts";
import { affinityCookie, type RouterContext, type Watched } from "./context.ts";
import { codeOf, isReplayable, isUnsendable, mayRetry, SENT_ATTEMPTS_MAX, statusOf } from "./failure.ts";
import { RequestBody } from "./request-body.ts";
import type { RequestHead } from "./request-head.ts";
import { forwardedTrailers, type RawHeaders, type ResponseHead, responseHead } from "./response-head.ts";
import { type Attempt, dispatchPooled, type UpstreamHandler } from "./upstream.ts";
import { dispatchNode } from "./upstream-node.ts";

export class Exchange implements UpstreamHandler, Watched {
  bagIndex = -1;
  readonly #context: RouterContext;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #head: RequestHead;
  readonly #body: RequestBody | null;
  #backend: Backend | null = null;
  #token: string | null = null;
  #attempt: Attempt | null = null;
  #attempts = 0;
  readonly #failedOn: string[] = [];
  #sent = false;
  #heard = false;
  #continued = false;
  #responseHead: ResponseHead | null = null;
  #ended = false;
  /** Monotonic: start of the attempt, then each sign of life of the server. */
  #progressMs = 0;
  #pausedSinceMs: number | null = null;

  constructor(context: RouterContext, request: IncomingMessage, response: ServerResponse, head: RequestHead) {
    this.#context = context;
    this.#request = request;
    this.#response = response;
    this.#head = head;
    this.#body = head.body === "none" ? null : new RequestBody(request, context.settings.clock);
  }

  start(): void {
    this.#context.fleet.retries.earn();
    this.#context.watched.add(this);
    this.#response.on("close", () => this.#clientClosed());
    // Without a listener an aborted upload would be an uncaught error; `close` above is where it is handled.
    if (this.#body !== null) this.#request.on("error", () => {});
    if (!this.#try()) this.#refuse(503, "no server is available");
  }

  // What the server does ---------------------------------------------------------------------------------------------

  onSent(): void {
    this.#sent = true;
  }

  onInformation(status: number, raw: RawHeaders): void {
    this.#heard = true;
    this.#progressMs = this.#nowMs();
    if (this.#request.httpVersionMinor === 0 || this.#response.headersSent) return;
    if (status === 100 && this.#head.expectContinue) {
      this.#continued = true;
      this.#response.writeContinue();
    } else if (status === 102) {
      this.#response.writeProcessing();
    } else if (status === 103) {
      writeEarlyHints(this.#response, raw);
    }
  }

  onHead(status: number, statusText: string, raw: RawHeaders): void {
    const backend = this.#backend!;
    this.#heard = true;
    this.#progressMs = this.#nowMs();
    backend.answered();
    const { settings } = this.#context;
    const cookie =
      this.#token === null ? null : affinityCookie(settings, this.#token, this.#head.clientSecure);
    const head = responseHead(status, raw, this.#head.takesTrailers, cookie);
    this.#responseHead = head;
    // A client that was never told to continue may or may not send its body: the next bytes mean nothing.
    const unsure = this.#head.expectContinue && !this.#continued && !this.#request.complete;
    if (unsure || this.#context.closing()) head.headers.push("Connection", "close");
    try {
      this.#response.writeHead(status, statusText, head.headers);
    } catch {
      // The server's fields are not valid HTTP.
      this.#attempt?.abort();
      this.#leave();
      this.#refuse(502, "the server sent an invalid response");
      return;
    }
    // Usually the body is in the same packet and one write carries both; an event stream may open in silence.
    process.nextTick(() => {
      if (!this.#ended) this.#response.flushHeaders();
    });
  }

  onData(chunk: Buffer): boolean {
    if (this.#response.write(chunk)) {
      this.#progressMs = this.#nowMs();
      return true;
    }
    this.#pausedSinceMs = this.#nowMs();
    this.#response.once("drain", () => {
      this.#pausedSinceMs = null;
      this.#progressMs = this.#nowMs();
      this.#attempt?.resume();
    });
    return false;
  }

  onEnd(trailers: RawHeaders): void {
    this.#leave();
    this.#ended = true;
    if (this.#head.takesTrailers && trailers.length > 0) {
      this.#response.addTrailers(forwardedTrailers(trailers));
    }
    this.#response.end();
    // Read on rather than reset the connection: a reset would take the response away from under the client.
    if (!this.#request.complete) this.#body?.discard();
  }

  onError(error: Error): void {
    const backend = this.#backend!;
    this.#leave();
    if (this.#clientGone) return;
    if (this.#responseHead !== null) {
      this.cut(`server ended the response early (${codeOf(error)})`, backend);
      return;
    }
    if (!this.#sent && !isUnsendable(error)) this.#context.fleet.connectFailed(backend, codeOf(error));
    const again = mayRetry(this.#head, this.#sent, this.#heard, error);
    if (!again || !this.#retry(backend, codeOf(error))) {
      const { status, reason } = statusOf(this.#sent, error);
      this.#refuse(status, reason);
    }
  }

  // What others do ---------------------------------------------------------------------------------------------------

  rescue(from: Backend): void {
    const backend = this.#backend;
    if (backend !== from || this.#heard || (this.#sent && !isReplayable(this.#head))) return;
    if (this.#sent && this.#attempts >= SENT_ATTEMPTS_MAX) return;
    // Only what was sent can be half done; what waits for a connection has done nothing yet.
    this.#attempt?.abort();
    this.#leave();
    if (!this.#retry(backend, "server went down")) this.#refuse(502, "the server went down");
  }

  check(nowMs: number): void {
    const { timeouts } = this.#context.settings;
    const waitingSinceMs = this.#body?.waitingSinceMs ?? null;
    if (waitingSinceMs !== null) {
      if (nowMs - waitingSinceMs <= timeouts.bodyIdleMs) return;
      this.#abortAttempt();
      if (this.#responseHead === null) this.#refuse(408, "the request body stopped coming");
      this.#request.socket.destroySoon();
    } else if (this.#ended) {
      if (this.#response.closed) this.#context.watched.delete(this);
      else if (nowMs - this.#progressMs > timeouts.clientStallMs) this.cut("client stopped reading");
    } else if (this.#responseHead === null) {
      const sinceMs = Math.max(this.#progressMs, this.#body?.progressMs ?? 0);
      if (nowMs - sinceMs <= timeouts.firstByteMs) return;
      this.#abortAttempt();
      this.#refuse(504, "the server did not answer in time");
    } else if (this.#pausedSinceMs !== null) {
      if (nowMs - this.#pausedSinceMs > timeouts.clientStallMs) this.cut("client stopped reading");
    } else {
      const idleMs = this.#responseHead.eventStream ? timeouts.tunnelIdleMs : timeouts.responseIdleMs;
      if (nowMs - this.#progressMs > idleMs) this.cut("response stopped coming");
    }
  }

  /** Ends the client's connection without ending the message: it must not take a part for the whole. */
  cut(reason: string, backend: Backend | null = this.#backend): void {
    this.#context.settings.log({ level: "warn", event: "cut", server: backend?.id ?? "", detail: reason });
    this.#abortAttempt();
    const { socket } = this.#request;
    // To HTTP/1.0 a closed connection is a complete response; a reset is not.
    if (this.#request.httpVersionMinor === 0) socket.resetAndDestroy();
    else socket.destroy();
  }

  // Inside -----------------------------------------------------------------------------------------------------------

  /** @returns false when no server can take it */
  #try(): boolean {
    const { fleet } = this.#context;
    const { hints, affinityOff } = this.#head;
    const choice = fleet.choose({ hints, affinityOff, excluded: this.#failedOn });
    if (choice === null) return false;
    const { backend } = choice;
    const number = ++this.#attempts;
    this.#backend = backend;
    this.#token = choice.token;
    this.#sent = false;
    this.#progressMs = this.#nowMs();
    backend.begin();
    const attempt = this.#needsNode()
      ? dispatchNode(backend.nodeTarget, this.#head, this.#body, this)
      : dispatchPooled(backend.pool, this.#head, this.#body, this);
    // A dispatch may fail at once and have been followed by the next by now.
    if (this.#attempts === number && this.#backend === backend) this.#attempt = attempt;
    return true;
  }

  #needsNode(): boolean {
    const { body, expectContinue, path } = this.#head;
    return body === "chunked" || (expectContinue && body !== "none") || path === "*";
  }

  #retry(failed: Backend, found: string): boolean {
    const { fleet, settings } = this.#context;
    if ((this.#sent && this.#attempts >= SENT_ATTEMPTS_MAX) || !fleet.retries.spend()) return false;
    settings.log({ level: "info", event: "retry", server: failed.id, detail: found });
    this.#failedOn.push(failed.id);
    return this.#try();
  }

  /** The attempt is over for the server it was on. */
  #leave(): void {
    const backend = this.#backend;
    if (backend === null) return;
    this.#backend = null;
    this.#attempt = null;
    backend.end();
  }

  #abortAttempt(): void {
    this.#attempt?.abort();
    this.#leave();
  }

  #refuse(status: number, reason: string): void {
    this.#ended = true;
    this.#progressMs = this.#nowMs();
    answer(this.#request, this.#response, status, reason);
    if (!this.#request.complete) this.#body?.discard();
  }

  #clientClosed(): void {
    this.#abortAttempt();
    // The response is through, the upload is not: `check` bounds how long we go on reading it.
    const lingers = this.#body !== null && !this.#request.complete && !this.#request.socket.destroyed;
    if (!lingers) this.#context.watched.delete(this);
  }

  get #clientGone(): boolean {
    return this.#response.destroyed || this.#request.socket.destroyed;
  }

  #nowMs(): number {
    return this.#context.settings.clock.monotonicMs();
  }
}

/** Node insists on well-formed `Link` values; hints that are not are dropped, the response does not need them. */
function writeEarlyHints(response: ServerResponse, raw: RawHeaders): void {
  const { headers } = responseHead(103, raw, false, null);
  const hints: Record<string, string[]> = Object.create(null);
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!.toLowerCase();
    hints[name] = [...(hints[name] ?? []), headers[i + 1]!];
  }
  try {
    response.writeEarlyHints(hints);
  } catch {
    // Not worth failing a request for.
  }
}
