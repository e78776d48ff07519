/**
 * The store of before, for a change of stores that logs nobody out: a session that the new store does not know yet is
 * taken from here when its visitor comes. It stays here as it was, for servers that have not changed yet; ended here and
 * there alike, so that neither way back brings it to life.
 */
import { asked } from "./calls.ts";
import type { AnyConnectStore, ConnectSession } from "./connect-contract.ts";

const NAME = "the one sessions are carried over from";

export class CarryOver {
  readonly #from: AnyConnectStore;

  constructor(from: AnyConnectStore) {
    this.#from = from;
  }

  /** Null when it is not there either. */
  async take(id: string): Promise<ConnectSession | null> {
    const session = await asked<unknown>(NAME, "read a session", (done) => this.#from.get(id, done));
    const isSession = typeof session === "object" && session !== null && "cookie" in session;
    return isSession ? (session as ConnectSession) : null;
  }

  async end(id: string): Promise<void> {
    await asked(NAME, "end a session", (done) => this.#from.destroy(id, done));
  }
}

export function isConnectStore(store: unknown): store is AnyConnectStore {
  const methods = store as Record<string, unknown> | null | undefined;
  return ["get", "set", "destroy"].every((name) => typeof methods?.[name] === "function");
}
