/**
 * When a session ends for lack of activity, and when activity is worth a write.
 *
 * A touch on every request would be a write on every request. So the stored deadline carries a slack, and a
 * touch is due only once the slack is used up: the visitor always gets the whole idle timeout, and at most
 * the slack more.
 */
import type { SessionRecord } from "./record.ts";

const SLACK_MS_MAX = 60_000;
const SLACK_PART = 10;

/**
 * A new session lives at most this long until its cookie comes back once: a first request in parallel orphans
 * one.
 */
export const UNCONFIRMED_MS = 5 * 60_000;

/** How far a touch may be put off, in ms: a tenth of the idle timeout, at most a minute. */
export function touchSlackMs(idleMs: number): number {
  return Math.min(SLACK_MS_MAX, idleMs / SLACK_PART);
}

/** The idle deadline a store is given for activity at `nowMs`. */
export function storedDeadlineMs(nowMs: number, idleMs: number): number {
  return nowMs + idleMs + touchSlackMs(idleMs);
}

/**
 * True when the stored deadline no longer gives activity at `nowMs` its whole idle timeout, and a touch can
 * change that. Compares deadlines, not the time of the last touch: so an unconfirmed session is confirmed by
 * its first return, and servers whose idle timeouts differ agree.
 */
export function touchIsDue(
  record: Pick<SessionRecord, "expiresAtMs" | "absoluteExpiresAtMs">,
  nowMs: number,
  idleMs: number,
): boolean {
  return record.expiresAtMs < Math.min(nowMs + idleMs, record.absoluteExpiresAtMs);
}
