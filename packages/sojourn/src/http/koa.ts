/**
 * Sessions for Koa 2 and 3.
 *
 *   app.use(koaSessions(sessions));
 *   app.use(async (ctx) => {
 *     const session = await ctx.session();
 *     ctx.body = { user: session.get("user") };
 *   });
 *
 * A `SessionError` reaches `ctx.onerror`, which answers its status and Retry-After. The commit happens in the hold on
 * `ctx.res`, so `ctx.respond = false`, streams and what middleware above this one still does are covered.
 */
import type { ExtendableContext, Middleware } from "koa";
import type { DefaultData, Session } from "../sessions/session.ts";
import { type MountOptions, mounted, type VisitOptions } from "../sessions/visit-options.ts";
import { type ScopeSource, Served, serve, servedBy } from "./served.ts";

declare module "koa" {
  interface ExtendableContext {
    /** Loads at most once per request; the only wait for reading. `sessions.of(ctx)` is the same, with your types. */
    session(options?: VisitOptions): Promise<Session>;
  }
}

/**
 * Middleware that gives every context a `session()`. Mounted twice, it still opens one scope. Whether secure cookies can
 * be set is `ctx.secure`, so Koa's `app.proxy` decides.
 *
 * @param options  for every request that comes through here; `ctx.session(options)` is more specific
 */
export function koaSessions<Data extends object = DefaultData>(
  sessions: ScopeSource<Data>,
  options?: MountOptions<ExtendableContext>,
): Middleware {
  const optionsOf = mounted(options);
  return function sojournSessions(ctx, next) {
    let served = servedBy(ctx.req, sessions);
    if (served === undefined) {
      served = new Served(sessions, ctx.req, ctx.res, () => ctx.secure, true, optionsOf(ctx));
      serve(ctx.req, served);
    } else {
      served.mountedAgain(optionsOf(ctx));
    }
    sessions.attach(ctx, served);
    ctx.session = session;
    return next();
  };
}

function session(this: ExtendableContext, options?: VisitOptions): Promise<Session> {
  // Always there: the function is put on a context together with what it finds.
  return servedBy<DefaultData>(this.req)!.session(options);
}

// One function serves all requests: what is put on it (`req.session.user = …`) would be everybody's.
Object.freeze(session);
