/**
 * Sessions from the side: operators and account pages look through them and end them, without ever touching a request.
 * They name sessions by key, which no browser holds and no cookie can be made from.
 */
import { SessionError } from "../core/errors.ts";
import { isSessionKey, type SessionId, type SessionKey, sessionKeyOf } from "../core/ids.ts";
import { formatVersion } from "../core/version.ts";
import { type EnumerableStore, isEnumerable, type SessionPage, type SessionSummary } from "../store/store.ts";
import { summaryOf } from "../store/summary.ts";
import { isReserved } from "./attributes.ts";
import { StoreBudget } from "./budget.ts";
import { invalidOption, requirePrincipal } from "./check-options.ts";
import type { Context } from "./context.ts";
import { REFUSED } from "./schema.ts";
import type { Session } from "./session.ts";

export const LIST_LIMIT_MAX = 1000;

export interface ListQuery {
  /** Only sessions of this user. */
  readonly principal?: string;
  /** `next` of the page before. */
  readonly cursor?: string;
  /** 1..1000, default 100. */
  readonly limit?: number;
}

/** A session as it was at the moment of `find`. */
export interface FoundSession<Data extends object> extends SessionSummary {
  readonly version: string;
  keys(): string[];
  /** A fresh copy each time; changing it changes nothing. */
  get<K extends keyof Data & string>(name: K): Data[K] | undefined;
  /** Ends it everywhere. @returns false when it had ended already */
  destroy(): Promise<boolean>;
}

export class Admin<Data extends object> {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  async find(key: string): Promise<FoundSession<Data> | null> {
    if (typeof key !== "string" || !isSessionKey(key)) return null;
    const { codec, store } = this.#context.policy;
    const record = await this.#ask("find a session", (timeoutMs) => store.read(key, { timeoutMs }));
    if (record?.state !== "live") return null;
    return {
      ...summaryOf(record),
      version: formatVersion(record.version),
      keys: () => [...record.attributes.keys()].filter((name) => !isReserved(name)),
      get: <K extends keyof Data & string>(name: K) => {
        const attribute = record.attributes.get(name);
        const value = attribute && codec.decode(attribute.value, name);
        return value === REFUSED ? undefined : (value as Data[K] | undefined);
      },
      destroy: () => this.#destroy(key),
    };
  }

  async #destroy(key: SessionKey): Promise<boolean> {
    const { store } = this.#context.policy;
    const hasEnded = await this.#ask("end a session", (timeoutMs) => store.destroy(key, { timeoutMs }));
    if (hasEnded) this.#context.telemetry.count("destroyed");
    this.#context.ends.changed(key);
    return hasEnded;
  }

  async list({ principal, cursor, limit = 100 }: ListQuery = {}): Promise<SessionPage> {
    requirePrincipal(principal);
    if (!(Number.isInteger(limit) && limit >= 1 && limit <= LIST_LIMIT_MAX)) {
      throw invalidOption("limit", limit, `1..${LIST_LIMIT_MAX}`);
    }
    const store = this.#enumerable("list sessions");
    return this.#ask("list sessions", (timeoutMs) =>
      store.list({
        ...(principal === undefined ? {} : { principal }),
        ...(cursor === undefined ? {} : { cursor }),
        limit,
        timeoutMs,
      }),
    );
  }

  async count({ principal }: { readonly principal?: string } = {}): Promise<number> {
    requirePrincipal(principal);
    const store = this.#enumerable("count sessions");
    return this.#ask("count sessions", (timeoutMs) =>
      store.count({ ...(principal === undefined ? {} : { principal }), timeoutMs }),
    );
  }

  async endAll(
    principal: string,
    { except }: { readonly except?: Pick<Session, "id"> | string } = {},
  ): Promise<number> {
    if (principal === undefined || principal === null) throw invalidOption("principal", principal, "a user");
    requirePrincipal(principal);
    const kept = keyOf(except);
    const store = this.#enumerable("end all sessions of a user");
    const ended = await this.#ask("end all sessions of a user", (timeoutMs) =>
      store.endAll(principal, { ...(kept === null ? {} : { except: kept }), timeoutMs }),
    );
    this.#context.telemetry.count("destroyed", ended);
    this.#context.ends.changedOf(principal);
    return ended;
  }

  #enumerable(action: string): EnumerableStore {
    const { store } = this.#context.policy;
    if (isEnumerable(store)) return store;
    throw new SessionError(
      "NOT_ENUMERABLE",
      `Cannot ${action}: store "${store.name}" cannot look through its sessions`,
    );
  }

  /** Each call has a request's budget to itself. */
  #ask<T>(action: string, call: (timeoutMs: number) => Promise<T>): Promise<T> {
    const { clock, store, storeBudgetMs } = this.#context.policy;
    return new StoreBudget(clock, store.name, storeBudgetMs).wait(action, call);
  }
}

function keyOf(except: Pick<Session, "id"> | string | undefined): SessionKey | null {
  if (except === undefined) return null;
  if (typeof except === "string") {
    if (isSessionKey(except)) return except;
    // Guessing on would end the very session that was to be kept.
    throw invalidOption("except", "a text", "a session or its key");
  }
  return except.id === null ? null : sessionKeyOf(except.id as SessionId);
}
