/**
 * What every store of the express-session kind inherits from: an EventEmitter that makes sessions of stored data. A
 * function and no class, because older store packages inherit with `Store.call(this)` and `util.inherits`.
 */
import { EventEmitter } from "node:events";
import { Cookie, type CookieData } from "./cookie.ts";
import { Session } from "./session.ts";
import type { Answer, Done } from "./store-calls.ts";
import type { SessionRequest } from "./types.ts";

/** A session as a store gives it: fresh, plain, with `cookie.expires` as text or as a Date. */
export interface StoredData {
  cookie: CookieData;
  [attribute: string]: unknown;
}

export interface Store extends EventEmitter {
  /** Not found: no error and no session, or an error with the code ENOENT. */
  get(sid: string, callback: Answer<StoredData | null>): unknown;
  /** Creates or replaces. Writes the session as it is now; it may change before the callback. */
  set(sid: string, session: Session | StoredData, callback?: Done): unknown;
  /** Of an unknown id: no error. */
  destroy(sid: string, callback?: Done): unknown;
  /** Stores `cookie.expires` and no data; of an unknown id: nothing. */
  touch?(sid: string, session: Session | StoredData, callback?: Done): unknown;
  all?(callback: Answer<StoredData[] | Record<string, StoredData> | null>): unknown;
  length?(callback: Answer<number>): unknown;
  clear?(callback?: Done): unknown;
  /** Set by the middleware: puts a new, empty session on the request. */
  generate(req: SessionRequest): void;
  /** Ends the request's session and generates another. */
  regenerate(req: SessionRequest, callback: Done): void;
  /** The session with this id, outside of any request. */
  load(sid: string, callback: Answer<Session>): void;
  createSession(req: SessionRequest, data: StoredData): Session;
}

export interface StoreConstructor {
  new (options?: unknown): Store;
  /** `Store.call(this)`, for stores that inherit with `util.inherits`. */
  (this: Store, options?: unknown): void;
  readonly prototype: Store;
}

function BareStore(this: Store): void {
  EventEmitter.call(this);
}
Object.setPrototypeOf(BareStore.prototype, EventEmitter.prototype);
Object.setPrototypeOf(BareStore, EventEmitter);
Object.defineProperty(BareStore, "name", { value: "Store" });
const methods: Pick<Store, "regenerate" | "load" | "createSession"> & ThisType<Store> = {
  regenerate(req, callback) {
    this.destroy(req.sessionID as string, (error) => {
      this.generate(req);
      callback(error);
    });
  },

  load(sid, callback) {
    this.get(sid, (error, data) => {
      if (error) return callback(error);
      if (!data) return callback();
      callback(null, this.createSession({ sessionID: sid, sessionStore: this }, data));
    });
  },

  createSession(req, data) {
    return sessionFrom(req, data);
  },
};
Object.assign(BareStore.prototype, methods);

export const Store = BareStore as unknown as StoreConstructor;

/** Puts a session with these attributes on the request. */
export function sessionFrom(req: SessionRequest, data: StoredData): Session {
  // Without a cookie it is no session of this kind: the TypeError is express-session's own.
  const stored = data.cookie;
  const expires = stored.expires;
  const originalMaxAge = stored.originalMaxAge;
  const cookie = new Cookie(stored);
  if (typeof expires === "string") cookie.expires = new Date(expires);
  cookie.originalMaxAge = originalMaxAge;
  data.cookie = cookie;
  req.session = new Session(req, data);
  return req.session;
}
