/**
 * Sessions for Express 5.
 *
 *   app.use(expressSessions(sessions));
 *   app.get("/", async (req, res) => {
 *     const session = await req.session();
 *     res.json({ user: session.get("user") });
 *   });
 *
 * A `SessionError` reaches the application's error handlers; Express's own answers its status and Retry-After.
 */
import type { Request, RequestHandler } from "express";
import type { DefaultData, Session } from "../sessions/session.ts";
import { type ScopeSource, Served, serve, servedBy } from "./served.ts";

declare global {
  namespace Express {
    interface Request {
      /** Loads at most once per request; the only wait for reading. `sessions.of(req)` is the same, with your types. */
      session(): Promise<Session>;
    }
  }
}

/**
 * Middleware that gives every request a `session()`. Mounted twice, it still opens one scope. Whether secure cookies can
 * be set is `req.secure`, so Express's `trust proxy` decides.
 */
export function expressSessions<Data extends object = DefaultData>(
  sessions: ScopeSource<Data>,
): RequestHandler {
  return function sojournSessions(req, res, next) {
    if (servedBy(req, sessions) === undefined) {
      serve(req, new Served(sessions, req, res, () => req.secure));
    }
    req.session = session;
    next();
  };
}

function session(this: Request): Promise<Session> {
  // Always there: the function is put on a request together with what it finds.
  return servedBy<DefaultData>(this)!.session();
}
