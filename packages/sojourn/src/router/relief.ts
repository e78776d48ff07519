/**
 * Remembers which sessions hot-spot relief has moved, so that a session moves at most once within the hold time and its
 * parallel requests, still carrying the old cookie, follow it.
 *
 * Bounded: when full, nothing moves until the oldest entry is over. Forgetting early would break the promise; moving a
 * little later breaks nothing. Keys are 32-bit hashes: two sessions that share one count as one, which is harmless.
 */
import type { Move } from "./decision.ts";

/** As long as the rates need to show what the last window did. */
export const RELIEF_WINDOW_MS = 10_000;

/** About 100 bytes each. */
export const MOVES_MAX = 50_000;

export class MoveMemory {
  // Insertion order is time order: a key is never written again while it is held.
  readonly #moves = new Map<number, Move & { readonly untilMs: number }>();
  readonly #holdMs: number;
  readonly #movesMax: number;

  constructor(holdMs: number, movesMax: number = MOVES_MAX) {
    this.#holdMs = holdMs;
    this.#movesMax = movesMax;
  }

  get size(): number {
    return this.#moves.size;
  }

  /** @param nowMs  monotonic */
  moveOf(keyHash: number, nowMs: number): Move | undefined {
    const move = this.#moves.get(keyHash);
    return move !== undefined && move.untilMs > nowMs ? move : undefined;
  }

  /** @returns whether there is room for another move; also drops what is over */
  hasRoom(nowMs: number): boolean {
    for (const [keyHash, { untilMs }] of this.#moves) {
      if (untilMs > nowMs) break;
      this.#moves.delete(keyHash);
    }
    return this.#moves.size < this.#movesMax;
  }

  remember(keyHash: number, move: Move, nowMs: number): void {
    this.#moves.delete(keyHash);
    this.#moves.set(keyHash, { from: move.from, to: move.to, untilMs: nowMs + this.#holdMs });
  }
}
