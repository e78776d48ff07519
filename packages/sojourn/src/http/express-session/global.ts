/**
 * `sojourn/express-session/types`: declares `req.session` for all requests of Express, as @types/express-session does.
 *
 *   import "sojourn/express-session/types";
 *
 * An entry of its own and no part of the middleware's: while @types/express-session is installed, its declaration stays
 * in force and this one is left out.
 */
import "../request-session.ts";
import type { Store } from "./store.ts";
import type { RequestAttributes } from "./types.ts";

declare global {
  namespace Express {
    interface RequestSession extends RequestAttributes {}
    interface Request {
      /** The id of `session`: the browser's secret, never log it. */
      sessionID: string;
      sessionStore: Store;
    }
  }
}
