/**
 * A Sojourn store as the `store:` of express-session and @fastify/session.
 *
 *   app.use(session({ store: expressStore(memoryStore(), { Store: session.Store }), … }));
 *   await app.register(fastifySession, { store: expressStore(memoryStore()), … });
 *
 * Both write whole sessions, so two requests of one visitor overwrite each other. Here each session that is handed out
 * remembers what it was, and a write sends only what changed since, as one delta that merges at the store. A write of a
 * session that was ended meanwhile is dropped: an update never creates. What remains: two requests that change the *same*
 * attribute, and headers that express-session sends before the write is done (docs/connect-stores.md).
 */
import type { EventEmitter } from "node:events";
import { type Clock, systemClock } from "../../core/clock.ts";
import { SessionError } from "../../core/errors.ts";
import { isSessionKey, type SessionId, type SessionKey, sessionKeyOf } from "../../core/ids.ts";
import type { PrincipalChange, SessionRecord } from "../../core/record.ts";
import {
  type CreateResult,
  type EnumerableStore,
  isEnumerable,
  type SessionStore,
} from "../../store/store.ts";
import { CarryOver, isConnectStore } from "./carry-over.ts";
import {
  type Answer,
  type AnyConnectStore,
  BROWSER_SESSION_MS_DEFAULT,
  type ConnectCookie,
  type ConnectSession,
  type ConnectStoreBase,
  Store as DetachedStore,
  type Done,
} from "./connect-contract.ts";
import { bytesOf, COOKIE_ATTRIBUTE, type JsonTexts, sessionOf, textsOf } from "./json-attributes.ts";

/** Browsers keep no cookie longer (RFC 6265bis), and express-session knows no other end of a session in use. */
const ABSOLUTE_TIMEOUT_MS_DEFAULT = 400 * 24 * 3_600_000;
/** Ids that `all` gives begin so: `destroy` takes them, nothing else does. */
const HANDLE_PREFIX = "key:";
const PAGE_SESSIONS = 100;
/**
 * @fastify/session copies a session's named properties and nothing else, so what it was travels as one of them. JSON does
 * not see it.
 */
const MARK = "~sojourn";

export interface ExpressStoreOptions<Base extends object = object> {
  /** express-session's own `session.Store`, which it wants its stores to inherit. @fastify/session needs none. */
  readonly Store?: abstract new () => Base;
  /** How long a session lives without a request when its cookie has no `maxAge`, in ms. Default one day. */
  readonly browserSessionMs?: number;
  /** However busy, a session ends this long after it began, in ms. Default 400 days. */
  readonly absoluteTimeoutMs?: number;
  /**
   * Whose session it is, so that the store can list and end all sessions of a user: `(s) => s.passport?.user`. Null and
   * undefined: nobody's.
   */
  readonly principal?: (session: ConnectSession) => string | null | undefined;
  /**
   * A write of a session that has ended meanwhile: "drop" answers as if it were stored, as these libraries expect, "error"
   * answers SESSION_ENDED. Either way nothing is stored. Default "drop".
   */
  readonly endedWrites?: "drop" | "error";
  /**
   * The store of before: sessions that are not here yet are carried over from it when their visitors come, and ended in
   * both. Leave it out once the longest idle timeout has passed.
   */
  readonly carryOver?: AnyConnectStore;
  readonly clock?: Clock;
}

export interface ExpressStore extends EventEmitter {
  // biome-ignore lint/suspicious/noExplicitAny: each library names its own type here, and refuses the other's
  get(id: string, callback: (error: unknown, session?: any) => void): void;
  set(id: string, session: object, callback?: Done): void;
  /** Stores the cookie and moves the deadline; nothing else. A session that is not there is no error. */
  touch(id: string, session: object, callback?: Done): void;
  /** Ends the session for good. Also takes the ids that `all` gives. */
  destroy(id: string, callback?: Done): void;
  /** Every session by a handle, not by its id, which the store does not know. */
  all(callback: Answer<Record<string, ConnectSession>>): void;
  length(callback: Answer<number>): void;
  /** Ends every session of the store. */
  clear(callback?: Done): void;
}

/** What a session was when it was last read or written, and the writes of it under way. */
interface Handed {
  readonly toJSON: () => undefined;
  readonly key: SessionKey;
  /** It came from the store, or has reached it. */
  isStored: boolean;
  texts: JsonTexts;
  principal: string | null;
  readonly atMs: number;
  writing: Promise<unknown>;
}

/**
 * @throws {SessionError} INVALID_OPTION, also when express-session is given a store that was made without its `Store`
 */
export function expressStore<Base extends object = object>(
  store: SessionStore,
  options: ExpressStoreOptions<Base> = {},
): ExpressStore & Base {
  const { Store, endedWrites = "drop" } = options;
  if (Store !== undefined && typeof Store !== "function")
    throw invalid("Store", "express-session's session.Store");
  if (!["drop", "error"].includes(endedWrites)) throw invalid("endedWrites", '"drop" or "error"');
  for (const name of ["browserSessionMs", "absoluteTimeoutMs"] as const) {
    const value = options[name];
    if (value !== undefined && !(value > 0)) throw invalid(name, "more than 0 ms");
  }
  if (options.carryOver !== undefined && !isConnectStore(options.carryOver)) {
    throw invalid("carryOver", "an express-session store, with get, set and destroy");
  }
  const base = new ((Store ?? DetachedStore) as new () => ConnectStoreBase)();
  const view = new SessionView(store, options, Store ? undefined : MARK);
  const methods = {
    get: (id: string, callback: Answer<ConnectSession | null>) => answer(() => view.get(id), callback),
    set: (id: string, session: object, callback?: Done) => answer(() => view.set(id, session), callback),
    touch: (id: string, session: object, callback?: Done) => answer(() => view.touch(id, session), callback),
    destroy: (id: string, callback?: Done) => answer(() => view.destroy(id), callback),
    all: (callback: Answer<Record<string, ConnectSession>>) => answer(() => view.all(), callback),
    length: (callback: Answer<number>) => answer(() => view.length(), callback),
    clear: (callback?: Done) => answer(() => view.clear(), callback),
  };
  if (Store) linkSessions(base, view);
  else refuseExpressSession(base);
  return Object.assign(base, methods) as unknown as ExpressStore & Base;
}

/** express-session makes its own session of what `get` gave, by this method: what it was goes along. */
function linkSessions(base: ConnectStoreBase, view: SessionView): void {
  const inherited = base.createSession;
  if (typeof inherited !== "function") throw invalid("Store", "express-session's session.Store");
  base.createSession = (request, session) => {
    const made = inherited.call(base, request, session);
    view.link(session, made);
    return made;
  };
}

/** express-session sets `generate` first of all. Without `createSession` its first visitor who comes back is a 500. */
function refuseExpressSession(base: ConnectStoreBase): void {
  Object.defineProperty(base, "generate", {
    set() {
      throw invalid("Store", "session.Store, when express-session is to use the store");
    },
  });
}

class SessionView {
  readonly #store: SessionStore;
  readonly #options: ExpressStoreOptions;
  readonly #clock: Clock;
  readonly #mark: string | undefined;
  readonly #before: CarryOver | undefined;
  /** What was handed out, by the object that holds it. */
  readonly #handed = new WeakMap<object, Handed>();

  constructor(store: SessionStore, options: ExpressStoreOptions, mark: string | undefined) {
    this.#store = store;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#mark = mark;
    this.#before = options.carryOver && new CarryOver(options.carryOver);
  }

  async get(id: string): Promise<ConnectSession | null> {
    const key = keyOf(id);
    const record = (await this.#store.read(key)) ?? (await this.#carriedOver(id, key));
    return record && this.#handOut(record);
  }

  async #carriedOver(id: string, key: SessionKey): Promise<SessionRecord | null> {
    const session = await this.#before?.take(id);
    if (!session) return null;
    const texts = textsOf(session);
    // Refused when it was ended here; when a parallel request was first, this one reads what that one brought.
    await this.#create(key, texts, this.#options.principal?.(session));
    return this.#store.read(key);
  }

  link(from: object, to: object): void {
    const handed = this.#handed.get(from);
    if (handed) this.#handed.set(to, handed);
  }

  set(id: string, session: object): Promise<void> {
    const texts = textsOf(session, this.#mark);
    const principal = this.#options.principal?.(session as ConnectSession);
    const key = keyOf(id);
    // One that was never read is new, or put together by hand.
    const handed = this.#handedAs(session, key) ?? this.#remember(session, key);
    // In their order: a second `save()` that overtakes the first would measure against what is not stored yet.
    const write = handed.writing.then(() => this.#write(handed, texts, principal));
    handed.writing = write.catch(() => undefined);
    return write;
  }

  async #write(handed: Handed, texts: JsonTexts, principal: string | null | undefined): Promise<void> {
    // Over before it began: nobody could read it.
    if (!handed.isStored && this.#deadlineMs(texts) <= this.#clock.nowMs()) return;
    const isStored = handed.isStored
      ? await this.#update(handed, texts, principal)
      : await this.#begin(handed.key, texts, principal);
    if (isStored) Object.assign(handed, { isStored, texts, principal: principal ?? null });
    else if (this.#options.endedWrites === "error") {
      throw new SessionError("SESSION_ENDED", "Cannot save a session: it was ended or has expired");
    }
  }

  /** Only what changed since the session was handed out. @returns false when it has ended */
  async #update(handed: Handed, texts: JsonTexts, principal: string | null | undefined): Promise<boolean> {
    const changed = [...texts].filter(([name, text]) => handed.texts.get(name) !== text);
    const { status } = await this.#store.apply(handed.key, {
      set: bytesOf(changed),
      delete: missing(handed.texts.keys(), texts),
      expiresAtMs: this.#deadlineMs(texts),
      ...this.#login(principal, handed.principal, this.#clock.monotonicMs() - handed.atMs),
    });
    return status === "applied";
  }

  /** @returns false when the id was ended */
  async #begin(key: SessionKey, texts: JsonTexts, principal: string | null | undefined): Promise<boolean> {
    const status = await this.#create(key, texts, principal);
    if (status !== "taken") return status === "created";
    const record = await this.#store.read(key);
    if (record?.state !== "live") return false;
    // Nobody knows what this writer had seen, so the session becomes what it says.
    const result = await this.#store.apply(key, {
      set: bytesOf(texts),
      delete: missing(record.attributes.keys(), texts),
      expiresAtMs: this.#deadlineMs(texts),
      ...this.#login(principal, record.principal, 0),
    });
    return result.status === "applied";
  }

  async #create(
    key: SessionKey,
    texts: JsonTexts,
    principal: string | null | undefined,
  ): Promise<CreateResult["status"]> {
    const { absoluteTimeoutMs = ABSOLUTE_TIMEOUT_MS_DEFAULT } = this.#options;
    const { status } = await this.#store.create({
      key,
      attributes: bytesOf(texts),
      expiresAtMs: this.#deadlineMs(texts),
      absoluteExpiresAtMs: this.#clock.nowMs() + absoluteTimeoutMs,
      ...this.#login(principal, null, 0),
    });
    return status;
  }

  #login(
    principal: string | null | undefined,
    before: string | null,
    ageMs: number,
  ): { readonly principal?: PrincipalChange } {
    if (!this.#options.principal || (principal ?? null) === before) return {};
    return { principal: { principal: principal ?? null, ageMs } };
  }

  async touch(id: string, session: object): Promise<void> {
    const { cookie } = session as ConnectSession;
    const text: string | undefined = JSON.stringify(cookie);
    const texts = new Map(text === undefined ? [] : [[COOKIE_ATTRIBUTE, text] as const]);
    const expiresAtMs = this.#deadlineMs(texts);
    const key = keyOf(id);
    const handed = this.#handedAs(session, key);
    if (handed?.texts.get(COOKIE_ATTRIBUTE) === text) {
      await this.#store.touch(key, expiresAtMs);
      return;
    }
    // A deadline alone never moves back, and a cookie's may: it is stored as it is.
    const { status } = await this.#store.apply(key, { set: bytesOf(texts), expiresAtMs });
    if (handed?.isStored && status === "applied") handed.texts = new Map([...handed.texts, ...texts]);
  }

  async destroy(id: string): Promise<void> {
    const named = id.startsWith(HANDLE_PREFIX) ? id.slice(HANDLE_PREFIX.length) : "";
    await this.#store.destroy(isSessionKey(named) ? named : keyOf(id));
    await this.#before?.end(id);
  }

  async all(): Promise<Record<string, ConnectSession>> {
    const all: Record<string, ConnectSession> = {};
    for await (const keys of this.#pages("read all sessions")) {
      const records = await Promise.all(keys.map((key) => this.#store.read(key)));
      for (const record of records) {
        const session = record && this.#handOut(record);
        if (session) all[HANDLE_PREFIX + record.key] = session;
      }
    }
    return all;
  }

  length(): Promise<number> {
    return this.#enumerable("count sessions").count();
  }

  async clear(): Promise<void> {
    for await (const keys of this.#pages("end all sessions")) {
      await Promise.all(keys.map((key) => this.#store.destroy(key)));
    }
  }

  async *#pages(action: string): AsyncGenerator<readonly SessionKey[]> {
    const store = this.#enumerable(action);
    let cursor: string | undefined;
    do {
      const page = await store.list({ limit: PAGE_SESSIONS, ...(cursor !== undefined && { cursor }) });
      yield page.sessions.map(({ key }) => key);
      cursor = page.next;
    } while (cursor !== undefined);
  }

  #enumerable(action: string): EnumerableStore {
    if (isEnumerable(this.#store)) return this.#store;
    throw new SessionError(
      "NOT_ENUMERABLE",
      `Cannot ${action}: store "${this.#store.name}" cannot look through its sessions`,
    );
  }

  /** Null when the cookie says that it is over: its deadline can be earlier than the store's, which never moves back. */
  #handOut({ key, attributes, principal }: SessionRecord): ConnectSession | null {
    const { session, texts } = sessionOf(attributes);
    const expiresAtMs = expiryMs(session.cookie);
    if (expiresAtMs !== undefined && expiresAtMs <= this.#clock.nowMs()) return null;
    const handed = this.#remember(session, key, { texts, principal });
    if (this.#mark !== undefined) session[this.#mark] = handed;
    return session;
  }

  #remember(session: object, key: SessionKey, stored?: Pick<Handed, "texts" | "principal">): Handed {
    const handed = {
      toJSON: () => undefined,
      key,
      isStored: stored !== undefined,
      texts: stored?.texts ?? new Map<string, string>(),
      principal: stored?.principal ?? null,
      atMs: this.#clock.monotonicMs(),
      writing: Promise.resolve(),
    };
    this.#handed.set(session, handed);
    return handed;
  }

  /** What was handed out under this key: a login may copy everything of the old session into the new one. */
  #handedAs(session: object, key: SessionKey): Handed | undefined {
    const marked = this.#mark && ((session as Record<string, unknown>)[this.#mark] as Handed | undefined);
    for (const handed of [this.#handed.get(session), marked]) if (handed && handed.key === key) return handed;
    return undefined;
  }

  #deadlineMs(texts: JsonTexts): number {
    const text = texts.get(COOKIE_ATTRIBUTE);
    const expiresAtMs = text === undefined ? undefined : expiryMs(JSON.parse(text) as ConnectCookie);
    return (
      expiresAtMs ?? this.#clock.nowMs() + (this.#options.browserSessionMs ?? BROWSER_SESSION_MS_DEFAULT)
    );
  }
}

/** When the cookie's session ends; undefined: with the browser. */
function expiryMs(cookie: ConnectCookie | null | undefined): number | undefined {
  if (!cookie?.expires) return undefined;
  const expiresAtMs = new Date(cookie.expires).getTime();
  return Number.isNaN(expiresAtMs) ? undefined : expiresAtMs;
}

function missing(names: Iterable<string>, texts: JsonTexts): string[] {
  return [...names].filter((name) => !texts.has(name));
}

function keyOf(id: string): SessionKey {
  // Their ids are shorter than ours; a hash is a hash.
  return sessionKeyOf(id as SessionId);
}

/** A callback is called once, after this returned, and what it throws is its owner's: never a rejection of ours. */
function answer<Value>(act: () => Promise<Value>, callback?: Answer<Value>): void {
  const promise = new Promise<Value>((resolve) => resolve(act()));
  promise.then(
    (value) => callback && queueMicrotask(() => callback(null, value)),
    (error: unknown) => callback && queueMicrotask(() => callback(error)),
  );
}

function invalid(option: string, expected: string): SessionError {
  return new SessionError("INVALID_OPTION", `Cannot use a store here: option ${option} must be ${expected}`);
}
