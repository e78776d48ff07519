/**
 * When all sessions of a principal were last ended, so that a login that began earlier and commits later is refused:
 * "log me out everywhere" also means the request that is logging in right now.
 */
import type { PrincipalChange } from "../core/record.ts";

const ENTRY_BYTES = 120;

/** All times monotonic ms. */
export class Endings {
  /** Oldest ending first. */
  readonly #endedAtMs = new Map<string, number>();
  readonly #keptMs: number;
  #bytes = 0;

  /** @param keptMs  a login older than this is refused unseen, because an ending after its beginning may be forgotten */
  constructor(keptMs: number) {
    this.#keptMs = keptMs;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(principal: string, nowMs: number): void {
    if (!this.#endedAtMs.delete(principal)) this.#bytes += ENTRY_BYTES + 2 * principal.length;
    this.#endedAtMs.set(principal, nowMs);
  }

  /** True when the principal's sessions were ended after this login began. The same moment counts as after. */
  cover({ principal, ageMs }: PrincipalChange, nowMs: number): boolean {
    if (principal === null) return false;
    if (!(ageMs < this.#keptMs)) return true;
    const endedAtMs = this.#endedAtMs.get(principal);
    return endedAtMs !== undefined && nowMs - Math.max(0, ageMs) <= endedAtMs;
  }

  sweep(nowMs: number): void {
    for (const [principal, endedAtMs] of this.#endedAtMs) {
      if (nowMs - endedAtMs <= this.#keptMs) return;
      this.#endedAtMs.delete(principal);
      this.#bytes -= ENTRY_BYTES + 2 * principal.length;
    }
  }

  clear(): void {
    this.#endedAtMs.clear();
    this.#bytes = 0;
  }
}
