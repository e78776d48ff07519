/**
 * The read-compute-write loop behind `session.update`. Updates of one attribute that this process has waiting run on each
 * other's results and are stored by one write: fifty parallel increments are two round trips, and only other processes
 * can win a race against them. Without a race an update is one round trip, because the first attempt trusts the copy that
 * the request has read; a conflict brings the newer value along.
 */
import { delay } from "../core/clock.ts";
import { SessionError } from "../core/errors.ts";
import type { SessionKey } from "../core/ids.ts";
import type { SessionDelta } from "../core/record.ts";
import type { Version } from "../core/version.ts";
import { inThisContext } from "../store/channels.ts";
import { type ApplyContext, applyDelta } from "./apply.ts";
import { type StoredAttribute, sameBytes } from "./attributes.ts";
import { StoreBudget } from "./budget.ts";

export const UPDATE_RACES_MAX = 10;
/** Losers try again at once, and only when it goes on pause: other processes are few, and so are their writes. */
const RACES_WITHOUT_PAUSE = 3;
const PAUSE_MS_MAX = 8;

export interface Update {
  readonly name: string;
  /** What the request believes to be stored. */
  readonly known: StoredAttribute | null;
  /** May run several times; what it throws, the update throws, and others go on without it. */
  readonly change: (current: Uint8Array | undefined) => Uint8Array | undefined;
  /** What goes along: the new idle deadline. */
  readonly delta: SessionDelta;
}

export interface Updated {
  readonly version: Version;
  readonly expiresAtMs: number;
  /** May hold more than this update: those that were stored with it. */
  readonly stored: StoredAttribute | null;
}

interface Waiting extends Update {
  isWanted: boolean;
  /** Runs what it is given in the context of the request that waits. */
  readonly within: (run: () => Promise<void>) => Promise<void>;
  readonly resolve: (result: Updated) => void;
  readonly reject: (error: unknown) => void;
}

export class Updates {
  readonly #context: ApplyContext;
  /** Sessions with an update under way, and those that wait for it. */
  readonly #lines = new Map<SessionKey, Waiting[]>();

  constructor(context: ApplyContext) {
    this.#context = context;
  }

  /**
   * @param budget  how long this request waits
   * @throws {SessionError} UPDATE_CONFLICT, SESSION_ENDED; whatever `update.change` throws
   */
  async update(key: SessionKey, update: Update, budget: StoreBudget): Promise<Updated> {
    let waiting: Waiting | undefined;
    const result = new Promise<Updated>((resolve, reject) => {
      waiting = { ...update, isWanted: true, within: inThisContext((run) => run()), resolve, reject };
    });
    const line = this.#lines.get(key);
    if (line) {
      line.push(waiting!);
    } else {
      this.#lines.set(key, [waiting!]);
      void this.#work(key);
    }
    try {
      return await budget.wait("update an attribute", () => result);
    } finally {
      // Nobody waits any more: what has not begun must not happen after the answer that says it failed.
      waiting!.isWanted = false;
    }
  }

  async #work(key: SessionKey): Promise<void> {
    const line = this.#lines.get(key)!;
    const known = new Map<string, StoredAttribute | null>();
    while (line.length > 0) {
      const { name } = line[0]!;
      const batch = line.filter((each) => each.name === name);
      line.splice(0, line.length, ...line.filter((each) => each.name !== name));
      try {
        await batch[0]!.within(() => this.#store(key, name, batch, known));
      } catch (error) {
        for (const each of batch) each.reject(error);
      }
    }
    this.#lines.delete(key);
  }

  /** @param latest  what this line has seen in the store; kept up to date */
  async #store(
    key: SessionKey,
    name: string,
    batch: readonly Waiting[],
    latest: Map<string, StoredAttribute | null>,
  ): Promise<void> {
    const { clock, store, storeBudgetMs } = this.#context.policy;
    const budget = new StoreBudget(clock, store.name, storeBudgetMs);
    for (let races = 0; ; ) {
      const seen = latest.get(name);
      const stored = seen === undefined ? batch[0]!.known : seen;
      const { bytes, taking } = computed(batch, stored?.value);
      if (taking.length === 0) return;
      const isChange = !sameBytes(bytes, stored?.value);
      const result = await applyDelta(this.#context, budget, key, {
        ...taking[0]!.delta,
        expect: new Map([[name, stored?.version ?? null]]),
        // Without a difference the expectation alone travels: "still so" must be as true as "now so".
        ...(isChange && bytes ? { set: new Map([[name, bytes]]) } : {}),
        ...(isChange && !bytes ? { delete: [name] } : {}),
      });
      if (result.status === "applied") {
        const { version, expiresAtMs } = result;
        const now = isChange ? (bytes ? { value: bytes, version } : null) : stored;
        latest.set(name, now);
        for (const each of taking) each.resolve({ version, expiresAtMs, stored: now });
        return;
      }
      this.#context.telemetry.count("conflicts");
      latest.set(name, result.current.attributes.get(name) ?? null);
      races++;
      const pauseMs =
        races < RACES_WITHOUT_PAUSE ? 0 : Math.min(2 ** (races - RACES_WITHOUT_PAUSE), PAUSE_MS_MAX);
      if (races >= UPDATE_RACES_MAX || budget.remainingMs() <= pauseMs) throw lost(name, races);
      if (pauseMs > 0) await budget.wait("update an attribute", () => delay(clock, pauseMs));
    }
  }
}

/** Runs the changes one on the result of the other; those that throw have changed nothing. */
function computed(batch: readonly Waiting[], start: Uint8Array | undefined) {
  let bytes = start;
  const taking: Waiting[] = [];
  for (const each of batch) {
    if (!each.isWanted) continue;
    try {
      bytes = each.change(bytes);
      taking.push(each);
    } catch (error) {
      each.isWanted = false;
      each.reject(error);
    }
  }
  return { bytes, taking };
}

function lost(name: string, races: number): SessionError {
  return new SessionError(
    "UPDATE_CONFLICT",
    `Cannot update attribute ${JSON.stringify(name.slice(0, 64))}: others wrote it first, ${races} times in a row`,
  );
}
