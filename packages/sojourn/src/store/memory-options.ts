/** What a memory store can be told, and what it tells about itself. */
import type { Clock } from "../core/clock.ts";

export interface MemoryStoreOptions {
  readonly clock?: Clock;
  /** What sessions, tombstones, endings and remembered operations may occupy together. Default 256 MiB. */
  readonly maxBytes?: number;
  /** Between two passes that free what has expired (expiry itself is exact at every access). Default 1_000. */
  readonly sweepIntervalMs?: number;
  /** Names this authority in stamps, ≤ 64 ASCII characters. Default "memory". */
  readonly member?: string;
}

export interface MemoryStoreStats {
  /** Resident: live, superseded, and expired but not swept yet. */
  readonly sessions: number;
  /** Everything that `maxBytes` bounds. */
  readonly bytes: number;
  readonly bytesMax: number;
  readonly sessionBytes: number;
  readonly tombstones: number;
  readonly tombstoneBytes: number;
  readonly operations: number;
  readonly operationBytes: number;
  readonly watches: number;
  /** Totals since the store began. */
  readonly created: number;
  readonly expired: number;
  readonly ended: number;
  /** Calls that threw STORE_FULL. */
  readonly refused: number;
  /** Of these, endings of unknown keys. An alarm: raise `maxBytes`. */
  readonly tombstonesRefused: number;
}
