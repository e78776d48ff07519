/**
 * Moves idle deadlines after responses, rarely and never in anybody's way. Remembers what it and commits have moved, so
 * of twenty parallel requests that all read the old deadline only the first touches.
 */
import { storedDeadlineMs, touchIsDue } from "../core/deadline.ts";
import type { SessionKey } from "../core/ids.ts";
import type { SessionRecord } from "../core/record.ts";
import type { SessionStore } from "../store/store.ts";
import { storeFault } from "./budget.ts";
import type { Diagnostics } from "./diagnostics.ts";
import type { Policy } from "./options.ts";
import type { Telemetry } from "./telemetry.ts";

/** About 150 bytes each. Forgetting one costs at most one touch too many. */
const DEADLINES_MAX = 10_000;

export class Touches {
  readonly #policy: Policy;
  readonly #store: SessionStore;
  readonly #telemetry: Telemetry;
  readonly #diagnostics: Diagnostics;
  /** Deadlines known to be stored or on their way, the longest known first. */
  readonly #deadlines = new Map<SessionKey, number>();
  readonly #running = new Set<Promise<void>>();
  #isClosed = false;

  constructor(policy: Policy, telemetry: Telemetry, diagnostics: Diagnostics) {
    this.#policy = policy;
    this.#store = policy.store;
    this.#telemetry = telemetry;
    this.#diagnostics = diagnostics;
  }

  /** A commit or an explicit touch has moved the deadline. */
  moved(key: SessionKey, expiresAtMs: number): void {
    this.#deadlines.delete(key);
    this.#deadlines.set(key, expiresAtMs);
    if (this.#deadlines.size <= DEADLINES_MAX) return;
    for (const longestKnown of this.#deadlines.keys()) {
      this.#deadlines.delete(longestKnown);
      break;
    }
  }

  /**
   * The request that read this is over.
   *
   * @param activeAtMs  when the visitor was active: now. After a passive request the beginning of the session, because
   *                    the id coming back confirms a session also then, and gives it the idle time it began with
   */
  requestOver(
    record: Pick<SessionRecord, "key" | "state" | "expiresAtMs" | "absoluteExpiresAtMs">,
    activeAtMs: number,
  ): void {
    if (this.#isClosed || record.state === "superseded") return;
    const { idleTimeoutMs } = this.#policy;
    // What the request has read says "not due" nearly always; otherwise another may have touched since.
    if (!touchIsDue(record, activeAtMs, idleTimeoutMs)) return;
    const { absoluteExpiresAtMs } = record;
    const expiresAtMs = this.#deadlines.get(record.key) ?? 0;
    if (!touchIsDue({ expiresAtMs, absoluteExpiresAtMs }, activeAtMs, idleTimeoutMs)) return;
    const deadlineMs = Math.min(storedDeadlineMs(activeAtMs, idleTimeoutMs), record.absoluteExpiresAtMs);
    this.moved(record.key, deadlineMs);
    const running = this.#touch(record.key, deadlineMs).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #touch(key: SessionKey, deadlineMs: number): Promise<void> {
    try {
      await this.#store.touch(key, deadlineMs, { timeoutMs: this.#policy.storeBudgetMs });
      this.#telemetry.count("touches");
    } catch (error) {
      this.#telemetry.count("touchFailures");
      // The next request tries again.
      if (this.#deadlines.get(key) === deadlineMs) this.#deadlines.delete(key);
      const fault = storeFault(error, this.#store.name, "move an idle deadline");
      this.#diagnostics.report("TOUCH_FAILED", fault.message);
    }
  }

  /** Begins no more, and waits for those under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#running);
  }
}
