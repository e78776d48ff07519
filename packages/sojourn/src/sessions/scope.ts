/**
 * One request's view of its session: what an adapter in `http/` needs and no more. The scope knows cookies as header
 * text and nothing of any framework.
 *
 *   adapter                         scope                              store
 *   request arrives  ── open() ──►  verifies the cookie (no I/O)
 *   handler          ── session() ► loads at most once  ───── read ──►
 *   first held call  ── settle() ►  clean? ─ undefined: pass through
 *                                   dirty? ─ commits    ───── apply ─►
 *                    ◄─ outcome ──  Set-Cookie lines, or what to answer instead
 *   response over    ── close() ──► throttled touch     ───── touch ─►
 */
import type { ErrorCode } from "../core/errors.ts";
import type { Session } from "./session.ts";
import type { VisitOptions } from "./visit-options.ts";

export interface IncomingRequest {
  /** All `Cookie` headers joined with "; ", or undefined. */
  readonly cookie: string | undefined;
  /** The browser's connection is TLS (or a proxy the application trusts says so): secure cookies can be set. */
  readonly secure: boolean;
  /**
   * How long ago the request arrived, in ms, default 0: a scope may be opened late, when the session is first asked for.
   * A login counts as begun when its request began.
   */
  readonly ageMs?: number;
  /**
   * No response will follow that could carry a cookie: a message on an open WebSocket. What needs one, to begin a session
   * or to renew its id, throws LATE_WRITE. Default false.
   */
  readonly headersSent?: boolean;
}

export type CommitOutcome =
  | {
      readonly ok: true;
      /** Whole `Set-Cookie` values, usually none: the id cookie is sent once per id. */
      readonly setCookies: readonly string[];
    }
  | {
      readonly ok: false;
      readonly status: number;
      readonly code: ErrorCode;
      /** Extra headers of the answer that replaces the application's: `retry-after`. */
      readonly headers: Readonly<Record<string, string>>;
      /** Cookies of parts that did succeed (a session created before a later failure). */
      readonly setCookies: readonly string[];
    };

export interface RequestScope<Data extends object> {
  /**
   * Loads at most once per request; every call gives the same promise.
   *
   * @param options  for the whole request; what a later call says wins
   */
  session(options?: VisitOptions): Promise<Session<Data>>;
  /**
   * The response is about to begin. From the first call on `set`, `delete`, … throw LATE_WRITE.
   *
   * @returns undefined when there is nothing to wait for and nothing to add (no session, or a clean one); otherwise the
   *          remembered outcome of the one commit of this request, which never rejects
   */
  settle(): Promise<CommitOutcome> | undefined;
  /** What `settle` resolved to, once it has: after a commit a later error answer still carries the session's cookies. */
  outcome(): CommitOutcome | undefined;
  /**
   * The response is finished or its connection is gone. Changes that no answer ever settled are dropped and counted; a
   * commit under way goes on; a touch that is due happens now, off the response's path.
   */
  close(): void;
}
