/**
 * A session through one request: what is stored when, and what the browser is told. express-session decides by the same
 * questions (session-changes.ts); what is better here:
 *
 * - The response is held back, below its bytes, until the session is stored: a redirect never arrives before the login.
 * - When that fails, the browser gets a refusal instead of an answer that is not true. Only where the application put
 *   nothing into the session (an empty new one, a touch) does the answer pass.
 * - Calls that nobody waited for (`req.session.save()`) are waited for.
 *
 * A failure reaches `next(error)` as well, so error handlers hear of it.
 */
import { isSessionError, SessionError, StoreUnavailableError } from "../../core/errors.ts";
import type { CommitOutcome } from "../../sessions/scope.ts";
import type { AnyResponse } from "../hold.ts";
import type { CookieOptions } from "./cookie.ts";
import { type Secret, serializeCookie, signedValue } from "./cookie-header.ts";
import type { Setup } from "./options.ts";
import { ownSession } from "./own-session.ts";
import { isSecure } from "./request.ts";
import type { Session } from "./session.ts";
import { SessionChanges } from "./session-changes.ts";
import { type StoredData, sessionFrom } from "./store.ts";
import { callStore, type Done } from "./store-calls.ts";
import type { Next, SessionRequest } from "./types.ts";
import type { SessionVisit } from "./visit-of.ts";
import { warn } from "./warnings.ts";

const DONE: CommitOutcome = { ok: true, setCookies: [] };

/** What has to be done at the store, and whether an answer would be untrue without it. */
interface Work {
  readonly start: (done: Done) => void;
  readonly isNeeded: boolean;
}

export class Visit implements SessionVisit {
  readonly hasResponse = true;
  readonly setup: Setup;
  readonly changes: SessionChanges;
  readonly #req: SessionRequest;
  readonly #res: AnyResponse;
  readonly #next: Next;
  readonly #secrets: readonly Secret[];
  readonly #cookieOptions: CookieOptions;
  /** The signed id that the browser came with. */
  readonly #presentedId: string | undefined;
  /** The store knew a session by it. */
  #wasFound = false;
  #isTouched = false;
  /** This response has stored it already, deadline included. */
  #isStored = false;
  /** There is no session to end: none was begun yet, or it was ended. */
  #hasEnded = true;
  /** Calls of the application under way, and who waits for all of them. */
  #running = 0;
  #idle: (() => void)[] = [];
  /** Of a call that nobody is told of. */
  #failure: { readonly error: unknown } | undefined;

  constructor(
    setup: Setup,
    req: SessionRequest,
    res: AnyResponse,
    next: Next,
    about: {
      readonly secrets: readonly Secret[];
      readonly cookieOptions: CookieOptions;
      readonly presentedId: string | undefined;
    },
  ) {
    this.setup = setup;
    this.#req = req;
    this.#res = res;
    this.#next = next;
    this.#secrets = about.secrets;
    this.#cookieOptions = about.cookieOptions;
    this.#presentedId = about.presentedId;
    this.changes = new SessionChanges(setup, about.presentedId);
  }

  // — at the beginning —

  /** A new, empty session. */
  begin(): void {
    this.setup.store.generate(this.#req);
    this.changes.begin(this.#req.sessionID);
    this.#hasEnded = false;
  }

  /** The session that the store has under the presented id. */
  load(done: Done): void {
    const { store, storeTimeoutMs } = this.setup;
    const id = this.#presentedId!;
    callStore<StoredData | null>(
      "read a session",
      storeTimeoutMs,
      (answer) => store.get(id, answer),
      (error, data) => {
        if (error && (error as { code?: unknown }).code !== "ENOENT") return done(error);
        try {
          if (error || !data) {
            this.begin();
          } else {
            this.#wasFound = true;
            this.#hasEnded = false;
            this.changes.load(this.#create(data));
          }
        } catch (fault) {
          return done(fault);
        }
        done();
      },
    );
  }

  // — what the session's methods do —

  generate(): void {
    this.setup.generate(this.#req, this.#cookieOptions);
  }

  save(session: Session, done: Done, isTold: boolean): void {
    const failed = this.changes.saving(session);
    this.#run(
      "store a session",
      (answer) => this.#store.set(session.id, session, answer),
      (error) => {
        if (error) failed();
        done(error);
      },
      isTold || session === this.#req.session,
    );
  }

  reload(session: Session, done: Done): void {
    callStore<StoredData | null>(
      "read a session",
      this.setup.storeTimeoutMs,
      (answer) => this.#store.get(session.id, answer),
      (error, data) => {
        if (error) return done(error);
        if (!data) return done(new Error("failed to load session"));
        try {
          this.#create(data);
        } catch (fault) {
          return done(fault);
        }
        done();
      },
    );
  }

  destroy(session: Session, done: Done, isTold: boolean): void {
    delete this.#req.session;
    const ended: Done = (error) => {
      if (!error) this.#hasEnded = true;
      done(error);
    };
    this.#run("end a session", (answer) => this.#store.destroy(session.id, answer), ended, isTold);
  }

  regenerate(done: Done, isTold: boolean): void {
    this.#run("end a session", (answer) => this.#store.regenerate(this.#req, answer), done, isTold);
  }

  // — at the response —

  /** The cookie to set when the headers are fixed now. */
  setCookie(): string | undefined {
    const { session, sessionID } = this.#req;
    if (!session || typeof sessionID !== "string") return undefined;
    if (!this.changes.mustSetCookie(sessionID, session)) return undefined;
    if (session.cookie.secure && !isSecure(this.#req, this.setup.proxy)) {
      warn(
        "COOKIE_NOT_SENT",
        `the cookie "${this.setup.name}" was not sent: it is Secure and the request came over plain HTTP. Behind a ` +
          "proxy that ends TLS, set Express's trust proxy, or the option proxy: true",
      );
      return undefined;
    }
    this.#touch(session);
    try {
      const value = signedValue(sessionID, this.#secrets[0]!);
      return serializeCookie(this.setup.name, value, session.cookie.data);
    } catch (error) {
      this.#tell(error);
      return undefined;
    }
  }

  /**
   * Stores what there is to store.
   *
   * @param isLast  the response ends; otherwise it begins, and only what was changed is stored before its first byte
   * @returns       undefined when there is nothing to wait for
   */
  commit(isLast: boolean): Promise<CommitOutcome> | undefined {
    if (this.#running > 0) {
      return new Promise<void>((resolve) => this.#idle.push(resolve)).then(() => this.commit(isLast) ?? DONE);
    }
    if (this.#failure) {
      const { error } = this.#failure;
      this.#failure = undefined;
      // Whoever waited knows, and says so.
      if (this.#wasFound && !this.#saysFailure) return Promise.resolve(this.#failed(error, true));
    }
    let work: Work | undefined;
    try {
      work = this.#work(isLast);
    } catch (error) {
      return Promise.resolve(this.#failed(unstorable(error), true));
    }
    if (!work) return undefined;
    const { start, isNeeded } = work;
    return new Promise((resolve) => {
      const finish: Done = (error) => resolve(error ? this.#failed(error, isNeeded) : DONE);
      try {
        start(finish);
      } catch (error) {
        // Libraries put a `save` of their own on sessions.
        finish(error);
      }
    });
  }

  #work(isLast: boolean): Work | undefined {
    const { unsetDestroys, storeTimeoutMs, storeTouches } = this.setup;
    const { session, sessionID } = this.#req;
    if (!session) {
      if (!unsetDestroys || this.#hasEnded || !sessionID) return undefined;
      this.#hasEnded = true;
      return {
        start: (done) =>
          callStore(
            "end a session",
            storeTimeoutMs,
            (answer) => this.#store.destroy(sessionID, answer),
            done,
          ),
        isNeeded: this.#wasFound,
      };
    }
    if (typeof sessionID !== "string") return undefined;
    const isNew = this.changes.isNew(sessionID);
    if (!isLast && !isNew && !this.changes.isModified(session)) return undefined;
    this.#touch(session);
    if (this.changes.mustSave(session)) {
      // Refused already, and the answer is about that.
      if (this.#saysFailure && this.changes.wasRefused(session)) return undefined;
      this.#isStored = true;
      return { start: (done) => session.save(done), isNeeded: this.changes.isModified(session) };
    }
    if (!isLast || isNew || this.#isStored || !storeTouches) return undefined;
    return {
      start: (done) =>
        callStore(
          "move an idle deadline",
          storeTimeoutMs,
          (answer) => this.#store.touch!(sessionID, session, answer),
          done,
        ),
      isNeeded: false,
    };
  }

  /** @param isNeeded  without it the application's answer would be untrue */
  #failed(error: unknown, isNeeded: boolean): CommitOutcome {
    this.#tell(error);
    if (!isNeeded || this.#saysFailure) return DONE;
    const { status, code, headers } = isSessionError(error)
      ? error
      : new StoreUnavailableError("express-session", "store a session", "failed", { cause: error });
    return { ok: false, status, code, headers, setCookies: [] };
  }

  /** The application's answer already says that something failed, so it may stay. */
  get #saysFailure(): boolean {
    return this.#res.statusCode >= 500;
  }

  /** Before anything of a held response leaves: an error handler that closes the connection closes it after that. */
  #tell(error: unknown): void {
    process.nextTick(this.#next, error);
  }

  #touch(session: Session): void {
    if (this.#isTouched) return;
    session.touch();
    this.#isTouched = true;
  }

  // — the store —

  /** The application may have put another one on the request. */
  get #store() {
    return this.#req.sessionStore ?? this.setup.store;
  }

  #create(data: StoredData): Session {
    const req = this.#req;
    const { store } = this.setup;
    if (typeof store.createSession !== "function") return sessionFrom(req, data);
    store.createSession(req, data);
    req.session = ownSession(req);
    return req.session;
  }

  #run(action: string, begin: (answer: Done) => unknown, done: Done, isTold: boolean): void {
    this.#running++;
    callStore(action, this.setup.storeTimeoutMs, begin, (error) => {
      this.#running--;
      if (error && !isTold) this.#failure = { error };
      if (this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve();
      done(error);
    });
  }
}

function unstorable(error: unknown): SessionError {
  if (isSessionError(error)) return error;
  return new SessionError("UNSUPPORTED_VALUE", "Cannot store a session: it cannot be written as JSON", {
    cause: error,
  });
}
