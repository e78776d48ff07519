/** The one value that express-session's module is: the function, with its classes as properties and its types inside. */
import {
  type CookieOptions as CookieSettings,
  Cookie as SessionCookie,
  type CookieData as StoredCookie,
} from "./cookie.ts";
import { MemoryStore as SessionMemoryStore } from "./memory-store.ts";
import { sessionMiddleware } from "./middleware.ts";
import type { SessionOptions as Options } from "./options.ts";
import { Session as RequestSession } from "./session.ts";
import type { SessionData as Data } from "./session-data.ts";
import { Store as SessionStore } from "./store.ts";
import type { SessionMiddleware } from "./types.ts";

export interface SessionFactory {
  /** The middleware: gives each request a `session`, a `sessionID` and the `sessionStore`. */
  (options?: Options): SessionMiddleware;
  readonly Store: typeof SessionStore;
  readonly Cookie: typeof SessionCookie;
  readonly Session: typeof RequestSession;
  readonly MemoryStore: typeof SessionMemoryStore;
  /** Itself: `const { session } = require("sojourn/express-session")`. */
  readonly session: SessionFactory;
}

function createSession(options?: Options): SessionMiddleware {
  return sessionMiddleware(options);
}

export const session: SessionFactory = Object.assign(createSession, {
  Store: SessionStore,
  Cookie: SessionCookie,
  Session: RequestSession,
  MemoryStore: SessionMemoryStore,
  session: createSession as SessionFactory,
});

/** Types under the names they have in express-session: `session.SessionOptions`. */
export declare namespace session {
  type Store = SessionStore;
  type MemoryStore = SessionMemoryStore;
  type Session = RequestSession;
  // An interface of its own: what CommonJS programs add to the module, they add here.
  interface SessionData extends Data {}
  type SessionOptions = Options;
  type Cookie = SessionCookie;
  type CookieOptions = CookieSettings;
  type CookieData = StoredCookie;
}
