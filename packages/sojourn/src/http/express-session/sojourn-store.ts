/**
 * A Sojourn store as the store of the middleware: a request sends only the attributes it changed and the store merges
 * them, so parallel requests do not overwrite each other; and a session that was ended stays ended, whoever still writes.
 * How a session becomes attributes and back is `sojourn/connect`'s.
 */
import { systemClock } from "../../core/clock.ts";
import { touchSlackMs } from "../../core/deadline.ts";
import type { AnyConnectStore } from "../../drivers/connect/connect-contract.ts";
import { expressStore } from "../../drivers/connect/express-store.ts";
import { Diagnostics } from "../../sessions/diagnostics.ts";
import type { SessionStore } from "../../store/store.ts";
import type { Session } from "./session.ts";
import { Store, type StoredData } from "./store.ts";
import type { Done } from "./store-calls.ts";

export interface SojournStoreOptions {
  /**
   * Whose session it is, so that the store can list and end all sessions of a user: `(s) => s.passport?.user`. Null and
   * undefined: nobody's.
   */
  // biome-ignore lint/suspicious/noExplicitAny: the session's attributes, as the program declares them
  principal?: ((session: any) => string | null | undefined) | undefined;
  /** How long a session lives without a request when its cookie has no `maxAge`, in ms. Default one day. */
  browserSessionMs?: number | undefined;
  /** However busy, a session ends this long after it began, in ms. Default 400 days. */
  absoluteTimeoutMs?: number | undefined;
  /**
   * The express-session store of before: sessions are carried over from it when their visitors come, and ended in both.
   * Leave it out once the longest idle timeout has passed.
   */
  carryOver?: AnyConnectStore | undefined;
}

/** What connect-redis gives a session whose cookie ends with the browser. */
const BROWSER_SESSION_MS_DEFAULT = 24 * 3_600_000;
/** About 150 bytes each. Forgetting one costs at most one touch too many. */
const TOUCHES_MAX = 10_000;

export function isSojournStore(store: object): store is SessionStore {
  return ["read", "create", "apply", "supersede", "touch", "destroy"].every(
    (name) => typeof (store as Record<string, unknown>)[name] === "function",
  );
}

/** @throws {SessionError} INVALID_OPTION */
export function storeOver(sessions: SessionStore, options: SojournStoreOptions): Store {
  const { principal, browserSessionMs = BROWSER_SESSION_MS_DEFAULT, absoluteTimeoutMs, carryOver } = options;
  const store = expressStore(sessions, {
    Store: Store as unknown as abstract new () => Store,
    endedWrites: "error",
    browserSessionMs,
    ...(principal && { principal }),
    ...(carryOver && { carryOver }),
    ...(absoluteTimeoutMs !== undefined && { absoluteTimeoutMs }),
  }) as unknown as Store & { touch: NonNullable<Store["touch"]> };
  const due = new DueTouches(browserSessionMs);
  const diagnostics = new Diagnostics(systemClock);
  const { set, touch } = store;
  store.set = (sid: string, session: Session | StoredData, callback?: Done) => {
    set.call(store, sid, session, (error) => {
      if (!error) due.moved(sid, session);
      callback?.(error);
    });
  };
  // Rarely, and in nobody's way: a touch tells no visitor anything.
  store.touch = (sid: string, session: Session | StoredData, callback?: Done) => {
    if (due.isDue(sid, session)) {
      due.moved(sid, session);
      touch.call(store, sid, session, (error) => {
        if (!error) return;
        due.forget(sid);
        const found = error instanceof Error ? error.message : String(error);
        diagnostics.report("TOUCH_FAILED", `an idle deadline was not moved: ${found}`);
      });
    }
    callback?.();
  };
  return store;
}

/** Of many requests of a session, one in a tenth of its idle timeout, at most a minute, moves the deadline. */
class DueTouches {
  readonly #browserSessionMs: number;
  /** Session id → when this process last touched it, and the cookie's `maxAge` then; the longest known first. */
  readonly #touched = new Map<string, { readonly atMs: number; readonly idleMs: number }>();

  constructor(browserSessionMs: number) {
    this.#browserSessionMs = browserSessionMs;
  }

  isDue(sid: string, session: Session | StoredData): boolean {
    const last = this.#touched.get(sid);
    if (!last) return true;
    const idleMs = this.#idleMs(session);
    // Another `maxAge` is news for the store at once.
    if (Math.abs(last.idleMs - idleMs) >= 1000) return true;
    return systemClock.monotonicMs() - last.atMs >= touchSlackMs(idleMs);
  }

  /** The deadline was stored, or is on its way. */
  moved(sid: string, session: Session | StoredData): void {
    this.#touched.delete(sid);
    this.#touched.set(sid, { atMs: systemClock.monotonicMs(), idleMs: this.#idleMs(session) });
    if (this.#touched.size <= TOUCHES_MAX) return;
    for (const longestKnown of this.#touched.keys()) {
      this.#touched.delete(longestKnown);
      break;
    }
  }

  forget(sid: string): void {
    this.#touched.delete(sid);
  }
  #idleMs({ cookie }: Session | StoredData): number {
    return cookie.originalMaxAge ?? this.#browserSessionMs;
  }
}
