/**
 * Keeps one HTTP/2 response back until its session is committed.
 *
 * As with HTTP/1.1 the hold sits below the response, here at its stream: `respond` waits, and the stream's `_write`,
 * `_writev` and `_final` (the documented seam of every Writable) wait with it. Buffering, back-pressure, callbacks and
 * errors stay Node's own. Covers node:http2's compatibility API (`res`), which is what the frameworks use.
 */
import type { OutgoingHttpHeaders, ServerHttp2Stream, ServerStreamResponseOptions } from "node:http2";
import type { CommitOutcome, RequestScope } from "../sessions/scope.ts";
import { type HeaderLine, type Refusal, refusalBody, refusalLines, withCookies } from "./answer.ts";

type Done = (error?: Error | null) => void;
type Respond = ServerHttp2Stream["respond"];

/** Calls `scope.settle()` before the response headers; interim 1xx responses and pushed streams pass. */
export function holdHttp2(
  stream: ServerHttp2Stream,
  scope: Pick<RequestScope<object>, "settle">,
  refused: (refusal: Refusal) => void,
): void {
  if (stream.headersSent) {
    // Already on its way.
    scope.settle();
    return;
  }
  const respond = stream.respond;
  stream.respond = function firstFrame(headers, options) {
    // Node refuses these at once, so they are not held.
    if (stream.destroyed || stream.closed || stream.headersSent || !isStatus(headers)) {
      return respond.call(stream, headers, options);
    }
    stream.respond = respond;
    const settled = scope.settle();
    if (settled === undefined) return respond.call(stream, headers, options);
    keepBack(stream, respond, { ...headers }, { ...options }, settled, refused);
  };
}

function keepBack(
  stream: ServerHttp2Stream,
  respond: Respond,
  headers: OutgoingHttpHeaders,
  options: ServerStreamResponseOptions,
  settled: Promise<CommitOutcome>,
  refused: (refusal: Refusal) => void,
): void {
  const { _write, _writev, _final, destroy } = stream;
  // A Writable asks for one step at a time, so at most one waits.
  let waiting: { readonly go: () => void; readonly done: Done; readonly isFinal: boolean } | undefined;
  let wantsDestroy = false;
  Object.defineProperty(stream, "headersSent", { configurable: true, get: () => true });
  stream._write = (chunk, encoding, done) => {
    waiting = { go: () => _write.call(stream, chunk, encoding, done), done, isFinal: false };
  };
  stream._writev = (chunks, done) => {
    waiting = { go: () => _writev?.call(stream, chunks, done), done, isFinal: false };
  };
  stream._final = (done) => {
    waiting = { go: () => _final.call(stream, done), done, isFinal: true };
  };
  // It waits, as a socket's does (hold-http1.ts).
  stream.destroy = function park(error) {
    if (error || stream.closed || stream.session?.destroyed !== false) return destroy.call(stream, error);
    wantsDestroy = true;
    return stream;
  };
  // From here on Node ends such a stream by itself.
  if (options.endStream || hasNoBody(headers, stream)) stream.end();

  function release(outcome: CommitOutcome): void {
    Reflect.deleteProperty(stream, "headersSent");
    Object.assign(stream, { _write, _writev, _final, destroy });
    if (stream.destroyed || stream.closed) {
      waiting?.done();
    } else if (outcome.ok) {
      respond.call(stream, amended(headers, outcome.setCookies), options);
      waiting?.go();
      if (wantsDestroy) destroy.call(stream);
    } else {
      refuse(outcome);
      if (wantsDestroy) stream.end();
    }
  }

  function refuse(outcome: Refusal): void {
    refused(outcome);
    const body = Buffer.from(refusalBody(outcome.code));
    const answer = toHeaders(refusalLines(toLines(headers), outcome, body.length));
    const drop = (done: Done) => done();
    Object.assign(stream, {
      _write: (_chunk: unknown, _encoding: unknown, done: Done) => drop(done),
      _writev: (_chunks: unknown, done: Done) => drop(done),
    });
    const resume = () => (waiting?.isFinal ? waiting.go() : waiting?.done());
    respond.call(stream, { ...answer, ":status": outcome.status }, { endStream: isHead(stream) });
    if (isHead(stream)) resume();
    else _write.call(stream, body, "buffer" as BufferEncoding, resume);
  }

  // Not inside the promise: what a listener throws is an uncaught exception, as without sessions.
  settled.then((outcome) => process.nextTick(release, outcome));
}

function amended(headers: OutgoingHttpHeaders, setCookies: readonly string[]): OutgoingHttpHeaders {
  if (setCookies.length === 0) return headers;
  const lines = toHeaders(withCookies(toLines(headers), setCookies));
  // Spread, not replaced: `headers` may carry http2.sensitiveHeaders, a symbol.
  return { ...headers, "cache-control": lines["cache-control"], "set-cookie": lines["set-cookie"] };
}

function isStatus(
  headers: OutgoingHttpHeaders | readonly string[] | undefined,
): headers is OutgoingHttpHeaders {
  if (headers === undefined || Array.isArray(headers)) return false;
  const status = Number((headers as OutgoingHttpHeaders)[":status"] ?? 200);
  return status >= 200 && status <= 599;
}

function hasNoBody(headers: OutgoingHttpHeaders, stream: ServerHttp2Stream): boolean {
  const status = Number(headers[":status"] ?? 200);
  return status === 204 || status === 205 || status === 304 || isHead(stream);
}

/** Node's types lack the property. */
function isHead(stream: ServerHttp2Stream): boolean {
  return (stream as { headRequest?: boolean }).headRequest === true;
}

function toLines(headers: OutgoingHttpHeaders): HeaderLine[] {
  return Object.entries(headers).flatMap(([name, value]) =>
    Array.isArray(value)
      ? value.map((one): HeaderLine => [name, one])
      : value === undefined
        ? []
        : [[name, String(value)] as const],
  );
}

function toHeaders(lines: readonly HeaderLine[]): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of lines) {
    const lower = name.toLowerCase();
    const before = headers[lower];
    headers[lower] =
      before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value];
  }
  return headers;
}
