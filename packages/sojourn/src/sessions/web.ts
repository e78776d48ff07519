/**
 * Sessions for Web `Request` and `Response` (Fetch standard): Next.js, Hono, Remix, anything whose handler returns its
 * answer. There is nothing to hold back here: `respond` takes the finished response, commits, and gives back what may
 * leave.
 *
 *   const scope = sessions.open(request);
 *   const session = await scope.session();
 *   session.set("theme", "dark");
 *   return scope.respond(Response.json({ ok: true }));
 */
import { type HeaderLine, type Refusal, refusalBody, refusalLines, withCookies } from "./answer.ts";
import { invalidOption } from "./check-options.ts";
import type { Context } from "./context.ts";
import { StoredRequestScope } from "./request-scope.ts";
import type { IncomingRequest, RequestScope } from "./scope.ts";

/** What a Web `Request` does not say about itself. */
export interface WebRequestOptions extends Omit<IncomingRequest, "cookie" | "secure"> {
  /**
   * Whether the browser's connection is TLS. Default: whether the request's URL begins with https. Behind a proxy that
   * ends TLS, say what you trust: `request.headers.get("x-forwarded-proto") === "https"`.
   */
  readonly secure?: boolean;
}

export interface WebScope<Data extends object> extends RequestScope<Data> {
  /**
   * Commits, and gives back what to answer: `response` itself when the session is clean; with the session's cookies when
   * there are any; a refusal (503, 413, 409, 500) in its place when the commit failed. Its body begins only after that.
   * Call it once, last, with every answer, those of error handlers included. Closes the scope: at once for a clean
   * session, otherwise when the body has ended or was cancelled.
   */
  respond(response: Response): Promise<Response>;
}

/** Fetch allows no others to be made: `Response.error()` has 0, and a switch of protocols is the server's own. */
const STATUS_MIN = 200;

export class WebRequestScope<Data extends object> extends StoredRequestScope<Data> implements WebScope<Data> {
  readonly #isHead: boolean;

  constructor(context: Context, request: Request, options: WebRequestOptions = {}) {
    const cookie = request.headers.get("cookie") ?? undefined;
    super(context, { ...options, cookie, secure: options.secure ?? isHttps(request) });
    this.#isHead = request.method === "HEAD";
  }

  async respond(response: Response): Promise<Response> {
    const outcome = await this.settle();
    if (outcome === undefined || (outcome.ok && outcome.setCookies.length === 0)) {
      this.close();
      return response;
    }
    if (!outcome.ok) {
      this.close();
      return refused(response, outcome);
    }
    if (response.status < STATUS_MIN) {
      this.close();
      return response;
    }
    return amended(response, outcome.setCookies, this.#isHead, () => this.close());
  }
}

/** @throws {SessionError} INVALID_OPTION for a request of node:http, which would silently be a visitor without cookies */
export function isWebRequest(request: IncomingRequest | Request): request is Request {
  if (!("headers" in request)) return false;
  if (typeof (request.headers as Partial<Headers>)?.get === "function") return true;
  throw invalidOption(
    "request",
    request,
    "a Web Request, or { cookie, secure }: for node:http use an adapter, or open({ cookie: req.headers.cookie, secure })",
  );
}

function isHttps(request: Request): boolean {
  return request.url.startsWith("https:");
}

function linesOf(response: Response): HeaderLine[] {
  return [...response.headers];
}

function headersFrom(lines: readonly HeaderLine[]): Headers {
  const headers = new Headers();
  for (const [name, value] of lines) headers.append(name, value);
  return headers;
}

/** A new response, because the headers of redirects and of fetched responses cannot be changed. */
function amended(
  response: Response,
  setCookies: readonly string[],
  isHead: boolean,
  over: () => void,
): Response {
  const { status, statusText } = response;
  const headers = headersFrom(withCookies(linesOf(response), setCookies));
  // Servers drop the body of an answer to HEAD without a word to it.
  if (response.body === null || isHead) {
    over();
    return new Response(response.body, { status, statusText, headers });
  }
  return new Response(observed(response.body, over), { status, statusText, headers });
}

function refused(response: Response, refusal: Refusal): Response {
  // Whoever produces a body that nobody will read is told to stop; one that is locked belongs to somebody else.
  if (response.body?.locked === false) response.body.cancel().catch(() => {});
  const body = refusalBody(refusal.code);
  const headers = headersFrom(refusalLines(linesOf(response), refusal, Buffer.byteLength(body)));
  return new Response(body, { status: refusal.status, headers });
}

/** The same bytes as they come, asked for only when wanted; `over` runs when they end, fail or are cancelled. */
function observed(body: ReadableStream<Uint8Array>, over: () => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (!done) {
            controller.enqueue(value);
            return;
          }
          over();
          controller.close();
        } catch (error) {
          over();
          controller.error(error);
        }
      },
      cancel(reason) {
        over();
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}
