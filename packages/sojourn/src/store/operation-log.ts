/**
 * What recent writes were answered, by operation id: a retry gets the first answer instead of a second effect.
 *
 * Two generations, swapped when the older one's last entry is old enough, so forgetting costs nothing per entry and every
 * answer is kept between one and two periods.
 */
import type { OperationId } from "../core/ids.ts";

/** A map entry, its id string and a small answer. Measured: 150–190 bytes. */
export const OPERATION_BYTES = 192;

export class OperationLog<Answer> {
  readonly #keptMs: number;
  readonly #bytesOf: (answer: Answer) => number;
  #young = new Map<OperationId, Answer>();
  #old = new Map<OperationId, Answer>();
  #youngBytes = 0;
  #oldBytes = 0;
  #swappedAtMs: number;

  /**
   * @param keptMs   each answer is kept at least this long, and forgotten after at most twice as long
   * @param bytesOf  what an answer holds beyond OPERATION_BYTES
   */
  constructor(keptMs: number, nowMs: number, bytesOf: (answer: Answer) => number) {
    this.#keptMs = keptMs;
    this.#bytesOf = bytesOf;
    this.#swappedAtMs = nowMs;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get bytes(): number {
    return this.#youngBytes + this.#oldBytes;
  }

  get(id: OperationId): Answer | undefined {
    return this.#young.get(id) ?? this.#old.get(id);
  }

  /** @param nowMs  monotonic */
  set(id: OperationId, answer: Answer, nowMs: number): void {
    this.rotate(nowMs);
    this.#young.set(id, answer);
    this.#youngBytes += OPERATION_BYTES + this.#bytesOf(answer);
  }

  /** Forgets what is due. */
  rotate(nowMs: number): void {
    const ageMs = nowMs - this.#swappedAtMs;
    // Strictly greater: an answer given at the moment of the last swap is exactly `keptMs` old at `ageMs === keptMs`.
    if (ageMs <= this.#keptMs) return;
    const nothingRecent = ageMs > 2 * this.#keptMs;
    this.#old = nothingRecent ? new Map() : this.#young;
    this.#oldBytes = nothingRecent ? 0 : this.#youngBytes;
    this.#young = new Map();
    this.#youngBytes = 0;
    this.#swappedAtMs = nowMs;
  }
}
