/**
 * What this process knows of sessions that ended or were renewed. A `connect-*` store has no room for it: it forgets a
 * session that is destroyed, and a late writer could create it again. So a process refuses what it has ended itself; other
 * processes rely on the session being gone.
 */
import type { Clock } from "../../core/clock.ts";
import type { SessionKey } from "../../core/ids.ts";
import { BUCKETS } from "../../store/buckets.ts";
import { TOMBSTONE_MARGIN_MS, TOMBSTONE_MAX_MS, TOMBSTONE_UNKNOWN_MS } from "../../store/lives.ts";
import { Tombstones } from "../../store/tombstones.ts";
import type { Alias } from "./blob.ts";

export class Ended {
  readonly #clock: Clock;
  readonly #tombstones: Tombstones;
  /** Superseded keys whose snapshot is still read, and what ends them. */
  readonly #aliases = new Map<SessionKey, Alias>();
  readonly #predecessors = new Map<SessionKey, Set<SessionKey>>();
  #sweptBucket = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#tombstones = new Tombstones(clock.monotonicMs());
  }

  /** Nobody may read it any more. */
  has(key: SessionKey): boolean {
    return this.isTaken(key) && !this.#isReadable(key);
  }

  /** Nobody may write it any more. */
  isTaken(key: SessionKey): boolean {
    return this.#tombstones.has(key, this.#clock.monotonicMs());
  }

  /** @param absoluteExpiresAtMs  wall ms; undefined when nobody knows */
  add(key: SessionKey, absoluteExpiresAtMs: number | undefined): void {
    const nowMs = this.#clock.monotonicMs();
    const leftMs =
      absoluteExpiresAtMs === undefined
        ? TOMBSTONE_UNKNOWN_MS
        : absoluteExpiresAtMs - this.#clock.nowMs() + TOMBSTONE_MARGIN_MS;
    this.#tombstones.add(key, nowMs + Math.min(leftMs, TOMBSTONE_MAX_MS));
    this.#unlink(key);
    // One bucket a time keeps the table as small as a sweep of all would.
    this.#tombstones.sweep(this.#sweptBucket, nowMs);
    this.#sweptBucket = (this.#sweptBucket + 1) % BUCKETS;
  }

  /** From now on `key` only answers reads, until `alias.untilMs` or the end of `alias.successor`. */
  supersede(key: SessionKey, absoluteExpiresAtMs: number, alias: Alias): void {
    this.add(key, absoluteExpiresAtMs);
    this.#forgetOver();
    this.#aliases.set(key, alias);
    const known = this.#predecessors.get(alias.successor);
    if (known) known.add(key);
    else this.#predecessors.set(alias.successor, new Set([key]));
  }

  /** The superseded keys that end with `key`. */
  leadingTo(key: SessionKey): SessionKey[] {
    return [...(this.#predecessors.get(key) ?? [])];
  }

  #isReadable(key: SessionKey): boolean {
    const alias = this.#aliases.get(key);
    return alias !== undefined && this.#clock.nowMs() < alias.untilMs;
  }

  /** Aliases live for seconds, so the oldest are at the front. */
  #forgetOver(): void {
    const nowMs = this.#clock.nowMs();
    for (const [key, { untilMs }] of this.#aliases) {
      if (nowMs < untilMs) return;
      this.#unlink(key);
    }
  }

  #unlink(key: SessionKey): void {
    const alias = this.#aliases.get(key);
    if (!alias) return;
    this.#aliases.delete(key);
    const known = this.#predecessors.get(alias.successor);
    known?.delete(key);
    if (known?.size === 0) this.#predecessors.delete(alias.successor);
  }
}
