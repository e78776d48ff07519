/**
 * What happened, as counters; and what an operator should hear of, said loudly but not a thousand times a second.
 * Neither ever holds a session id, an attribute value or a secret.
 */
import type { Clock } from "../core/clock.ts";

export type DiagnosticCode =
  /** No secret was configured: sessions end with this process. */
  | "SECRET_GENERATED"
  /** `cookie.secure` is on and the browser's connection is not: no session can begin. */
  | "COOKIE_NOT_SENT"
  /** A browser sent several id cookies: all were refused. */
  | "DUPLICATE_COOKIES"
  /** What a request had changed was not stored: it had no answer, or no commit, or its write waited too long. */
  | "CHANGES_DROPPED"
  /** TIME_BASED_WRITE keeps changes longer than it should, because the store failed. */
  | "WRITE_DELAYED"
  /** The idle deadline could not be moved after a response. */
  | "TOUCH_FAILED"
  /** A stored attribute does not fit the schema: it reads as absent. */
  | "STORED_VALUE_REFUSED";

export interface Diagnostic {
  readonly code: DiagnosticCode;
  /** For people. */
  readonly message: string;
  /** How many of the same code were kept back since the last one that was told. */
  readonly suppressed: number;
}

/** Each code is told at most once in this time. */
export const DIAGNOSTIC_INTERVAL_MS = 60_000;

/** Totals since `createSessions`. */
export interface SessionsStats {
  /** Store reads; requests that waited for the same read count once. */
  loads: number;
  /** Requests that found their session. */
  loaded: number;
  /** Sessions created, renewals not counted. */
  created: number;
  renewed: number;
  destroyed: number;
  /** Changes of existing sessions that were stored, those of `update` included. */
  commits: number;
  /** Lost races of `update`. */
  conflicts: number;
  /** Writes refused because the session had ended. */
  gone: number;
  touches: number;
  touchFailures: number;
  /** Requests whose store failed or was too late. */
  storeFailures: number;
  /** Requests whose changes were given up: no answer, no commit, or (each session once) a delayed write that came too late. */
  dropped: number;
  /** `set` and the like after the commit began. */
  lateWrites: number;
  /** Requests whose id cookie was malformed, forged or signed with a key that left. */
  rejectedCookies: number;
  /** Requests with more than one id cookie. */
  duplicateCookies: number;
  /** Requests whose well signed id the store does not know. */
  unknownIds: number;
  /** Cookies not sent because the connection is not secure. */
  cookiesNotSent: number;
}

export function newStats(): SessionsStats {
  return {
    loads: 0,
    loaded: 0,
    created: 0,
    renewed: 0,
    destroyed: 0,
    commits: 0,
    conflicts: 0,
    gone: 0,
    touches: 0,
    touchFailures: 0,
    storeFailures: 0,
    dropped: 0,
    lateWrites: 0,
    rejectedCookies: 0,
    duplicateCookies: 0,
    unknownIds: 0,
    cookiesNotSent: 0,
  };
}

export class Diagnostics {
  readonly #clock: Clock;
  readonly #tell: (event: Diagnostic) => void;
  readonly #told = new Map<DiagnosticCode, { atMs: number; suppressed: number }>();

  constructor(clock: Clock, tell: (event: Diagnostic) => void = warn) {
    this.#clock = clock;
    this.#tell = tell;
  }

  report(code: DiagnosticCode, message: string): void {
    const nowMs = this.#clock.monotonicMs();
    const last = this.#told.get(code);
    if (last && nowMs - last.atMs < DIAGNOSTIC_INTERVAL_MS) {
      last.suppressed++;
      return;
    }
    this.#told.set(code, { atMs: nowMs, suppressed: 0 });
    try {
      this.#tell({ code, message, suppressed: last?.suppressed ?? 0 });
    } catch {
      // A listener that throws must not cost a visitor the request.
    }
  }
}

function warn({ code, message, suppressed }: Diagnostic): void {
  const more = suppressed > 0 ? ` (and ${suppressed} more of these meanwhile)` : "";
  console.warn(`sojourn: ${message}${more} [${code}]`);
}
