/**
 * Who lives, who was superseded, who ended: the one place where a resident session goes away. memory.ts decides what a
 * call means; this file keeps what must always hold:
 * - past its deadline a session is gone at the next look, whether or not the sweep has come by;
 * - whatever ends leaves a tombstone, and takes the superseded ids that lead to it along;
 * - an expiry is silent and leaves none, except that a superseded id never becomes free again.
 *
 * All times monotonic ms.
 */
import type { SessionKey } from "../core/ids.ts";
import { BUCKETS } from "./buckets.ts";
import { type ExpiredEvent, expiredChannel } from "./channels.ts";
import { type Alias, goneAtMs, type Resident } from "./resident.ts";
import { Residents } from "./residents.ts";
import { Tombstones } from "./tombstones.ts";
import type { Watchers } from "./watchers.ts";

const HOUR_MS = 3_600_000;
/** A late writer with a slow clock is still refused this long after the session could have lived. */
export const TOMBSTONE_MARGIN_MS = HOUR_MS;
/** Of a key whose absolute deadline nobody knows: the default absolute timeout, and the margin. */
export const TOMBSTONE_UNKNOWN_MS = 12 * HOUR_MS + TOMBSTONE_MARGIN_MS;
export const TOMBSTONE_MAX_MS = 30 * 24 * HOUR_MS;

/** One slice of sweeping visits about this many sessions: well under a millisecond. */
const SWEEP_SLICE_SESSIONS = 2_000;

export class Lives {
  readonly residents = new Residents();
  readonly tombstones: Tombstones;
  readonly totals = { expired: 0, ended: 0 };
  readonly #watchers: Watchers;
  /** Successor → the superseded keys that end with it, whether it was created yet or not. */
  readonly #predecessors = new Map<SessionKey, Set<SessionKey>>();
  #sweptBucket = 0;

  constructor(watchers: Watchers, nowMs: number) {
    this.#watchers = watchers;
    this.tombstones = new Tombstones(nowMs);
  }

  /** Live or superseded. */
  find(key: SessionKey, nowMs: number): Resident | undefined {
    const resident = this.residents.get(key);
    if (!resident || nowMs < goneAtMs(resident)) return resident;
    this.#expire(resident, nowMs);
    return undefined;
  }

  findLive(key: SessionKey, nowMs: number): Resident | undefined {
    const resident = this.find(key, nowMs);
    return resident?.alias ? undefined : resident;
  }

  /** In use, or ended and therefore never free again. */
  isTaken(key: SessionKey, nowMs: number): boolean {
    return this.find(key, nowMs) !== undefined || this.tombstones.has(key, nowMs);
  }

  /** Ends for good, with every superseded id that leads here. */
  end(resident: Resident, nowMs: number): void {
    // A worklist, because a client that renews in a loop builds a chain as long as it likes.
    const ending = [resident];
    for (let next = ending.pop(); next; next = ending.pop()) {
      this.#remove(next);
      this.#entomb(next, nowMs);
      this.totals.ended++;
      this.#watchers.changed(next.key);
      ending.push(...this.#leadingTo(next.key));
    }
  }

  /** Remembers the end of a key that holds nothing. */
  bury(key: SessionKey, nowMs: number): void {
    this.tombstones.add(key, nowMs + TOMBSTONE_UNKNOWN_MS);
    this.#watchers.changed(key);
    for (const resident of this.#leadingTo(key)) this.end(resident, nowMs);
  }

  /** From now on `resident` only answers reads, until `alias.untilMs` or the end of `alias.successor`. */
  supersede(resident: Resident, alias: Alias): void {
    this.#unlink(resident);
    resident.alias = alias;
    const known = this.#predecessors.get(alias.successor);
    if (known) known.add(resident.key);
    else this.#predecessors.set(alias.successor, new Set([resident.key]));
  }

  /** Frees what is over in the next few buckets. @returns true when it reached the last one */
  sweepSlice(nowMs: number): boolean {
    let visited = 0;
    while (this.#sweptBucket < BUCKETS && visited < SWEEP_SLICE_SESSIONS) {
      const bucket = this.residents.bucket(this.#sweptBucket);
      visited += bucket.size;
      for (const resident of bucket.values()) if (goneAtMs(resident) <= nowMs) this.#expire(resident, nowMs);
      this.tombstones.sweep(this.#sweptBucket, nowMs);
      this.#sweptBucket++;
    }
    if (this.#sweptBucket < BUCKETS) return false;
    this.#sweptBucket = 0;
    return true;
  }

  clear(): void {
    this.residents.clear();
    this.#predecessors.clear();
  }

  /** Takes nobody along: an id that leads here has a grace of its own, and the moment of a sweep must not be seen. */
  #expire(resident: Resident, nowMs: number): void {
    this.#remove(resident);
    this.totals.expired++;
    if (expiredChannel.hasSubscribers) {
      expiredChannel.publish({ store: "memory", count: 1 } satisfies ExpiredEvent);
    }
    if (!resident.alias) return;
    this.#entomb(resident, nowMs);
    this.#watchers.changed(resident.key);
  }

  #entomb(resident: Resident, nowMs: number): void {
    const untilMs = resident.absoluteExpiresAtMs + TOMBSTONE_MARGIN_MS;
    this.tombstones.add(resident.key, Math.min(untilMs, nowMs + TOMBSTONE_MAX_MS));
  }

  #remove(resident: Resident): void {
    this.#unlink(resident);
    this.residents.remove(resident);
  }

  #leadingTo(successor: SessionKey): Resident[] {
    const keys = [...(this.#predecessors.get(successor) ?? [])];
    return keys.map((key) => this.residents.get(key)).filter((resident) => resident !== undefined);
  }

  #unlink(resident: Resident): void {
    if (!resident.alias) return;
    const { successor } = resident.alias;
    const known = this.#predecessors.get(successor);
    known?.delete(resident.key);
    if (known?.size === 0) this.#predecessors.delete(successor);
  }
}
