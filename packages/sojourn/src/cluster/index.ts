/** `sojourn/server`: a session server in this process, and what its clients and tools need. */
export {
  type SessionServersOptions,
  type SessionServersStatus,
  type SessionServersStore,
  sessionServers,
} from "./client/session-servers.ts";
export type { Log, LogLevel } from "./log.ts";
export {
  type ServerStatus,
  type SessionServer,
  type SessionServerOptions,
  startSessionServer,
} from "./server/session-server.ts";
export { SOFTWARE } from "./software.ts";
export { type Address, addressText, type ListenLimits, parseAddress } from "./transport/transport.ts";
export { PROTOCOL_VERSION, SESSION_SERVER_PORT } from "./wire/protocol.ts";
