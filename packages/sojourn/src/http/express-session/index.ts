/**
 * `sojourn/express-session`: express-session 1.19 with another engine. The module, its options, its cookies, its stores
 * and its `req.session` are the same; docs/express-session.md says what is better.
 *
 *   import session from "sojourn/express-session";   // was: "express-session"
 */

import type { CookieOptions as CookieSettings, CookieData as StoredCookie } from "./cookie.ts";
import { Cookie as SessionCookie } from "./cookie.ts";
import { MemoryStore as SessionMemoryStore } from "./memory-store.ts";
import { sessionMiddleware } from "./middleware.ts";
import type { SessionOptions as Options } from "./options.ts";
import { Session as RequestSession } from "./session.ts";
import type { SessionData as Data } from "./session-data.ts";
import { Store as SessionStore } from "./store.ts";
import type { SessionMiddleware } from "./types.ts";

export { Cookie, type CookieData, type CookieOptions } from "./cookie.ts";
export { MemoryStore } from "./memory-store.ts";
export type { SessionOptions } from "./options.ts";
export { Session } from "./session.ts";
// With a star, so that `declare module "sojourn/express-session"` can add to it.
export * from "./session-data.ts";
export { Store, type StoredData } from "./store.ts";
export type { SessionMiddleware, StoreLike, WithSession } from "./types.ts";

export interface SessionFactory {
  /** The middleware: gives each request a `session`, a `sessionID` and the `sessionStore`. */
  (options?: Options): SessionMiddleware;
  readonly Store: typeof SessionStore;
  readonly Cookie: typeof SessionCookie;
  readonly Session: typeof RequestSession;
  readonly MemoryStore: typeof SessionMemoryStore;
}

export const session: SessionFactory = Object.assign(
  function session(options?: Options): SessionMiddleware {
    return sessionMiddleware(options);
  },
  {
    Store: SessionStore,
    Cookie: SessionCookie,
    Session: RequestSession,
    MemoryStore: SessionMemoryStore,
  },
);

/** Types under the names they have in express-session: `session.SessionOptions`. */
export declare namespace session {
  type Store = SessionStore;
  type MemoryStore = SessionMemoryStore;
  type Session = RequestSession;
  type SessionData = Data;
  type SessionOptions = Options;
  type Cookie = SessionCookie;
  type CookieOptions = CookieSettings;
  type CookieData = StoredCookie;
}

// What `require` returns: the function itself, as express-session's does.
export { session as default, session as "module.exports" };
