/**
 * The contract that express-session set for its stores and a hundred `connect-*` packages keep: callbacks, and a session
 * as one JSON object with a `cookie`. Written down here as types, so that neither side needs express-session installed.
 *
 * Source: express-session 1.19 README, "Session Store Implementation", and its `session/store.js`.
 */
import { EventEmitter } from "node:events";

/** How express-session keeps a cookie in a stored session. */
export interface ConnectCookie {
  /** When the session ends; JSON text or a Date. None: with the browser. */
  expires?: string | Date | null;
  /** The `maxAge` that the cookie began with, in ms. */
  originalMaxAge?: number | null;
  [name: string]: unknown;
}

/** A session as such a store holds it: the cookie, and every attribute beside it. */
export interface ConnectSession {
  cookie: ConnectCookie;
  [attribute: string]: unknown;
}

/** What connect-redis gives a session whose cookie ends with the browser. */
export const BROWSER_SESSION_MS_DEFAULT = 24 * 3_600_000;

export type Done = (error?: unknown) => void;
export type Answer<Value> = (error: unknown, value?: Value) => void;

/** express-session's `Store` in two lines, for packages that want one handed to them: `memorystore({ Store })`. */
export interface ConnectStoreBase extends EventEmitter {
  createSession?(request: object, session: ConnectSession): object;
}

// A function and no class: older packages inherit with `Store.call(this)`.
function BareStore(this: ConnectStoreBase): void {
  EventEmitter.call(this);
}
Object.setPrototypeOf(BareStore.prototype, EventEmitter.prototype);

/** What `session.Store` is to a factory-style package, where express-session is not installed. */
export const Store = BareStore as unknown as new () => ConnectStoreBase;

/** What a `connect-*` package makes: an instance, not its class or factory. */
export interface AnyConnectStore {
  // biome-ignore lint/suspicious/noExplicitAny: every package types its sessions its own way
  get(id: string, callback: (error: any, session?: any) => void): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  set(id: string, session: any, callback?: (error?: any) => void): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  destroy(id: string, callback?: (error?: any) => void): unknown;
}

export interface ListingConnectStore extends AnyConnectStore {
  // biome-ignore lint/suspicious/noExplicitAny: an array in some packages, an object by id in others
  all(callback: (error: any, sessions?: any) => void): unknown;
}
