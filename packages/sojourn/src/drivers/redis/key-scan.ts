/**
 * The keys of all live sessions, in pages. SCAN finds every key that is there throughout, but some twice, in no order and per node;
 * pages need each once. So a scan's keys are put in order, and a page is what follows the last key of the page before.
 *
 * One scan serves many pages: its keys are kept for the next ones, at most `KEPT_MAX` of them. A cursor names the scan it
 * belongs to; in another process, or later, it leads to a scan of its own, which is as right and only slower.
 */
import type { Clock } from "../../core/clock.ts";
import { isSessionKey, type SessionKey } from "../../core/ids.ts";
import { invalidOption } from "../../store/check.ts";
import type { Calls } from "./calls.ts";
import type { Send } from "./port.ts";
import { textOf } from "./record.ts";

const COUNT_PER_STEP = "1000";
const KEPT_MAX = 20_000;
const KEPT_MS = 30_000;

interface Scan {
  readonly id: string;
  /** Ascending. */
  readonly keys: readonly SessionKey[];
  /** There may be more behind the last key. */
  readonly isCut: boolean;
  readonly atMs: number;
}

export interface KeyPage {
  readonly keys: readonly SessionKey[];
  readonly cursor: string | undefined;
}

export class KeyScan {
  readonly #calls: Calls;
  readonly #clock: Clock;
  readonly #prefix: string;
  #kept: Scan | undefined;

  constructor(calls: Calls, clock: Clock, prefix: string) {
    this.#calls = calls;
    this.#clock = clock;
    this.#prefix = prefix;
  }

  /** Up to `limit` keys behind the cursor. They may have ended meanwhile. */
  async page(cursor: string | undefined, limit: number, deadlineMs: number): Promise<KeyPage> {
    const [id, after] = cursor === undefined ? ["", ""] : parseCursor(cursor);
    let scan = this.#kept;
    const isUsable =
      scan !== undefined &&
      scan.id === id &&
      this.#clock.monotonicMs() - scan.atMs < KEPT_MS &&
      (!scan.isCut || after < (scan.keys.at(-1) ?? ""));
    if (!isUsable || scan === undefined) {
      scan = await this.#scan(after, deadlineMs);
      this.#kept = scan;
    }
    const first = firstBehind(scan.keys, after);
    const keys = scan.keys.slice(first, first + limit);
    const last = keys.at(-1);
    const isLast = first + limit >= scan.keys.length && !scan.isCut;
    return { keys, cursor: isLast || last === undefined ? undefined : `${scan.id}.${last}` };
  }

  async count(deadlineMs: number): Promise<number> {
    const keys = new Set<string>();
    await this.#everyKey(deadlineMs, (key) => keys.add(key));
    return keys.size;
  }

  async #scan(after: string, deadlineMs: number): Promise<Scan> {
    let keys: SessionKey[] = [];
    let isCut = false;
    const reduce = () => {
      keys = [...new Set(keys)].sort();
      if (keys.length > KEPT_MAX) {
        keys.length = KEPT_MAX;
        isCut = true;
      }
    };
    await this.#everyKey(deadlineMs, (key) => {
      if (key > after && keys.push(key) > 2 * KEPT_MAX) reduce();
    });
    reduce();
    const id = this.#clock.randomBytes(6).toString("base64url");
    return { id, keys, isCut, atMs: this.#clock.monotonicMs() };
  }

  /** Live sessions only: nothing else is a hash of such a name. */
  async #everyKey(deadlineMs: number, found: (key: SessionKey) => void): Promise<void> {
    const pattern = `${this.#prefix}:s:{*}`;
    const from = `${this.#prefix}:s:{`.length;
    const scanNode = async (send: Send) => {
      let cursor = "0";
      do {
        const command = ["SCAN", cursor, "MATCH", pattern, "COUNT", COUNT_PER_STEP, "TYPE", "hash"];
        const reply = await this.#calls.within(() => send(command), deadlineMs, "list sessions");
        const [next, names] = reply as [unknown, readonly unknown[]];
        for (const name of names) {
          const key = textOf(name).slice(from, -1);
          if (isSessionKey(key)) found(key);
        }
        cursor = textOf(next);
      } while (cursor !== "0");
    };
    const nodes = await this.#calls.nodes(deadlineMs, "list sessions");
    await Promise.all([...nodes.values()].map(scanNode));
  }
}

function parseCursor(cursor: string): [string, string] {
  const dot = cursor.indexOf(".");
  const after = cursor.slice(dot + 1);
  if (dot < 1 || !isSessionKey(after)) {
    throw invalidOption("list sessions", "the cursor is none that list gave");
  }
  return [cursor.slice(0, dot), after];
}

function firstBehind(keys: readonly SessionKey[], after: string): number {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) > after) high = middle;
    else low = middle + 1;
  }
  return low;
}
