/** Requests with a session, and what the middleware accepts as a store. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { session } from "./factory.ts";
import type { Session } from "./session.ts";
import type { Store } from "./store.ts";

/** `req.session`, with what the program has declared in `SessionData`. */
export type RequestAttributes = Session & Partial<session.SessionData>;

/**
 * What the middleware puts on a request. `import "sojourn/express-session/types"` declares it for all requests of Express;
 * on a bare request it is `req as IncomingMessage & WithSession`.
 */
export interface WithSession {
  session: RequestAttributes;
  /** The id of `session`: the browser's secret, never log it. */
  sessionID: string;
  sessionStore: Store;
}

/** What of a request the library itself looks at. */
export interface SessionRequest {
  session?: RequestAttributes | null | undefined;
  sessionID?: string | undefined;
  sessionStore?: Store;
  readonly headers?: IncomingMessage["headers"];
  readonly socket?: unknown;
  readonly url?: string | undefined;
  readonly originalUrl?: string;
  /** Express's word on TLS, by `trust proxy`. */
  readonly secure?: boolean;
  /** Of cookie-parser. */
  readonly secret?: string;
  readonly cookies?: Readonly<Record<string, unknown>>;
  readonly signedCookies?: Readonly<Record<string, unknown>>;
}

// biome-ignore lint/suspicious/noExplicitAny: what Express, Connect and plain functions call with
export type Next = (error?: any) => void;

/** Fits `app.use` of Express 4 and 5, and a plain `node:http` listener. */
export type SessionMiddleware = (req: IncomingMessage, res: ServerResponse, next: Next) => void;

/**
 * Any express-session store: `connect-redis`, `connect-mongo`, your own. Loosely typed on purpose, so that a store typed
 * against express-session's declarations fits.
 */
export interface StoreLike {
  // biome-ignore lint/suspicious/noExplicitAny: each store package types its sessions its own way
  get(sid: string, callback: (error?: any, session?: any) => void): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  set(sid: string, session: any, callback?: (error?: any) => void): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  destroy(sid: string, callback?: (error?: any) => void): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  touch?(sid: string, session: any, callback?: (error?: any) => void): unknown;
}
