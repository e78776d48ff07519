/**
 * Which writes a copy of a session contains.
 *
 * A scalar version is unsound across fail-over (the new primary issues 7 again, with other content) and with two writers
 * (9 of one side does not contain 8 of the other). So a version is a point (epoch, counter): an epoch is a random 64-bit
 * id minted when one member takes responsibility, never reused; the counter counts that epoch's commits to this session.
 * What a copy contains is its *lineage*: epoch → highest counter contained. Copies are prefix-closed, so covering is a
 * comparison of one number.
 *
 * Source: version vectors (Parker et al. 1983), with epochs in the place of replicas.
 */
import type { Clock } from "./clock.ts";

/** 16 lower-case hex characters, 64 random bits. */
export type Epoch = string & { readonly epoch: unique symbol };

/** One committed write of a session. */
export interface Version {
  readonly epoch: Epoch;
  /** 1, 2, 3 … within the epoch. */
  readonly counter: number;
}

export type Lineage = ReadonlyMap<Epoch, number>;

/** Older epochs can no longer be presented: their tokens have outlived any session. */
export const LINEAGE_EPOCHS_MAX = 8;

export function newEpoch(clock: Pick<Clock, "randomBytes">): Epoch {
  return clock.randomBytes(8).toString("hex") as Epoch;
}

/** True when a copy with this lineage contains the write `version`. */
export function covers(lineage: Lineage, version: Version): boolean {
  return (lineage.get(version.epoch) ?? 0) >= version.counter;
}

/** True when a copy with lineage `a` contains everything a copy with lineage `b` does. */
export function includes(a: Lineage, b: Lineage): boolean {
  for (const [epoch, counter] of b) if ((a.get(epoch) ?? 0) < counter) return false;
  return true;
}

/**
 * The lineage after the write `version`. The map keeps write order, so the newest epoch is last and pruning drops the
 * epoch that was written to longest ago.
 */
export function advance(lineage: Lineage, version: Version): Map<Epoch, number> {
  const next = new Map(lineage);
  next.delete(version.epoch);
  next.set(version.epoch, Math.max(version.counter, lineage.get(version.epoch) ?? 0));
  for (const epoch of next.keys()) {
    if (next.size <= LINEAGE_EPOCHS_MAX) break;
    next.delete(epoch);
  }
  return next;
}

/** What a copy merged from two contains: the larger counter of each epoch. */
export function join(a: Lineage, b: Lineage): Map<Epoch, number> {
  const joined = new Map(a);
  for (const [epoch, counter] of b) joined.set(epoch, Math.max(counter, joined.get(epoch) ?? 0));
  return joined;
}

/** `epoch.counter`, the opaque text form used in APIs and on pages. */
export function formatVersion(version: Version): string {
  return `${version.epoch}.${version.counter}`;
}

export function sameVersion(a: Version | null | undefined, b: Version | null | undefined): boolean {
  if (!a || !b) return !a && !b;
  return a.epoch === b.epoch && a.counter === b.counter;
}
