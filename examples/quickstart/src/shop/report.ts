/** Tells the launcher once a second how busy this shop is, when there is a launcher. */
import type { Sessions } from "sojourn";
import type { Report } from "../launch/child.ts";
import { type ShopConfig, sharesSessions } from "./config.ts";

const REPORT_MS = 1_000;

/** @returns a function to call for every request that is about a session */
export function startReporting(config: ShopConfig, sessions: Sessions): () => void {
  let requests = 0;
  const report = async (): Promise<void> => {
    // Shared sessions are counted where they live.
    const count = sharesSessions(config) ? null : await sessions.count();
    if (process.connected) process.send?.({ requests, sessions: count } satisfies Report);
  };
  if (process.send !== undefined) setInterval(() => void report().catch(() => {}), REPORT_MS).unref();
  return () => {
    requests++;
  };
}
