/**
 * `req.session`: its own enumerable properties are the session's attributes, and `cookie`. Every method takes a callback,
 * as always, or gives a promise.
 */
import type { Cookie } from "./cookie.ts";
import { type Done, promiseOf } from "./store-calls.ts";
import type { SessionRequest } from "./types.ts";
import { type SessionVisit, visitOf } from "./visit-of.ts";

export class Session {
  /** The browser's secret: never log it. */
  declare readonly id: string;
  declare readonly req: SessionRequest;
  declare cookie: Cookie;

  /** @param data  attributes; names of methods and of `id` and `req` are ignored */
  constructor(req: SessionRequest, data?: object | null) {
    Object.defineProperty(this, "req", { value: req });
    Object.defineProperty(this, "id", { value: req.sessionID });
    if (typeof data !== "object" || data === null) return;
    for (const name in data) {
      if (!(name in this)) Reflect.set(this, name, Reflect.get(data, name));
    }
  }

  /** Starts `cookie.maxAge` again. Done by itself when a response ends. */
  touch(): this {
    return this.resetMaxAge();
  }

  resetMaxAge(): this {
    this.cookie.maxAge = this.cookie.originalMaxAge;
    return this;
  }

  /** Stores the session now. Done by itself before a response leaves. */
  save(callback: Done): this;
  save(): Promise<void>;
  save(callback?: Done): this | Promise<void> {
    return call(this, callback, (visit, done, isTold) => visit.save(this, done, isTold));
  }

  /** Reads the session from the store again; `req.session` is another object afterwards. */
  reload(callback: Done): this;
  reload(): Promise<void>;
  reload(callback?: Done): this | Promise<void> {
    return call(this, callback, (visit, done) => visit.reload(this, done));
  }

  /** Ends the session; `req.session` is gone. */
  destroy(callback: Done): this;
  destroy(): Promise<void>;
  destroy(callback?: Done): this | Promise<void> {
    return call(this, callback, (visit, done, isTold) => visit.destroy(this, done, isTold));
  }

  /** Ends the session and begins an empty one with a new id: `req.session` is that one afterwards. Call it at login. */
  regenerate(callback: Done): this;
  regenerate(): Promise<void>;
  regenerate(callback?: Done): this | Promise<void> {
    return call(this, callback, (visit, done, isTold) => visit.regenerate(done, isTold));
  }
}

/** With a callback the session itself, to be chained; otherwise a promise. */
function call<Self extends Session>(
  session: Self,
  callback: Done | undefined,
  begin: (visit: SessionVisit, done: Done, isTold: boolean) => void,
): Self | Promise<void> {
  const visit = visitOf(session.req);
  if (!callback) return promiseOf(visit.hasResponse, (done) => begin(visit, done, false));
  begin(visit, callback, true);
  return session;
}
