/**
 * Time, timers and randomness arrive through one seam, so a simulation can own all three and replay a run from a seed.
 *
 * Two times on purpose: deadlines and leases are *measured* on the monotonic clock, which no operator can step; wall
 * time is only for showing to people and for cookies. House rule (tools/): nothing else touches `Date.now`,
 * `performance.now`, `setTimeout` or `crypto.randomBytes`.
 */
import { randomFillSync } from "node:crypto";

export interface Clock {
  /** Wall time in milliseconds since 1970, for people and cookies. May jump. */
  nowMs(): number;
  /** Milliseconds since some fixed moment of this process, fractional. Never goes back. */
  monotonicMs(): number;
  /** Calls `callback` once, `delayMs` from now. A timer never keeps the process alive unless `keepAlive` says so. */
  setTimer(callback: () => void, delayMs: number, keepAlive?: "keep-alive"): Timer;
  /** Fresh cryptographically strong bytes; a seeded clock gives repeatable ones. */
  randomBytes(count: number): Buffer;
}

export interface Timer {
  /** Idempotent; after it the callback does not run. */
  cancel(): void;
}

/** Random bytes are drawn in blocks: one system call serves 128 ids. */
const RANDOM_BLOCK_BYTES = 4096;
let block = Buffer.alloc(0);
let blockOffset = 0;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer(callback, delayMs, keepAlive) {
    const timer = setTimeout(callback, delayMs);
    if (keepAlive === undefined) timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
  randomBytes(count) {
    if (count > RANDOM_BLOCK_BYTES) return randomFillSync(Buffer.alloc(count));
    if (blockOffset + count > block.length) {
      // A new block each time: bytes already handed out must never change under their owner.
      block = randomFillSync(Buffer.allocUnsafeSlow(RANDOM_BLOCK_BYTES));
      blockOffset = 0;
    }
    blockOffset += count;
    return block.subarray(blockOffset - count, blockOffset);
  },
};

/** Resolves after `delayMs` on `clock`. */
export function delay(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.setTimer(resolve, delayMs, "keep-alive");
  });
}
