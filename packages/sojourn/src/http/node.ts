/**
 * Sessions for plain node:http and node:http2 servers.
 *
 *   createServer(nodeSessions(sessions, async (req, res) => {
 *     const session = await req.session();
 *     res.end(session.get("user") ?? "stranger");
 *   }));
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { isSessionError, type SessionError } from "../core/errors.ts";
import type { DefaultData, Session } from "../sessions/session.ts";
import { type MountOptions, mounted, type VisitOptions } from "../sessions/visit-options.ts";
import { isKeptByRefusal, reasonOf, refusalBody } from "./answer.ts";
import { type AnyRequest, type AnyResponse, isHttp2 } from "./hold.ts";
import { isEncrypted, type ScopeSource, Served, serve, servedBy } from "./served.ts";

export interface WithSession<Data extends object = DefaultData> {
  /** Loads at most once per request; the only wait for reading. */
  session(options?: VisitOptions): Promise<Session<Data>>;
}

/** For every request that comes through here; `req.session(options)` is more specific. */
export interface NodeSessionsOptions extends MountOptions<AnyRequest> {
  /**
   * Whether the browser's connection is TLS, so that secure cookies can be set. Default: whether this connection is.
   * Behind a proxy that ends TLS, say what you trust: `(req) => req.headers["x-forwarded-proto"] === "https"`.
   */
  readonly isSecure?: (req: AnyRequest) => boolean;
}

type Handler<Req, Res, Data extends object> = (req: Req & WithSession<Data>, res: Res) => unknown;

/**
 * Gives `handler` a `req.session()`. A `SessionError` that it throws before it has answered is answered with the error's
 * status, headers and `{"code","message"}`; every other error goes where it goes without sessions.
 */
export function nodeSessions<Data extends object = DefaultData>(
  sessions: ScopeSource<Data>,
  handler: Handler<IncomingMessage, ServerResponse, Data>,
  options?: NodeSessionsOptions,
): (req: IncomingMessage, res: ServerResponse) => unknown;
export function nodeSessions<Data extends object = DefaultData>(
  sessions: ScopeSource<Data>,
  handler: Handler<Http2ServerRequest, Http2ServerResponse, Data>,
  options?: NodeSessionsOptions,
): (req: Http2ServerRequest, res: Http2ServerResponse) => unknown;
export function nodeSessions<Data extends object>(
  sessions: ScopeSource<Data>,
  handler: Handler<never, never, Data>,
  options: NodeSessionsOptions = {},
): (req: AnyRequest, res: AnyResponse) => unknown {
  const isSecure = options.isSecure ?? isEncrypted;
  const optionsOf = mounted(options, ["isSecure"]);
  const handle = handler as (req: AnyRequest, res: AnyResponse) => unknown;
  return function sojournSessions(req, res) {
    const served = servedBy(req, sessions);
    if (served === undefined) {
      serve(req, new Served(sessions, req, res, () => isSecure(req), true, optionsOf(req)));
    } else {
      served.mountedAgain(optionsOf(req));
    }
    (req as AnyRequest & WithSession<Data>).session = session<Data>;
    try {
      const result = handle(req, res);
      return result instanceof Promise ? result.catch((error: unknown) => failed(error, req, res)) : result;
    } catch (error) {
      return failed(error, req, res);
    }
  };
}

function session<Data extends object>(this: AnyRequest, options?: VisitOptions): Promise<Session<Data>> {
  // Always there: the function is put on a request together with what it finds.
  return servedBy<Data>(this)!.session(options);
}

// One function serves all requests: what is put on it (`req.session.user = …`) would be everybody's.
Object.freeze(session);

function failed(error: unknown, req: AnyRequest, res: AnyResponse): void {
  if (!isSessionError(error)) throw error;
  if (!res.headersSent) {
    answer(error, req, res);
  } else if (!res.writableEnded) {
    // Half an answer must not look like a whole one.
    res.destroy();
  } else if (error.status !== 503) {
    throw error;
  }
}

function answer(error: SessionError, req: AnyRequest, res: AnyResponse): void {
  const body = refusalBody(error.code);
  for (const name of res.getHeaderNames()) if (!isKeptByRefusal(name)) res.removeHeader(name);
  res.statusCode = error.status;
  if (!isHttp2(res)) res.statusMessage = reasonOf(error.status);
  for (const [name, value] of Object.entries(error.headers)) res.setHeader(name, value);
  res.setHeader("Content-Type", "application/json; charset=utf-8");
  res.setHeader("Cache-Control", "no-store");
  res.setHeader("Content-Length", Buffer.byteLength(body));
  if (req.method === "HEAD") res.end();
  else res.end(body);
}
