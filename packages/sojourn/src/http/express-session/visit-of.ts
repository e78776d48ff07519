/** Finds what serves a request's session, so that a `Session` needs to carry nothing but its request. */
import type { Session } from "./session.ts";
import type { Done } from "./store-calls.ts";
import type { SessionRequest } from "./types.ts";

/** `isTold`: the caller gave a callback and hears of a failure. */
export interface SessionVisit {
  /** A response waits for what nobody else waits for, and tells of its failure. */
  readonly hasResponse: boolean;
  generate(): void;
  save(session: Session, done: Done, isTold: boolean): void;
  reload(session: Session, done: Done): void;
  destroy(session: Session, done: Done, isTold: boolean): void;
  regenerate(done: Done, isTold: boolean): void;
}

const VISIT = Symbol("sojourn.express-session");

export function attachVisit(req: SessionRequest, visit: SessionVisit): void {
  Object.defineProperty(req, VISIT, { value: visit, configurable: true });
}

/** A session of `store.load` has no request that we serve: its calls go to the store as they are. */
export function visitOf(req: SessionRequest): SessionVisit {
  return servedVisit(req) ?? new Unserved(req);
}

export function servedVisit(req: SessionRequest): SessionVisit | undefined {
  return (req as { [VISIT]?: SessionVisit })[VISIT];
}

class Unserved implements SessionVisit {
  readonly hasResponse = false;
  readonly #req: SessionRequest;

  constructor(req: SessionRequest) {
    this.#req = req;
  }

  generate(): void {
    this.#store().generate(this.#req);
  }

  save(session: Session, done: Done): void {
    this.#store().set(session.id, session, done);
  }

  reload(session: Session, done: Done): void {
    const store = this.#store();
    store.get(session.id, (error, data) => {
      if (error) return done(error);
      if (!data) return done(new Error("failed to load session"));
      store.createSession(this.#req, data);
      done();
    });
  }

  destroy(session: Session, done: Done): void {
    delete this.#req.session;
    this.#store().destroy(session.id, done);
  }

  regenerate(done: Done): void {
    this.#store().regenerate(this.#req, done);
  }

  #store() {
    // Always there: only a store and the middleware make sessions, and both put it on the request.
    return this.#req.sessionStore!;
  }
}
