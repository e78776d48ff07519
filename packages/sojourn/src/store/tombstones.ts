/**
 * Remembers keys that were ended, so that no late writer creates them again: logout is final.
 *
 * 20 bytes each: 16 bytes of the key (a collision among 2^40 ended keys has odds below 2^-48) and the second until which
 * it is kept, in one open-addressed table per bucket. A million ended sessions cost about 40 MB as strings in a Map's
 * place, and every growth step copies one bucket, never everything. Nothing is dropped before its time.
 */
import type { SessionKey } from "../core/ids.ts";
import { BUCKETS, bucketOf } from "./buckets.ts";

/** 4 words of key prefix, 1 word of deadline. */
const SLOT_WORDS = 5;
export const TOMBSTONE_BYTES = SLOT_WORDS * 4;
const SLOTS_MIN = 8;
const LOAD_MAX = 0.75;
const EMPTY = new Uint32Array(0);

/** All times on the owner's monotonic clock, in ms ≥ 0. */
export class Tombstones {
  readonly #tables: Uint32Array[] = new Array<Uint32Array>(BUCKETS).fill(EMPTY);
  readonly #counts = new Uint32Array(BUCKETS);
  readonly #originMs: number;
  readonly #words = new Uint32Array(4);
  readonly #wordBytes = Buffer.from(this.#words.buffer);
  #size = 0;
  #bytes = 0;

  constructor(nowMs: number) {
    this.#originMs = nowMs;
  }

  /** Expired ones count until they are swept. */
  get size(): number {
    return this.#size;
  }

  /** What the tables occupy, free slots included. */
  get bytes(): number {
    return this.#bytes;
  }

  has(key: SessionKey, nowMs: number): boolean {
    const table = this.#tables[bucketOf(key)]!;
    if (table.length === 0) return false;
    const slot = this.#find(table, key);
    return table[slot + 4]! > this.#second(nowMs);
  }

  /** Keeps `key` at least until `untilMs`; an earlier moment than the one it has is ignored. */
  add(key: SessionKey, untilMs: number): void {
    const bucket = bucketOf(key);
    if ((this.#counts[bucket]! + 1) * SLOT_WORDS > this.#tables[bucket]!.length * LOAD_MAX) {
      this.#rebuild(bucket, this.#counts[bucket]! + 1, 0);
    }
    const table = this.#tables[bucket]!;
    const slot = this.#find(table, key);
    // Rounded up, and at least 1: second 0 marks a free slot.
    const second = this.#second(untilMs) + 1;
    if (table[slot + 4] === 0) {
      table.set(this.#words, slot);
      this.#counts[bucket]!++;
      this.#size++;
    }
    if (second > table[slot + 4]!) table[slot + 4] = second;
  }

  /** Forgets what is over in one bucket. */
  sweep(bucket: number, nowMs: number): void {
    const table = this.#tables[bucket]!;
    const second = this.#second(nowMs);
    let left = 0;
    for (let slot = 0; slot < table.length; slot += SLOT_WORDS) if (table[slot + 4]! > second) left++;
    if (left < this.#counts[bucket]!) this.#rebuild(bucket, left, second);
  }

  #second(timeMs: number): number {
    return Math.max(0, Math.floor((timeMs - this.#originMs) / 1000));
  }

  /** The slot that holds `key`, or the free one where it belongs. Leaves the key's prefix in `#words`. */
  #find(table: Uint32Array, key: SessionKey): number {
    // 22 characters are 132 bits; the write stops at 16 bytes.
    this.#wordBytes.write(key, 0, 16, "base64url");
    const [a, b, c, d] = this.#words as unknown as [number, number, number, number];
    const slots = table.length / SLOT_WORDS;
    let slot = (d % slots) * SLOT_WORDS;
    while (table[slot + 4] !== 0) {
      if (table[slot] === a && table[slot + 1] === b && table[slot + 2] === c && table[slot + 3] === d) break;
      slot += SLOT_WORDS;
      if (slot === table.length) slot = 0;
    }
    return slot;
  }

  /** Copies what is kept after `second` into a table with room for `count`. */
  #rebuild(bucket: number, count: number, second: number): void {
    const old = this.#tables[bucket]!;
    let slots = count === 0 ? 0 : SLOTS_MIN;
    while (count > slots * LOAD_MAX) slots *= 2;
    const table = slots === 0 ? EMPTY : new Uint32Array(slots * SLOT_WORDS);
    let kept = 0;
    for (let from = 0; from < old.length; from += SLOT_WORDS) {
      if (old[from + 4]! <= second) continue;
      let slot = (old[from + 3]! % slots) * SLOT_WORDS;
      while (table[slot + 4] !== 0) slot = slot + SLOT_WORDS === table.length ? 0 : slot + SLOT_WORDS;
      table.set(old.subarray(from, from + SLOT_WORDS), slot);
      kept++;
    }
    this.#tables[bucket] = table;
    this.#bytes += table.byteLength - old.byteLength;
    this.#size += kept - this.#counts[bucket]!;
    this.#counts[bucket] = kept;
  }
}
