/**
 * `sojourn/connect`: stores both ways. Any `connect-*` store as a Sojourn store, and any Sojourn store as the `store:` of
 * express-session and @fastify/session.
 */
export { type ConnectCookie, type ConnectSession, type ConnectStoreBase, Store } from "./connect-contract.ts";
export { type ExpressStore, type ExpressStoreOptions, expressStore } from "./express-store.ts";
