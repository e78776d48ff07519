/**
 * Sessions for Hono 4.
 *
 *   const app = new Hono<{ Variables: SessionVariables<Data> }>();
 *   app.use(honoSessions(sessions));
 *   app.get("/", async (c) => {
 *     const session = await c.var.session();
 *     return c.json({ user: session.get("user") });
 *   });
 *
 * A `SessionError` reaches `app.onError`; Hono's own answers it with `error.getResponse()`.
 *
 * On Node (`@hono/node-server`) the commit happens in the hold on the response of node:http, as with every other
 * framework: so what outer middleware still changes, streams, and handlers that write to `c.env.outgoing` themselves are
 * covered, and node-server keeps its fast path. Without such a response (`app.request()` in tests, other runtimes) it
 * happens when the handlers below this middleware are done, and `c.res` becomes what may leave.
 */
import type { Context, MiddlewareHandler } from "hono";
import type { DefaultData, Session } from "../sessions/session.ts";
import { type Mounted, type MountOptions, mounted, type VisitOptions } from "../sessions/visit-options.ts";
import type { WebScope } from "../sessions/web.ts";
import type { AnyRequest, AnyResponse } from "./hold.ts";
import { type ScopeSource, Served, Serving, serve, servedBy } from "./served.ts";
import type { WebScopeSource } from "./web.ts";

/** For `new Hono<{ Variables: SessionVariables<Data> }>()`; handlers chained after `.use(honoSessions(sessions))` know it. */
export interface SessionVariables<Data extends object = DefaultData> {
  /** Loads at most once per request; the only wait for reading. `sessions.of(c)` is the same. */
  session(options?: VisitOptions): Promise<Session<Data>>;
}

/** For every request that comes through here; `c.var.session(options)` is more specific. */
export interface HonoSessionsOptions extends MountOptions<Context> {
  /**
   * Whether the browser's connection is TLS, so that secure cookies can be set. Default: whether the request's URL begins
   * with https. Behind a proxy that ends TLS, say what you trust: `(c) => c.req.header("x-forwarded-proto") === "https"`.
   */
  readonly isSecure?: (c: Context) => boolean;
}

/** `c.env` under `@hono/node-server`. */
interface NodeBindings {
  readonly incoming: AnyRequest;
  readonly outgoing: AnyResponse;
}

/** Middleware that gives every context a `c.var.session()`. Mounted twice, it still opens one scope. */
export function honoSessions<Data extends object = DefaultData>(
  sessions: ScopeSource<Data> & WebScopeSource<Data>,
  options: HonoSessionsOptions = {},
): MiddlewareHandler<{ Variables: SessionVariables<Data> }> {
  const isSecure = options.isSecure ?? isHttps;
  const optionsOf = mounted(options, ["isSecure"]);
  return async function sojournSessions(c, next) {
    const node = nodeOf(c);
    const before = servedBy(node?.incoming ?? c.req.raw, sessions);
    if (before !== undefined) {
      before.mountedAgain(optionsOf(c));
      show(before, c);
      return next();
    }
    const secure = () => isSecure(c);
    if (node !== undefined) {
      const served = new Served(sessions, node.incoming, node.outgoing, secure, true, optionsOf(c));
      serve(node.incoming, served);
      show(served, c);
      return next();
    }
    const served = new ServedWeb(sessions, c.req.raw, secure, optionsOf(c));
    serve(c.req.raw, served);
    show(served, c);
    try {
      await next();
    } catch (error) {
      served.scope?.close();
      throw error;
    }
    if (served.scope === undefined) return;
    // No handler has answered, which Hono is about to report.
    if (!c.finalized) return served.scope.close();
    const response = await served.scope.respond(c.res);
    // Hono adds the headers of the response that stands to the one that replaces it, unless there is none.
    c.res = undefined;
    c.res = response;
  };
}

/** A request without a response of Node's: the scope amends the one that the handlers return. */
class ServedWeb<Data extends object> extends Serving<Data> {
  readonly #sessions: WebScopeSource<Data>;
  readonly #request: Request;
  readonly #isSecure: () => boolean;

  constructor(
    sessions: ScopeSource<Data> & WebScopeSource<Data>,
    request: Request,
    isSecure: () => boolean,
    mounted: Mounted,
  ) {
    super(sessions, mounted);
    this.#sessions = sessions;
    this.#request = request;
    this.#isSecure = isSecure;
  }

  override get scope(): WebScope<Data> | undefined {
    return super.scope as WebScope<Data> | undefined;
  }

  protected override open(ageMs: number): WebScope<Data> {
    return this.#sessions.open(this.#request, { secure: this.#isSecure(), ageMs });
  }
}

/** From now on the context and its Web request find the session: an application that is mounted in another has its own. */
function show<Data extends object>(
  served: Serving<Data>,
  c: Context<{ Variables: SessionVariables<Data> }>,
): void {
  for (const each of [c, c.req.raw]) served.source.attach(each, served);
  c.set("session", (options) => served.session(options));
}

function nodeOf(c: Context): NodeBindings | undefined {
  const { incoming, outgoing } = (c.env ?? {}) as Partial<NodeBindings>;
  return incoming && outgoing ? { incoming, outgoing } : undefined;
}

function isHttps(c: Context): boolean {
  return c.req.url.startsWith("https:");
}
