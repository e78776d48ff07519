/**
 * Sessions for Express 4 and 5.
 *
 *   app.use(expressSessions(sessions));
 *   app.get("/", async (req, res) => {
 *     const session = await req.session();
 *     res.json({ user: session.get("user") });
 *   });
 *
 * A `SessionError` reaches the application's error handlers; Express's own answers its status and Retry-After. Express 4
 * does not see what an asynchronous handler throws, whether of ours or not: catch it there, and call `next(error)`.
 */
import type { Request, RequestHandler } from "express";
import type { DefaultData, Session } from "../sessions/session.ts";
import { type MountOptions, mounted, type VisitOptions } from "../sessions/visit-options.ts";
import "./request-session.ts";
import { type ScopeSource, Served, serve, servedBy } from "./served.ts";

declare global {
  namespace Express {
    interface RequestSession {
      /** Loads at most once per request; the only wait for reading. `sessions.of(req)` is the same, with your types. */
      // biome-ignore lint/style/useShorthandFunctionType: an interface, because two entries add to it
      (options?: VisitOptions): Promise<Session>;
    }
  }
}

/**
 * Middleware that gives every request a `session()`. Mounted twice, it still opens one scope. Whether secure cookies can
 * be set is `req.secure`, so Express's `trust proxy` decides.
 *
 * @param options  for every request that comes through here; `req.session(options)` is more specific
 */
export function expressSessions<Data extends object = DefaultData>(
  sessions: ScopeSource<Data>,
  options?: MountOptions<Request>,
): RequestHandler {
  const optionsOf = mounted(options);
  return function sojournSessions(req, res, next) {
    const served = servedBy(req, sessions);
    if (served === undefined) {
      serve(req, new Served(sessions, req, res, () => req.secure, true, optionsOf(req)));
    } else {
      served.mountedAgain(optionsOf(req));
    }
    req.session = session as Express.RequestSession;
    next();
  };
}

function session(this: Request, options?: VisitOptions): Promise<Session> {
  // Always there: the function is put on a request together with what it finds.
  return servedBy<DefaultData>(this)!.session(options);
}

// One function serves all requests: what is put on it (`req.session.user = …`) would be everybody's.
Object.freeze(session);
