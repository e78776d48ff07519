/**
 * What recent writes were answered, by operation id: a retry gets the first answer instead of a second effect.
 *
 * Every answer is kept, also "gone", "behind" and conflicts: a duplicate that arrives late must not do what its original
 * was refused. Errors are not kept, because a refused call may be tried again.
 *
 * Two generations, swapped when the older one's last entry is old enough, so forgetting costs nothing per entry and every
 * answer is kept between one and two periods.
 */
import type { OperationId } from "../core/ids.ts";
import { invalidOption } from "./check.ts";

/** A map entry, its id text, the entry's object and a small answer. */
export const OPERATION_BYTES = 224;

interface Remembered {
  readonly action: string;
  readonly subject: string;
  readonly answer: unknown;
}

export class OperationLog {
  readonly #keptMs: number;
  readonly #bytesOf: (answer: unknown) => number;
  #young = new Map<OperationId, Remembered>();
  #old = new Map<OperationId, Remembered>();
  #youngBytes = 0;
  #oldBytes = 0;
  #swappedAtMs: number;

  /**
   * @param keptMs   each answer is kept at least this long, and forgotten after about twice as long
   * @param bytesOf  what an answer holds beyond OPERATION_BYTES
   */
  constructor(keptMs: number, nowMs: number, bytesOf: (answer: unknown) => number) {
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

  /**
   * Runs `act`, unless an operation of this id ran before: then answers what that one did. Answers must not change.
   *
   * @param id     undefined: the caller never retries
   * @param nowMs  monotonic
   * @throws {SessionError} INVALID_OPTION when the id was used for another action or another subject
   */
  once<Answer>(
    id: OperationId | undefined,
    action: string,
    subject: string,
    nowMs: number,
    act: () => Answer,
  ): Answer {
    if (id === undefined) return act();
    const known = this.find(id, action, subject);
    if (known) return known.answer as Answer;
    const answer = act();
    this.remember(id, action, subject, nowMs, answer);
    return answer;
  }

  /**
   * What the operation of this id answered, for an `act` that has to wait. Whoever asks sees to it that no other operation
   * of the id begins before `remember`.
   *
   * @throws {SessionError} INVALID_OPTION when the id was used for another action or another subject
   */
  find(id: OperationId, action: string, subject: string): { readonly answer: unknown } | undefined {
    const known = this.#young.get(id) ?? this.#old.get(id);
    if (!known || (known.action === action && known.subject === subject)) return known;
    const other = known.action === action ? `another ${action}` : known.action;
    throw invalidOption(action, `its operation id was used for ${other}`);
  }

  /** @param nowMs  monotonic */
  remember(id: OperationId, action: string, subject: string, nowMs: number, answer: unknown): void {
    this.rotate(nowMs);
    this.#young.set(id, { action, subject, answer });
    this.#youngBytes += OPERATION_BYTES + this.#bytesOf(answer);
  }

  /** Forgets what is due. */
  rotate(nowMs: number): void {
    const ageMs = nowMs - this.#swappedAtMs;
    // Not at equality: an answer given in the millisecond of the last swap is exactly `keptMs` old then.
    if (ageMs <= this.#keptMs) return;
    const nothingRecent = ageMs > 2 * this.#keptMs;
    this.#old = nothingRecent ? new Map() : this.#young;
    this.#oldBytes = nothingRecent ? 0 : this.#youngBytes;
    this.#young = new Map();
    this.#youngBytes = 0;
    this.#swappedAtMs = nowMs;
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#youngBytes = 0;
    this.#oldBytes = 0;
  }
}
