/**
 * A session through one request (session.ts is the contract): what is allowed when. Calls that reach the store run one
 * after another, in the order they were made, and the response waits for all of them.
 *
 * Decided here:
 * - There is one commit by `set` and `delete` for each request, at its headers or at an explicit `commit()`; later sets
 *   throw LATE_WRITE. `update`, `touch` and `destroy` commit themselves and stay possible in a stream.
 * - `update` commits its attribute and nothing else; what was set before stays pending, except that it is the value that
 *   `update` of the same attribute begins with. Only when the session does not exist yet, all of it is created at once.
 * - A `renew` or `destroy` that failed fails the response, even if the handler hides it: nobody is told of a login or a
 *   logout that is not stored.
 */
import { storedDeadlineMs } from "../core/deadline.ts";
import { isSessionError, SessionError, StoreUnavailableError } from "../core/errors.ts";
import { formatVersion } from "../core/version.ts";
import type { Changes } from "./attributes.ts";
import { storeFault } from "./budget.ts";
import { requirePrincipal } from "./check-options.ts";
import type { CommitOutcome } from "./scope.ts";
import type { Session } from "./session.ts";
import type { Change, StoredSession } from "./stored-session.ts";

/** From `open` on, sets are refused: by a commit, and then by the headers, after which no cookie can be sent either. */
type Phase = "open" | "committing" | "departed";

const NOTHING_YET: Promise<unknown> = Promise.resolve();

export class LiveSession<Data extends object> implements Session<Data> {
  readonly #stored: StoredSession;
  #phase: Phase = "open";
  /** Ends when all calls so far have ended; never rejects. */
  #last: Promise<unknown> = NOTHING_YET;
  #running = 0;
  #commit: Promise<void> | undefined;
  /** Of a renewal or an end that was not made good since. */
  #failure: unknown;

  constructor(stored: StoredSession) {
    this.#stored = stored;
  }

  // — reading and changing the request's copy —

  get<K extends keyof Data & string>(name: K): Data[K] | undefined {
    return this.#stored.attributes.get(name) as Data[K] | undefined;
  }

  has(name: keyof Data & string): boolean {
    return this.#stored.attributes.has(name);
  }

  keys(): string[] {
    return this.#stored.attributes.keys();
  }

  set<K extends keyof Data & string>(name: K, value: Data[K]): void {
    this.#requireChangeable("set an attribute");
    this.#stored.attributes.set(name, value);
  }

  delete(name: keyof Data & string): void {
    this.#requireChangeable("delete an attribute");
    this.#stored.attributes.delete(name);
  }

  // — what reaches the store —

  update<K extends keyof Data & string>(
    name: K,
    change: (current: Data[K] | undefined) => Data[K] | undefined,
  ): Promise<Data[K] | undefined> {
    return this.#inTurn(async () => {
      this.#requireAlive("update an attribute");
      this.#requireRead("update an attribute");
      if (!this.#stored.known) this.#requireHeaders("begin a session");
      return (await this.#stored.update(name, change as Change)) as Data[K] | undefined;
    });
  }

  start(): Promise<void> {
    return this.#inTurn(async () => {
      this.#requireAlive("begin a session");
      this.#requireRead("begin a session");
      if (this.#stored.known) return;
      this.#requireHeaders("begin a session");
      await this.#stored.create(this.#stored.attributes.changes());
    });
  }

  renew(options: { principal?: string | null } = {}): Promise<void> {
    const { principal } = options;
    return this.#toldByOutcome(async () => {
      requirePrincipal(principal);
      this.#requireAlive("renew the session id");
      this.#requireHeaders("renew the session id");
      await this.#orFail(async () => {
        this.#requireRead("renew the session id");
        await this.#stored.renew(this.#stored.attributes.changes(), principal);
      });
    });
  }

  destroy(): Promise<void> {
    return this.#toldByOutcome(async () => {
      if (!this.#stored.hasEnded) await this.#orFail(() => this.#stored.destroy());
    });
  }

  touch(): Promise<boolean> {
    return this.#inTurn(async () => {
      this.#requireRead("move an idle deadline");
      return this.#stored.touch();
    });
  }

  commit(): Promise<void> {
    if (this.#phase === "open") this.#phase = "committing";
    return this.#commitOnce(undefined, true);
  }

  // — what it is —

  get id(): string | null {
    return this.#stored.id;
  }

  get version(): string | null {
    const { known } = this.#stored;
    return known && formatVersion(known.version);
  }

  get isNew(): boolean {
    return this.#stored.beganHere || this.#stored.known === null;
  }

  get isUnavailable(): boolean {
    return this.#stored.fault !== null;
  }

  get principal(): string | null {
    return this.#stored.principal;
  }

  get createdAt(): Date {
    return new Date(this.#stored.known?.createdAtMs ?? this.#stored.visit.openedAtMs);
  }

  get lastAccessAt(): Date {
    return new Date(this.#stored.known?.touchedAtMs ?? this.#stored.visit.openedAtMs);
  }

  get expiresAt(): Date {
    const { known, visit } = this.#stored;
    return new Date(
      known?.expiresAtMs ?? storedDeadlineMs(visit.openedAtMs, visit.context.policy.idleTimeoutMs),
    );
  }

  // — for the scope: not part of what applications see —

  /** From here on nobody else who asks for it has the session, and what is read is what the last one left. */
  async makeExclusive(waitMs: number): Promise<void> {
    const { visit, known, fault, isPresented } = this.#stored;
    if (known === null || !isPresented || fault !== null) return;
    this.#requireUnchanged();
    const entered = await visit.context.exclusive.enter(known.key, waitMs);
    try {
      this.#requireUnchanged();
    } catch (error) {
      entered.lease?.giveBack();
      throw error;
    }
    this.#stored.reread(entered);
  }

  #requireUnchanged(): void {
    if (this.#phase === "open" && !this.#hasChanges()) return;
    throw new SessionError(
      "INVALID_OPTION",
      "Cannot have a session exclusively: this request has changed or committed it already. Ask before the first change",
    );
  }

  /** The response is about to leave, or over: others need not wait for what is left of this request. */
  giveBackLease(): void {
    this.#stored.lease?.giveBack();
  }

  /** As `RequestScope.settle`, without its memory. */
  settle(): Promise<CommitOutcome> | undefined {
    this.#phase = "departed";
    const isEarly = this.#commit !== undefined;
    if (!isEarly && this.#stored.visit.context.policy.writeFrequency === "MANUAL_UPDATE") {
      return this.#settleUncommitted();
    }
    let changes: Changes | null | undefined;
    if (!isEarly && this.#running === 0) {
      try {
        changes = this.#stored.attributes.changes();
      } catch (error) {
        this.#commit = handled(Promise.reject(error));
      }
      if (changes === null && this.#failure === undefined && !this.#stored.hasNews) return undefined;
    }
    return this.#outcome(this.#commitOnce(changes), isEarly);
  }

  /** The handler did not commit, and nothing else does: what it left pending is given up. */
  #settleUncommitted(): Promise<CommitOutcome> | undefined {
    const drop = () =>
      this.#dropChanges("did not call commit(), which writeFrequency MANUAL_UPDATE asks for");
    if (this.#running === 0 && this.#failure === undefined && !this.#stored.hasNews) {
      drop();
      return undefined;
    }
    return this.#outcome(this.#last.then(drop), false);
  }

  /** As `RequestScope.close`. */
  close(): void {
    const wasAnswered = this.#phase === "departed";
    this.#phase = "departed";
    if (!wasAnswered && !this.#commit)
      void this.#last.then(() => this.#dropChanges("ended without an answer"));
    this.giveBackLease();
    this.#stored.requestOver();
  }

  /**
   * @param changes  when known already
   * @param isNow    the handler asks for it, and is told the outcome: nothing is kept for later
   */
  #commitOnce(changes?: Changes | null, isNow = false): Promise<void> {
    this.#commit ??= this.#toldByOutcome(async () => {
      const toMerge = changes === undefined ? this.#stored.attributes.changes() : changes;
      if (toMerge) await this.#stored.merge(toMerge);
      if (isNow) await this.#stored.writeKept();
    });
    return this.#commit;
  }

  /** @param isEarly  the handler committed itself, before its headers */
  async #outcome(committed: Promise<void>, isEarly: boolean): Promise<CommitOutcome> {
    try {
      await committed;
      await this.#last;
      if (this.#failure !== undefined) throw this.#failure;
      if (isEarly && this.#stored.attributes.changes()) {
        throw this.#late("store what was changed inside an attribute", "after commit()");
      }
      await this.#stored.nameThisServer();
      return { ok: true, setCookies: this.#stored.setCookies() };
    } catch (error) {
      return this.#refusal(error);
    }
  }

  #refusal(error: unknown): CommitOutcome {
    const { telemetry, policy } = this.#stored.visit.context;
    const { code, status, headers } = storeFault(error, policy.store.name, "commit a session");
    if (status === 503) telemetry.count("storeFailures");
    return { ok: false, status, code, headers, setCookies: this.#stored.setCookies() };
  }

  #dropChanges(because: string): void {
    if (!this.#hasChanges()) return;
    const { telemetry, policy } = this.#stored.visit.context;
    telemetry.count("dropped");
    policy.diagnostics.report(
      "CHANGES_DROPPED",
      `a request changed its session and ${because}, so nothing was stored`,
    );
  }

  #hasChanges(): boolean {
    try {
      return this.#stored.attributes.changes() !== null;
    } catch {
      return true;
    }
  }

  /** One after another, in the order of the calls. */
  #inTurn<T>(operation: () => Promise<T>): Promise<T> {
    this.#running++;
    const result = this.#last.then(operation);
    const over = () => {
      this.#running--;
    };
    this.#last = result.then(over, over);
    return result;
  }

  /** For what fails the response when it fails: a handler that did not wait for it must not end the process. */
  #toldByOutcome(operation: () => Promise<void>): Promise<void> {
    return handled(this.#inTurn(operation));
  }

  /**
   * The response fails with it, unless a later renewal or end succeeds. A login that was refused is an answer: the handler
   * says it in its own words.
   */
  async #orFail(operation: () => Promise<void>): Promise<void> {
    try {
      await operation();
      this.#failure = undefined;
    } catch (error) {
      if (!(isSessionError(error) && error.code === "SESSION_LIMIT")) this.#failure = error;
      throw error;
    }
  }

  #requireAlive(action: string): void {
    if (this.#stored.hasEnded) {
      throw new SessionError("SESSION_ENDED", `Cannot ${action}: this request has ended the session`);
    }
  }

  /** A session that could not be read is not empty, so nothing may be written over it or begun beside it. */
  #requireRead(action: string): void {
    const { fault, visit } = this.#stored;
    if (fault === null) return;
    const { store } = visit.context.policy;
    throw new StoreUnavailableError(store.name, action, "could not read it when this request began", {
      cause: fault,
    });
  }

  #requireChangeable(action: string): void {
    this.#requireAlive(action);
    this.#requireRead(action);
    if (this.#phase !== "open") throw this.#late(action, "the commit of this request has begun");
  }

  #requireHeaders(action: string): void {
    if (this.#phase === "departed")
      throw this.#late(action, "the headers have left, and no cookie can follow");
  }

  #late(action: string, found: string): SessionError {
    this.#stored.visit.context.telemetry.count("lateWrites");
    return new SessionError("LATE_WRITE", `Cannot ${action}: ${found}`);
  }
}

function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
