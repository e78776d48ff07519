/** Looking through the store: metadata of those that live, a page at a time or counted. */
import type { Clock } from "../../core/clock.ts";
import { isSessionKey, type SessionKey } from "../../core/ids.ts";
import { invalidOption } from "../../store/check.ts";
import type { ListOptions, ReadOptions, SessionPage, SessionSummary } from "../../store/store.ts";
import type { Calls } from "./calls.ts";
import { type KeyPage, KeyScan } from "./key-scan.ts";
import type { Principals } from "./principals.ts";
import { summaryOf } from "./record.ts";
import { SUMMARY, sessionName } from "./scripts.ts";
import type { Times } from "./times.ts";

/** Looking through a server takes as long as it is large; with `timeoutMs`, as long as its caller waits. */
const LIST_TIMEOUT_MS_DEFAULT = 10_000;
const AT_ONCE = 500;

export class Listing {
  readonly #calls: Calls;
  readonly #clock: Clock;
  readonly #times: Times;
  readonly #principals: Principals;
  readonly #prefix: string;
  readonly #scan: KeyScan;

  constructor(calls: Calls, clock: Clock, times: Times, principals: Principals, prefix: string) {
    this.#calls = calls;
    this.#clock = clock;
    this.#times = times;
    this.#principals = principals;
    this.#prefix = prefix;
    this.#scan = new KeyScan(calls, clock, prefix);
  }

  async list(options: ListOptions): Promise<SessionPage> {
    const { principal, cursor, limit = 100 } = options;
    if (!(Number.isInteger(limit) && limit >= 1 && limit <= 1000)) {
      throw invalidOption("list sessions", `the limit is ${limit}, expected 1..1000`);
    }
    const deadlineMs = this.#deadline(options);
    const members = principal === undefined ? undefined : await this.#members(principal, deadlineMs);
    const sessions: SessionSummary[] = [];
    let next = cursor;
    do {
      const wanted = limit - sessions.length;
      const page = members ? pageOf(members, next, wanted) : await this.#scan.page(next, wanted, deadlineMs);
      sessions.push(...(await this.#summaries(page.keys, principal, deadlineMs)));
      next = page.cursor;
      // Those that ended since the scan leave room for others.
    } while (next !== undefined && sessions.length < limit);
    return next === undefined ? { sessions } : { sessions, next };
  }

  async count(options: ReadOptions & { readonly principal?: string }): Promise<number> {
    const deadlineMs = this.#deadline(options);
    const { principal } = options;
    if (principal === undefined) return this.#scan.count(deadlineMs);
    const members = await this.#members(principal, deadlineMs);
    return (await this.#summaries(members, principal, deadlineMs)).length;
  }

  #deadline(options: ReadOptions): number {
    return this.#clock.monotonicMs() + (options.timeoutMs ?? LIST_TIMEOUT_MS_DEFAULT);
  }

  async #members(principal: string, deadlineMs: number): Promise<SessionKey[]> {
    const timeoutMs = deadlineMs - this.#clock.monotonicMs();
    return (await this.#principals.members(principal, { timeoutMs })).sort();
  }

  /** Of those that live, and belong to the principal if one is given. */
  async #summaries(
    keys: readonly SessionKey[],
    principal: string | undefined,
    deadlineMs: number,
  ): Promise<SessionSummary[]> {
    const found = await inTurn(keys, async (key) => {
      const work = {
        script: SUMMARY,
        key: sessionName(this.#prefix, key),
        head: "",
        action: "list sessions",
      };
      const timeoutMs = deadlineMs - this.#clock.monotonicMs();
      const { reply, clock } = await this.#calls.run(work, { timeoutMs });
      return summaryOf(key, reply, this.#times.toLocal(clock));
    });
    return found.filter((summary): summary is SessionSummary => {
      return summary !== null && (principal ?? summary.principal) === summary.principal;
    });
  }
}

/** At most so many under way: a large principal must not push others out. */
export async function inTurn<T>(
  keys: readonly SessionKey[],
  act: (key: SessionKey) => Promise<T>,
): Promise<T[]> {
  const results: T[] = [];
  for (let from = 0; from < keys.length; from += AT_ONCE) {
    results.push(...(await Promise.all(keys.slice(from, from + AT_ONCE).map(act))));
  }
  return results;
}

function pageOf(keys: readonly SessionKey[], after: string | undefined, limit: number): KeyPage {
  if (after !== undefined && !isSessionKey(after)) {
    throw invalidOption("list sessions", "the cursor is none that list gave");
  }
  const rest = after === undefined ? keys : keys.filter((key) => key > after);
  return { keys: rest.slice(0, limit), cursor: rest.length > limit ? rest[limit - 1] : undefined };
}
