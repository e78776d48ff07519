/**
 * The cases of the conformance suite that no `connect-*` store keeps between processes, and the limit that is why. The
 * list stands in docs/connect-stores.md too.
 */
import type { ConnectLimit } from "./limits.ts";

export const LOST_BETWEEN_PROCESSES: Readonly<Record<string, ConnectLimit>> = {
  "of parallel creates of one key exactly one succeeds, and it is the one that is read":
    "NO_COMPARE_AND_SWAP",
  "parallel deltas on different attributes all survive": "NO_COMPARE_AND_SWAP",
  "of parallel applies with one expectation exactly one commits, and counting with it is exact":
    "NO_COMPARE_AND_SWAP",
  "of parallel destroys exactly one says that it ended the session": "NO_COMPARE_AND_SWAP",
  "no late writer brings back a session whose end was answered": "NO_COMPARE_AND_SWAP",
  "a write in parallel with supersede is in the final state or answered gone": "NO_COMPARE_AND_SWAP",
  "parallel duplicates of one write have one effect and one answer": "NO_COMPARE_AND_SWAP",
  "a repeated touch gives the first answer and moves nothing": "PROCESS_MEMORY",
  "a repeated supersede gives the same final state, also when the old id is gone": "PROCESS_MEMORY",
  "a repeated destroy answers that it ended the session, again": "PROCESS_MEMORY",
  "nothing revives a destroyed session: create is taken, apply gone, touch false, supersede gone":
    "PROCESS_MEMORY",
  "destroying an unknown key is remembered: it cannot be created afterwards": "PROCESS_MEMORY",
  "a login that began before endAll and commits after it is gone: a new session": "PROCESS_MEMORY",
  "a login that began before endAll and commits after it is gone, with the session it was made in":
    "PROCESS_MEMORY",
  "no interleaving of endAll() with a login that began before it leaves a session of the principal":
    "PROCESS_MEMORY",
};
