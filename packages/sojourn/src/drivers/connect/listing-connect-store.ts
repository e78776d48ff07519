/**
 * A `connect-*` store with the method `all` can be looked through, at the price of reading every session each time: for
 * an operator's page, not for a request.
 */
import type { SessionKey } from "../../core/ids.ts";
import type { SessionRecord } from "../../core/record.ts";
import { invalidOption } from "../../store/check.ts";
import type {
  EnumerableStore,
  ListOptions,
  ReadOptions,
  SessionPage,
  WriteOptions,
} from "../../store/store.ts";
import { summaryOf } from "../../store/summary.ts";
import type { AnyConnectStore, ListingConnectStore } from "./connect-contract.ts";
import { ConnectStore, type ConnectStoreOptions } from "./connect-store.ts";
import { isListing } from "./limits.ts";

const LIST = "list sessions";
const COUNT = "count sessions";
const END_ALL = "end all sessions of a user";

/** Sessions that express-session wrote are not listed: they have no key, only an id that opens them. */
export class ListingStore extends ConnectStore implements EnumerableStore {
  readonly #store: ListingConnectStore;

  constructor(store: ListingConnectStore, options?: ConnectStoreOptions) {
    super(store, options);
    this.#store = store;
  }

  async list(options: ListOptions = {}): Promise<SessionPage> {
    const { principal, cursor = "", limit = 100 } = options;
    if (!(Number.isInteger(limit) && limit >= 1 && limit <= 1000)) {
      throw invalidOption(LIST, `the limit is ${limit}, expected 1..1000`);
    }
    return this.enter(LIST, options, async () => {
      const found = (await this.#records(LIST, principal))
        .filter(({ key }) => key > cursor)
        .sort((a, b) => (a.key < b.key ? -1 : 1));
      const sessions = found.slice(0, limit).map(summaryOf);
      return found.length > limit ? { sessions, next: sessions.at(-1)!.key } : { sessions };
    });
  }

  async count(options: ReadOptions & { readonly principal?: string } = {}): Promise<number> {
    return this.enter(COUNT, options, async () => (await this.#records(COUNT, options.principal)).length);
  }

  async endAll(
    principal: string,
    options?: WriteOptions & { readonly except?: SessionKey },
  ): Promise<number> {
    return this.write(END_ALL, principal, options, async () => {
      // First, so that whatever commits from now on is judged by it.
      const nowMs = this.clock.monotonicMs();
      this.endings.sweep(nowMs);
      this.endings.add(principal, nowMs);
      const ended = (await this.shelf.list(this.#store, END_ALL))
        .filter(({ record }) => record.principal === principal && record.key !== options?.except)
        .map(({ record: { key } }) => this.shelf.queue.run(key, () => this.#endIfStill(key, principal)));
      return (await Promise.all(ended)).filter(Boolean).length;
    });
  }

  /** @returns true when it was live: what a superseded id still shows ends too, and is not counted */
  async #endIfStill(key: SessionKey, principal: string): Promise<boolean> {
    const stored = await this.shelf.find(key, END_ALL);
    if (stored?.record.principal !== principal) return false;
    await this.shelf.end(key, stored.record.absoluteExpiresAtMs, END_ALL);
    return !stored.alias;
  }

  async #records(action: string, principal: string | undefined): Promise<SessionRecord[]> {
    const stored = await this.shelf.list(this.#store, action);
    return stored
      .filter(({ alias, record }) => !alias && (principal === undefined || record.principal === principal))
      .map(({ record }) => record);
  }
}

/**
 * Any `connect-*` store of express-session as a Sojourn store.
 *
 * @param store  an instance: `new RedisStore({ client })`, `new (memorystore(session))()`. With a method `all` the result
 *               can also list, count and end by user
 * @throws {SessionError} INVALID_OPTION
 */
export function connectStore(store: ListingConnectStore, options?: ConnectStoreOptions): ListingStore;
export function connectStore(store: AnyConnectStore, options?: ConnectStoreOptions): ConnectStore;
export function connectStore(store: AnyConnectStore, options: ConnectStoreOptions = {}): ConnectStore {
  for (const method of ["get", "set", "destroy"] as const) {
    if (typeof store?.[method] === "function") continue;
    const found = typeof store === "function" ? "a class or factory" : `no method ${method}`;
    throw invalidOption(
      "use a connect store",
      `found ${found}, expected an instance, such as new RedisStore(…)`,
    );
  }
  return isListing(store) ? new ListingStore(store, options) : new ConnectStore(store, options);
}

/** Names a session of express-session by its id, for `connectStore(…).read(…)` and the like. */
export function connectKey(id: string): SessionKey {
  return id as SessionKey;
}
