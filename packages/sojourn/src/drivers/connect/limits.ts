/** What a `connect-*` store cannot do, said once when it is opened and as a property ever after. */
import type { AnyConnectStore, ListingConnectStore } from "./connect-contract.ts";

export const CONNECT_LIMITS = {
  NO_COMPARE_AND_SWAP:
    "it writes whole sessions: of two processes that write one session at the same moment the later one wins, and a write " +
    "can bring back a session that another process has just ended",
  PROCESS_MEMORY:
    "which operations were done, which sessions ended and who was logged out everywhere is known only to the process that did it",
  NOT_ENUMERABLE: "it has no method `all`: sessions cannot be listed, counted or ended by user",
  LISTS_EVERYTHING: "listing, counting and ending by user read every session of the store",
} as const;

export type ConnectLimit = keyof typeof CONNECT_LIMITS;

export type ConnectDiagnosticCode =
  /** Once per store: what it cannot do. */
  | "CONNECT_STORE_LIMITS"
  /** A session no longer holds what this process wrote last: another program wrote over it, or the store lost it. */
  | "WRITE_LOST"
  /** A session that this process had ended was there again, written back by another one. It was ended again. */
  | "SESSION_REVIVED";

export interface ConnectDiagnostic {
  readonly code: ConnectDiagnosticCode;
  /** For people. Never a session id or a value. */
  readonly message: string;
}

export function isListing(store: AnyConnectStore): store is ListingConnectStore {
  return typeof (store as Partial<ListingConnectStore>).all === "function";
}

export function limitsOf(store: AnyConnectStore): ConnectLimit[] {
  return ["NO_COMPARE_AND_SWAP", "PROCESS_MEMORY", isListing(store) ? "LISTS_EVERYTHING" : "NOT_ENUMERABLE"];
}

export function limitsMessage(name: string, limits: readonly ConnectLimit[]): string {
  const cannot = limits.map((limit) => CONNECT_LIMITS[limit]).join("; ");
  return (
    `store "${name}" is safe for one process. Know its limits before you run several: ${cannot}. ` +
    "sojourn/redis and session servers have none of these"
  );
}

export function warn({ code, message }: ConnectDiagnostic): void {
  console.warn(`sojourn: ${message} [${code}]`);
}
