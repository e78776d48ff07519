/**
 * What happens to sessions, told once and heard in two ways: as totals (`sessions.stats()`) and as events on a channel of
 * `node:diagnostics_channel` each. One call does both, so that the two cannot say different things.
 *
 * An event says how often, in which sessions, on which store: never an id, a name or a value.
 */
import { channel } from "node:diagnostics_channel";
import { newStats, type SessionsStats } from "./diagnostics.ts";

export interface SessionEvent {
  /** The option `name` of `createSessions`. */
  readonly sessions: string;
  readonly store: string;
  /** Usually 1; ending all sessions of a principal ends several at once. */
  readonly count: number;
}

/**
 * Total → the event's word: it is told on `sojourn:session:<word>`, and counted by sojourn/metrics as
 * `sojourn_session_<word>_total`, with `_` for `-`. The words are API; their meanings stand at `SessionsStats`.
 */
export const SESSION_EVENTS = {
  loads: "read",
  loaded: "loaded",
  created: "created",
  renewed: "renewed",
  destroyed: "ended",
  commits: "committed",
  conflicts: "conflict",
  gone: "gone",
  touches: "touched",
  touchFailures: "touch-failed",
  storeFailures: "store-failed",
  dropped: "changes-dropped",
  lateWrites: "late-write",
  rejectedCookies: "cookie-rejected",
  duplicateCookies: "cookie-duplicate",
  unknownIds: "unknown",
  cookiesNotSent: "cookie-not-sent",
} as const satisfies Record<keyof SessionsStats, string>;

const CHANNELS = Object.fromEntries(
  Object.entries(SESSION_EVENTS).map(([total, word]) => [total, channel(`sojourn:session:${word}`)]),
) as Record<keyof SessionsStats, ReturnType<typeof channel>>;

export class Telemetry {
  readonly #totals = newStats();
  readonly #sessions: string;
  readonly #store: string;

  constructor(sessions: string, store: string) {
    this.#sessions = sessions;
    this.#store = store;
  }

  count(total: keyof SessionsStats, by = 1): void {
    if (by === 0) return;
    this.#totals[total] += by;
    const told = CHANNELS[total];
    if (!told.hasSubscribers) return;
    told.publish({ sessions: this.#sessions, store: this.#store, count: by } satisfies SessionEvent);
  }

  /** A copy. */
  totals(): SessionsStats {
    return { ...this.#totals };
  }
}
