/**
 * `sojourn/connect`: stores both ways. Any `connect-*` store as a Sojourn store, and any Sojourn store as the `store:` of
 * express-session and @fastify/session.
 */
export {
  type AnyConnectStore,
  type ConnectCookie,
  type ConnectSession,
  type ConnectStoreBase,
  type ListingConnectStore,
  Store,
} from "./connect-contract.ts";
export { ConnectStore, type ConnectStoreOptions, type ConnectStoreStats } from "./connect-store.ts";
export { type ExpressStore, type ExpressStoreOptions, expressStore } from "./express-store.ts";
export {
  CONNECT_LIMITS,
  type ConnectDiagnostic,
  type ConnectDiagnosticCode,
  type ConnectLimit,
} from "./limits.ts";
export { connectKey, connectStore, ListingStore } from "./listing-connect-store.ts";
