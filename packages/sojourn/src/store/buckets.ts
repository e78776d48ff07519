/**
 * Sessions are kept, paged and (in a cluster) placed in 1,024 buckets: the first 10 bits of the key. Keys are SHA-256,
 * so buckets fill evenly without hashing again.
 */
import type { SessionKey } from "../core/ids.ts";

export const BUCKETS = 1024;

const SEXTETS = new Uint8Array(128);
for (const [value, letter] of [
  ..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
].entries()) {
  SEXTETS[letter.charCodeAt(0)] = value;
}

/** 0..BUCKETS-1, of a valid key. */
export function bucketOf(key: SessionKey): number {
  return (SEXTETS[key.charCodeAt(0)]! << 4) | (SEXTETS[key.charCodeAt(1)]! >> 2);
}
