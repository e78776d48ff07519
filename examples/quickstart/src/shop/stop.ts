/** Ends a shop on SIGTERM: what runs is finished, for a moment; then the store is let go. */
import type { Server } from "node:http";
import type { Sessions } from "sojourn";

const GRACE_MS = 1_500;

export function stopOnSignal(server: Server, sessions: Sessions): void {
  const stop = (): void => {
    setTimeout(() => process.exit(0), GRACE_MS).unref();
    server.close(() => sessions.close().finally(() => process.exit(0)));
    server.closeIdleConnections();
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, stop);
}
