/**
 * A session through one request (session.ts is the contract). Calls that reach the store run one after another, in the
 * order they were made, and the response waits for all of them: an `update` that nobody awaited is still told the truth.
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
import { SessionError } from "../core/errors.ts";
import type { SessionId, SessionKey } from "../core/ids.ts";
import type { SessionDelta, SessionRecord } from "../core/record.ts";
import { formatVersion, type Version } from "../core/version.ts";
import { Attributes, type Changes, type StoredAttributes } from "./attributes.ts";
import { storeFault } from "./budget.ts";
import { requirePrincipal } from "./options.ts";
import type { CommitOutcome } from "./scope.ts";
import type { Session } from "./session.ts";
import type { Update } from "./updates.ts";
import type { Created, Visit } from "./visit.ts";

/** What is known of the session in the store. */
type Known = Pick<
  SessionRecord,
  | "key"
  | "createdAtMs"
  | "touchedAtMs"
  | "expiresAtMs"
  | "absoluteExpiresAtMs"
  | "principal"
  | "state"
  | "version"
>;

/** From `open` on, sets are refused: by a commit, and then by the headers, after which no cookie can be sent either. */
type Phase = "open" | "committing" | "departed";

export class LiveSession<Data extends object> implements Session<Data> {
  readonly #visit: Visit;
  readonly #attributes: Attributes;
  #known: Known | null;
  #id: SessionId | null;
  /** The id that the request came with, known to the store or not. */
  readonly #presentedKey: SessionKey | null;
  #beganHere = false;
  #hasEnded = false;
  /** The browser has the id of the session: it came with it. Until then activity confirms nothing. */
  #isConfirmed: boolean;
  #cookie: "none" | "issue" | "clear" = "none";
  #phase: Phase = "open";
  #last: Promise<unknown> = Promise.resolve();
  #running = 0;
  #commit: Promise<void> | undefined;
  #failure: unknown;
  #hasWritten = false;

  /**
   * @param presented  the id of the request's cookie, and its key
   * @param record     what the store has under it
   */
  constructor(
    visit: Visit,
    presented: { id: SessionId; key: SessionKey } | null,
    record: SessionRecord | null,
  ) {
    const { codec, sessionBytesMax, attributesMax } = visit.context.policy;
    this.#visit = visit;
    this.#attributes = new Attributes(codec, { sessionBytesMax, attributesMax }, record?.attributes);
    this.#known = record;
    this.#id = record && presented ? presented.id : null;
    this.#presentedKey = presented?.key ?? null;
    this.#isConfirmed = record !== null;
  }

  // — reading and changing the request's copy —

  get<K extends keyof Data & string>(name: K): Data[K] | undefined {
    return this.#attributes.get(name) as Data[K] | undefined;
  }

  has(name: keyof Data & string): boolean {
    return this.#attributes.has(name);
  }

  keys(): string[] {
    return this.#attributes.keys();
  }

  set<K extends keyof Data & string>(name: K, value: Data[K]): void {
    this.#requireChangeable(`set attribute ${JSON.stringify(String(name).slice(0, 64))}`);
    this.#attributes.set(name, value);
  }

  delete(name: keyof Data & string): void {
    this.#requireChangeable(`delete attribute ${JSON.stringify(String(name).slice(0, 64))}`);
    this.#attributes.delete(name);
  }

  // — what reaches the store —

  update<K extends keyof Data & string>(
    name: K,
    change: (current: Data[K] | undefined) => Data[K] | undefined,
  ): Promise<Data[K] | undefined> {
    return this.#inTurn(async () => {
      this.#requireAlive("update an attribute");
      const known = this.#known;
      if (!known) return this.#beginWith(name, change);
      return this.#update(known.key, name, change);
    });
  }

  start(): Promise<void> {
    return this.#inTurn(async () => {
      this.#requireAlive("start a session");
      if (!this.#known) await this.#create(this.#attributes.changes());
    });
  }

  renew(options: { principal?: string | null } = {}): Promise<void> {
    const { principal } = options;
    return this.#inTurn(async () => {
      requirePrincipal(principal);
      this.#requireAlive("renew the session id");
      this.#requireCookie("renew the session id");
      await this.#orFail(async () => {
        const changes = this.#attributes.changes();
        if (!this.#known) return this.#create(changes, principal);
        const created = await this.#visit.renew(
          this.#known.key,
          (final) => withChanges(final.attributes, changes),
          principal,
        );
        const owner = principal === undefined ? created.final.principal : principal;
        this.#movedTo(created, changes, { ...created.final, principal: owner });
      });
    });
  }

  destroy(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#hasEnded) return;
      await this.#orFail(async () => {
        const key = this.#known?.key ?? this.#presentedKey;
        const isAlias = this.#known?.state === "superseded";
        const hasEnded = key !== null && (await this.#visit.destroy(key));
        this.#attributes.clear();
        this.#known = null;
        this.#id = null;
        this.#hasEnded = true;
        // The cookie of an id that was renewed, unknown or ended before is left alone: the browser may hold a newer one.
        this.#cookie = hasEnded && !isAlias && !this.#beganHere ? "clear" : "none";
      });
    });
  }

  touch(): Promise<boolean> {
    return this.#inTurn(async () => {
      if (!this.#known) return false;
      const expiresAtMs = await this.#visit.touch(this.#known);
      if (expiresAtMs === false) return false;
      this.#known = {
        ...this.#known,
        expiresAtMs: Math.max(this.#known.expiresAtMs, expiresAtMs),
        touchedAtMs: this.#visit.context.policy.clock.nowMs(),
      };
      return true;
    });
  }

  commit(): Promise<void> {
    if (this.#phase === "open") this.#phase = "committing";
    return this.#commitOnce();
  }

  // — what it is —

  get id(): string | null {
    return this.#id;
  }

  get version(): string | null {
    return this.#known && formatVersion(this.#known.version);
  }

  get isNew(): boolean {
    return this.#beganHere || this.#known === null;
  }

  get principal(): string | null {
    return this.#known?.principal ?? null;
  }

  get createdAt(): Date {
    return new Date(this.#known?.createdAtMs ?? this.#visit.openedAtMs);
  }

  get lastAccessAt(): Date {
    return new Date(this.#known?.touchedAtMs ?? this.#visit.openedAtMs);
  }

  get expiresAt(): Date {
    const { idleTimeoutMs } = this.#visit.context.policy;
    return new Date(this.#known?.expiresAtMs ?? storedDeadlineMs(this.#visit.openedAtMs, idleTimeoutMs));
  }

  // — for the scope: not part of what applications see —

  /** As `RequestScope.settle`, without its memory. */
  settle(): Promise<CommitOutcome> | undefined {
    this.#phase = "departed";
    const isEarly = this.#commit !== undefined;
    let changes: Changes | null | undefined;
    if (!isEarly && this.#running === 0) {
      try {
        changes = this.#attributes.changes();
      } catch (error) {
        this.#commit = rejected(error);
      }
      const isClean = changes === null && this.#failure === undefined && this.#cookie === "none";
      if (isClean && !this.#mustNameThisServer()) return undefined;
    }
    return this.#outcome(this.#commitOnce(changes), isEarly);
  }

  /** As `RequestScope.close`. */
  close(): void {
    const wasAnswered = this.#phase === "departed";
    this.#phase = "departed";
    if (!wasAnswered && !this.#commit) void this.#last.then(() => this.#dropChanges());
    if (this.#known && this.#isConfirmed) this.#visit.context.touches.requestOver(this.#known);
  }

  #commitOnce(changes?: Changes | null): Promise<void> {
    this.#commit ??= handled(
      this.#inTurn(() => this.#store(changes === undefined ? this.#attributes.changes() : changes)),
    );
    return this.#commit;
  }

  /** @param isEarly  the handler committed itself, before its headers */
  async #outcome(committed: Promise<void>, isEarly: boolean): Promise<CommitOutcome> {
    try {
      await committed;
      await this.#last;
      if (this.#failure !== undefined) throw this.#failure;
      if (isEarly && this.#attributes.changes()) {
        this.#visit.context.stats.lateWrites++;
        throw new SessionError(
          "LATE_WRITE",
          "Cannot store what was changed inside an attribute after commit()",
        );
      }
      if (this.#mustNameThisServer()) await this.#nameThisServer();
      return { ok: true, setCookies: this.#setCookies() };
    } catch (error) {
      return this.#refusal(error);
    }
  }

  #refusal(error: unknown): CommitOutcome {
    const { stats, policy } = this.#visit.context;
    const { code, status, headers } = storeFault(error, policy.store.name, "commit a session");
    if (status === 503) stats.storeFailures++;
    return { ok: false, status, code, headers, setCookies: this.#setCookies() };
  }

  #setCookies(): string[] {
    const { cookie } = this.#visit.context;
    if (this.#cookie === "none" || !cookie.canBeSet(this.#visit.isSecure)) return [];
    if (this.#cookie === "clear") return [cookie.clear()];
    return [cookie.issue(this.#id as SessionId, this.#known!.absoluteExpiresAtMs)];
  }

  /** The cookie names the server that answered before, and this one may still replace it. */
  #mustNameThisServer(): boolean {
    return (
      this.#visit.namesAnotherServer &&
      this.#cookie === "none" &&
      this.#isConfirmed &&
      this.#known?.state === "live"
    );
  }

  /** Only a session that lives: a late response must not bring an old id back over a newer one. */
  async #nameThisServer(): Promise<void> {
    try {
      if (this.#hasWritten || (await this.#visit.touch(this.#known!)) !== false) this.#cookie = "issue";
    } catch {
      // The response owes the store nothing; the next one tries again.
      this.#visit.context.stats.touchFailures++;
    }
  }

  async #store(changes: Changes | null): Promise<void> {
    if (!changes) return;
    if (!this.#known) return this.#create(changes);
    const result = await this.#visit.apply(this.#known.key, { ...changes, ...this.#activity() });
    if (result.status === "conflict")
      throw new Error("the store found a conflict where nothing was expected");
    this.#attributes.committed(changes, result.version);
    this.#applied(result.version, result.expiresAtMs);
  }

  async #create(changes: Changes | null, principal?: string | null): Promise<void> {
    const created = await this.#visit.create(changes?.set ?? new Map(), principal);
    const { session } = created;
    const createdAtMs = this.#visit.context.policy.clock.nowMs();
    this.#beganHere = true;
    this.#movedTo(created, changes, { ...session, createdAtMs, principal: principal ?? null });
  }

  #movedTo(
    { id, key, version, session }: Created,
    changes: Changes | null,
    known: Pick<Known, "createdAtMs" | "absoluteExpiresAtMs" | "principal">,
  ): void {
    const { createdAtMs, absoluteExpiresAtMs, principal } = known;
    const expiresAtMs = Math.min(session.expiresAtMs, absoluteExpiresAtMs);
    const touchedAtMs = this.#visit.context.policy.clock.nowMs();
    this.#known = {
      key,
      createdAtMs,
      touchedAtMs,
      expiresAtMs,
      absoluteExpiresAtMs,
      principal,
      state: "live",
      version,
    };
    this.#id = id;
    this.#isConfirmed = false;
    this.#cookie = "issue";
    this.#attributes.moved(
      new Map([...session.attributes].map(([name, value]) => [name, { value, version }])),
    );
    if (changes) this.#attributes.committed(changes, version);
  }

  #applied(version: Version, expiresAtMs: number): void {
    const touchedAtMs = this.#visit.context.policy.clock.nowMs();
    this.#known = { ...this.#known!, version, expiresAtMs, touchedAtMs };
    this.#hasWritten = true;
  }

  /** `update` before there is a session: no race is possible, and what was set so far belongs to its beginning. */
  async #beginWith<K extends keyof Data & string>(
    name: K,
    change: (current: Data[K] | undefined) => Data[K] | undefined,
  ): Promise<Data[K] | undefined> {
    this.#requireCookie("update an attribute");
    const value = change(this.get(name));
    if (value === undefined) {
      this.#attributes.delete(name);
      return undefined;
    }
    this.#attributes.set(name, value);
    await this.#create(this.#attributes.changes());
    return value;
  }

  async #update<K extends keyof Data & string>(
    key: SessionKey,
    name: K,
    change: (current: Data[K] | undefined) => Data[K] | undefined,
  ): Promise<Data[K] | undefined> {
    const { policy, updates } = this.#visit.context;
    // Set by this request and not stored yet: whatever others store meanwhile, this is what the change begins with.
    const isPending = this.#attributes.isChanged(name);
    const local = this.#attributes.current(name);
    let value: Data[K] | undefined;
    let bytes: Uint8Array | undefined;
    const update: Update = {
      name,
      known: this.#attributes.known(name),
      change: (stored) => {
        const current = isPending ? local : stored;
        // Decoded for each attempt: a change that alters its argument must not see its own traces.
        value = change(current && (policy.codec.decode(current) as Data[K]));
        bytes = value === undefined ? undefined : this.#attributes.encode(name, value);
        if (bytes) this.#attributes.requireRoom(name, bytes);
        return bytes;
      },
      delta: this.#activity(),
    };
    const result = await updates.update(key, update, this.#visit.budget);
    this.#attributes.adopt(name, value, bytes, result.stored);
    this.#applied(result.version, result.expiresAtMs);
    return value;
  }

  /** A change is activity, once the browser has shown that it holds the id. */
  #activity(): SessionDelta {
    if (!this.#isConfirmed) return {};
    const { clock, idleTimeoutMs } = this.#visit.context.policy;
    return { expiresAtMs: storedDeadlineMs(clock.nowMs(), idleTimeoutMs) };
  }

  #dropChanges(): void {
    if (!this.#hasChanges()) return;
    const { stats, policy } = this.#visit.context;
    stats.dropped++;
    policy.diagnostics.report(
      "CHANGES_DROPPED",
      "a request changed its session and ended without an answer, so nothing was stored",
    );
  }

  #hasChanges(): boolean {
    try {
      return this.#attributes.changes() !== null;
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

  /** The response fails with it, unless a later renewal or end succeeds. */
  async #orFail(operation: () => Promise<void>): Promise<void> {
    try {
      await operation();
      this.#failure = undefined;
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  #requireAlive(action: string): void {
    if (this.#hasEnded) {
      throw new SessionError("SESSION_ENDED", `Cannot ${action}: this request has ended the session`);
    }
  }

  #requireChangeable(action: string): void {
    this.#requireAlive(action);
    if (this.#phase === "open") return;
    this.#visit.context.stats.lateWrites++;
    throw new SessionError("LATE_WRITE", `Cannot ${action}: the commit of this request has begun`);
  }

  #requireCookie(action: string): void {
    if (this.#phase !== "departed") return;
    this.#visit.context.stats.lateWrites++;
    throw new SessionError("LATE_WRITE", `Cannot ${action}: the headers have left, and no cookie can follow`);
  }
}

function withChanges(stored: StoredAttributes, changes: Changes | null): Map<string, Uint8Array> {
  const attributes = new Map([...stored].map(([name, { value }]) => [name, value]));
  for (const name of changes?.delete ?? []) attributes.delete(name);
  for (const [name, value] of changes?.set ?? []) attributes.set(name, value);
  return attributes;
}

/** Its failure is told by the outcome, whether the handler waits for it or not. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

function rejected(error: unknown): Promise<never> {
  return handled(Promise.reject(error));
}
