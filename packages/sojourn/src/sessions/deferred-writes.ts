/**
 * writeFrequency TIME_BASED_WRITE: commits are kept in this process, one merged delta for each session, and written when
 * the oldest of its changes is `writeIntervalMs` old. Requests on this server see them at once, laid over what the store
 * gives; other servers see them when they are written; a process that is killed loses them. docs/policies.md says so.
 *
 * Bounded: without room for one more, a commit writes at once as without this policy, and everything kept follows.
 */
import { delay, type Timer } from "../core/clock.ts";
import { isSessionError } from "../core/errors.ts";
import type { SessionKey } from "../core/ids.ts";
import type { Attribute, SessionRecord } from "../core/record.ts";
import { covers, type Version } from "../core/version.ts";
import { type ApplyContext, applyDelta } from "./apply.ts";
import type { Changes } from "./attributes.ts";
import { StoreBudget } from "./budget.ts";

export const DEFERRED_SESSIONS_MAX = 10_000;
export const DEFERRED_BYTES_MAX = 64 * 1024 * 1024;
/** A store that was just away is asked again this much later. */
const RETRY_MS = 5_000;
const RETRY_ON_CLOSE_MS = 250;
/** Stopping servers are killed after 10 s by most supervisors. */
const CLOSE_MS_MAX = 5_000;
const WRITES_AT_ONCE = 16;

interface Kept {
  readonly set: Map<string, Uint8Array>;
  readonly delete: Set<string>;
  expiresAtMs: number | undefined;
  bytes: number;
  /** On the monotonic clock. */
  dueAtMs: number;
  /** The commit that stored it. */
  written: Version | undefined;
}

interface Writing {
  readonly kept: Kept;
  /** Never rejects. */
  readonly over: Promise<void>;
}

/** Adds what this server keeps to a record that the store has given. */
export type LaidOver = (record: SessionRecord) => SessionRecord;

export class DeferredWrites {
  readonly #context: ApplyContext;
  /** Longest kept first. */
  readonly #waiting = new Map<SessionKey, Kept>();
  readonly #writing = new Map<SessionKey, Writing>();
  #bytes = 0;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(context: ApplyContext) {
    this.#context = context;
  }

  /** @returns false when it must be written at once: no room, or this server is stopping */
  keep(key: SessionKey, changes: Changes, expiresAtMs: number | undefined): boolean {
    const { policy } = this.#context;
    if (this.#isClosed) return false;
    if (this.#isFull()) {
      this.#writeSoon(0);
      return false;
    }
    let kept = this.#waiting.get(key);
    if (!kept) {
      kept = newKept(policy.clock.monotonicMs() + policy.writeIntervalMs);
      this.#waiting.set(key, kept);
    }
    this.#bytes += add(kept, changes, expiresAtMs);
    this.#timer ??= this.#timerFor(policy.writeIntervalMs);
    return true;
  }

  /**
   * Ask before reading, apply to what was read. What is written while the read is under way is laid over too, unless the
   * record contains it: otherwise a request could miss what an earlier one on this server was told.
   */
  over(key: SessionKey): LaidOver {
    const before = this.#keptOf(key);
    return (record) => {
      let attributes: Map<string, Attribute> | undefined;
      for (const kept of new Set([...before, ...this.#keptOf(key)])) {
        if (kept.written && covers(record.lineage, kept.written)) continue;
        attributes ??= new Map(record.attributes);
        for (const name of kept.delete) attributes.delete(name);
        for (const [name, value] of kept.set) {
          // Its own version comes when it is written: until then an `update` of it loses one race.
          const { version, stamp } = attributes.get(name) ?? record;
          attributes.set(name, { value, version, stamp });
        }
      }
      return attributes ? { ...record, attributes } : record;
    };
  }

  /** Writes now what is kept of this session. @throws {SessionError} as a commit does; what could not be written is kept */
  async write(key: SessionKey, budget: StoreBudget): Promise<void> {
    for (;;) {
      const writing = this.#writing.get(key);
      if (!writing) break;
      await budget.wait("change a session", () => writing.over);
    }
    const kept = this.#waiting.get(key);
    if (kept) await this.#write(key, kept, budget);
  }

  /** The session has ended, and what is kept of it with it. */
  forget(key: SessionKey): void {
    const kept = this.#waiting.get(key);
    if (!kept) return;
    this.#waiting.delete(key);
    this.#bytes -= kept.bytes;
  }

  /** Keeps no more and writes everything, trying again while there is time; what is left then is lost and counted. */
  async close(): Promise<void> {
    const { clock } = this.#context.policy;
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#running;
    const untilMs = clock.monotonicMs() + CLOSE_MS_MAX;
    while (!(await this.#writeDue(Number.POSITIVE_INFINITY, untilMs))) {
      if (clock.monotonicMs() + RETRY_ON_CLOSE_MS >= untilMs) break;
      await delay(clock, RETRY_ON_CLOSE_MS);
    }
    const lost = this.#waiting.size;
    this.#waiting.clear();
    if (lost > 0) this.#dropped(lost, "the store could not be reached before this process ended");
  }

  #isFull(): boolean {
    return this.#waiting.size >= DEFERRED_SESSIONS_MAX || this.#bytes >= DEFERRED_BYTES_MAX;
  }

  #keptOf(key: SessionKey): Kept[] {
    return [this.#writing.get(key)?.kept, this.#waiting.get(key)].filter((kept) => kept !== undefined);
  }

  #timerFor(ms: number): Timer {
    return this.#context.policy.clock.setTimer(() => {
      this.#timer = undefined;
      this.#running ??= this.#run().finally(() => {
        this.#running = undefined;
      });
    }, ms);
  }

  #writeSoon(ms: number): void {
    this.#timer?.cancel();
    this.#timer = this.#isClosed ? undefined : this.#timerFor(ms);
  }

  async #run(): Promise<void> {
    const { clock } = this.#context.policy;
    // Full: everything goes, not only what is due.
    const isDone = await this.#writeDue(this.#isFull() ? Number.POSITIVE_INFINITY : clock.monotonicMs());
    const [next] = this.#waiting.values();
    if (!next) return;
    this.#writeSoon(isDone ? Math.max(0, next.dueAtMs - clock.monotonicMs()) : RETRY_MS);
  }

  /** @returns false when the store failed: the rest waits. */
  async #writeDue(dueAtMs: number, untilMs = Number.POSITIVE_INFINITY): Promise<boolean> {
    const { clock, store, storeBudgetMs } = this.#context.policy;
    const due = [...this.#waiting].filter(([, kept]) => kept.dueAtMs <= dueAtMs).map(([key]) => key);
    let isWell = true;
    const worker = async () => {
      for (let key = due.pop(); key !== undefined && isWell; key = due.pop()) {
        const leftMs = untilMs - clock.monotonicMs();
        if (leftMs < 1) return;
        try {
          await this.write(key, new StoreBudget(clock, store.name, Math.min(storeBudgetMs, leftMs)));
        } catch (error) {
          isWell &&= isSessionError(error) && error.code === "SESSION_ENDED";
        }
      }
    };
    due.reverse();
    await Promise.all(Array.from({ length: WRITES_AT_ONCE }, worker));
    return isWell && due.length === 0;
  }

  async #write(key: SessionKey, kept: Kept, budget: StoreBudget): Promise<void> {
    this.#waiting.delete(key);
    const result = this.#store(key, kept, budget);
    const over = result.catch(() => {});
    this.#writing.set(key, { kept, over });
    await result;
  }

  async #store(key: SessionKey, kept: Kept, budget: StoreBudget): Promise<void> {
    const { set, delete: deleted, expiresAtMs } = kept;
    try {
      const result = await applyDelta(this.#context, budget, key, {
        set,
        delete: deleted,
        ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
      });
      // Nothing is expected, so nothing conflicts.
      if (result.status === "applied") kept.written = result.version;
      this.#bytes -= kept.bytes;
    } catch (error) {
      this.#bytes -= kept.bytes;
      if (isSessionError(error) && error.code === "SESSION_ENDED") this.#dropped(1, "the session had ended");
      else this.#keepAgain(key, kept, error);
      throw error;
    } finally {
      this.#writing.delete(key);
    }
  }

  /** Under what was changed meanwhile. */
  #keepAgain(key: SessionKey, kept: Kept, error: unknown): void {
    const { policy } = this.#context;
    const newer = this.#waiting.get(key);
    if (newer) {
      this.#bytes -= newer.bytes;
      add(kept, newer, newer.expiresAtMs);
    }
    this.#waiting.set(key, kept);
    this.#bytes += kept.bytes;
    policy.diagnostics.report(
      "WRITE_DELAYED",
      `changes are kept in this process longer than writeIntervalMs: ${error instanceof Error ? error.message : "the store failed"}`,
    );
  }

  #dropped(count: number, because: string): void {
    const { policy, telemetry } = this.#context;
    telemetry.count("dropped", count);
    policy.diagnostics.report("CHANGES_DROPPED", `changes that waited to be written were lost: ${because}`);
  }
}

function newKept(dueAtMs: number): Kept {
  return { set: new Map(), delete: new Set(), expiresAtMs: undefined, bytes: 0, dueAtMs, written: undefined };
}

/** The newer change of an attribute takes the place of the older one. @returns by how many bytes of values it grew */
function add(kept: Kept, changes: Changes, expiresAtMs: number | undefined): number {
  const before = kept.bytes;
  for (const name of changes.delete) {
    kept.bytes -= sizeOf(name, kept.set.get(name));
    kept.set.delete(name);
    kept.delete.add(name);
  }
  for (const [name, value] of changes.set) {
    kept.bytes += sizeOf(name, value) - sizeOf(name, kept.set.get(name));
    kept.set.set(name, value);
    kept.delete.delete(name);
  }
  if (expiresAtMs !== undefined) kept.expiresAtMs = Math.max(kept.expiresAtMs ?? 0, expiresAtMs);
  return kept.bytes - before;
}

function sizeOf(name: string, value: Uint8Array | undefined): number {
  return value === undefined ? 0 : Buffer.byteLength(name) + value.byteLength;
}
