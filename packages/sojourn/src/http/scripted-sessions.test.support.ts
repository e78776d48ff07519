/**
 * For tests of this folder: sessions whose commit ends when and how the test says. Everything below the HTTP layer is
 * replaced here, so these tests say what adapters do with a scope, whatever store is behind it.
 */
import { SessionError } from "../core/errors.ts";
import type { SessionHolder } from "../sessions/create-sessions.ts";
import type { CommitOutcome, IncomingRequest, RequestScope } from "../sessions/scope.ts";
import type { Session } from "../sessions/session.ts";
import type { ScopeSource } from "./served.ts";

export const SID = "sid=signed-id; Path=/; HttpOnly; SameSite=Lax";
export const COMMITTED: CommitOutcome = { ok: true, setCookies: [SID] };
export const STORE_DOWN: CommitOutcome = {
  ok: false,
  status: 503,
  code: "STORE_UNAVAILABLE",
  headers: { "retry-after": "1" },
  setCookies: [],
};

export interface ScriptedSessions extends ScopeSource<Record<string, unknown>> {
  /** What every request asked for, in order of arrival. */
  readonly opened: readonly (IncomingRequest & { readonly closed: number })[];
  /** Resolves when a commit has begun and waits. */
  committing(): Promise<void>;
  /** Lets the commits that wait end so; then those to come. */
  finish(outcome: CommitOutcome): void;
  /** The next `session()` fails so. */
  failLoading(error: SessionError): void;
  /** What `attach` was told. */
  of(request: object): Promise<Session<Record<string, unknown>>>;
  reset(): void;
}

export function scriptedSessions(): ScriptedSessions {
  let opened: (IncomingRequest & { closed: number })[] = [];
  let outcome: CommitOutcome | undefined;
  let waiting: ((outcome: CommitOutcome) => void)[] = [];
  let watchers: (() => void)[] = [];
  let loadingError: SessionError | undefined;
  const holders = new WeakMap<object, SessionHolder<Record<string, unknown>>>();

  return {
    get opened() {
      return opened;
    },
    committing: () => new Promise((resolve) => (waiting.length > 0 ? resolve() : watchers.push(resolve))),
    finish(how) {
      outcome = how;
      for (const resolve of waiting.splice(0)) resolve(how);
    },
    failLoading(error) {
      loadingError = error;
    },
    reset() {
      opened = [];
      waiting = [];
      watchers = [];
      outcome = undefined;
      loadingError = undefined;
    },
    attach(request, holder) {
      holders.set(request, holder);
    },
    async of(request) {
      const holder = holders.get(request);
      if (holder) return holder.session();
      throw new Error("not attached");
    },
    open(request) {
      const entry = { ...request, closed: 0 };
      opened.push(entry);
      return scope(entry);
    },
  };

  function scope(entry: { closed: number }): RequestScope<Record<string, unknown>> {
    let dirty = false;
    let settled: Promise<CommitOutcome> | undefined;
    let known: CommitOutcome | undefined;
    const attributes = new Map<string, unknown>();
    const commit = (): Promise<CommitOutcome> => {
      settled ??= new Promise<CommitOutcome>((resolve) => {
        if (outcome !== undefined) return resolve(outcome);
        waiting.push(resolve);
        for (const watcher of watchers.splice(0)) watcher();
      }).then((how) => {
        known = how;
        return how;
      });
      return settled;
    };
    const session = {
      get: (name: string) => attributes.get(name),
      set(name: string, value: unknown) {
        if (settled) throw new SessionError("LATE_WRITE", `Cannot set "${name}": the commit has begun`);
        dirty = true;
        attributes.set(name, value);
      },
      async commit() {
        const { ok } = await commit();
        if (!ok) throw new SessionError("STORE_UNAVAILABLE", "Cannot commit: the store did not answer");
      },
    } as unknown as Session<Record<string, unknown>>;
    return {
      session: () => (loadingError ? Promise.reject(loadingError) : Promise.resolve(session)),
      settle: () => (dirty || settled ? commit() : undefined),
      outcome: () => known,
      close() {
        entry.closed += 1;
      },
    };
  }
}
