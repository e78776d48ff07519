/**
 * `sojourn/express-session`: express-session 1.19 with another engine. The module, its options, its cookies, its stores
 * and its `req.session` are the same; docs/express-session.md says what is better.
 *
 *   import session from "sojourn/express-session";   // was: "express-session"
 */

import { session } from "./factory.ts";

export { Cookie, type CookieData, type CookieOptions } from "./cookie.ts";
export { type SessionFactory, session } from "./factory.ts";
export { MemoryStore } from "./memory-store.ts";
export type { SessionOptions } from "./options.ts";
export { Session } from "./session.ts";
// With a star, so that `declare module "sojourn/express-session"` can add to it.
export * from "./session-data.ts";
export { Store, type StoredData } from "./store.ts";
export type { SessionMiddleware, StoreLike, WithSession } from "./types.ts";
// What `require` returns: the function itself, as express-session's does.
export { session as default, session as "module.exports" };
