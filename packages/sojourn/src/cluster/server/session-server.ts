/**
 * A session server: one member of our engine, its sessions in memory, serving clients over framed connections. It never
 * listens beyond this machine without a secret, and with one it speaks TLS 1.3 only, loopback included.
 */
import { type Clock, systemClock } from "../../core/clock.ts";
import { SessionError } from "../../core/errors.ts";
import type { SessionKey } from "../../core/ids.ts";
import { deriveKeys } from "../../core/keys.ts";
import { memoryStore } from "../../store/memory.ts";
import { LimitedLog, type Log, silent } from "../log.ts";
import { SOFTWARE } from "../software.ts";
import { tcpTransport } from "../transport/tcp.ts";
import {
  type Address,
  addressText,
  isLoopback,
  type ListenLimits,
  type Transport,
} from "../transport/transport.ts";
import { checkDomain, encodeRefusal, type Hello, OUR_PROTOCOLS } from "../wire/hello.ts";
import { PROTOCOL_VERSION, SESSION_SERVER_PORT } from "../wire/protocol.ts";
import { ServerConnection, type ServerContext } from "./connection.ts";
import { OperationCounters } from "./counters.ts";

export const DOMAIN_DEFAULT = "default";

export interface SessionServerOptions {
  /** Default 127.0.0.1. Anything but loopback needs a secret. */
  readonly host?: string;
  /** Default 5701; 0 lets the system choose. */
  readonly port?: number;
  /** The servers that share sessions. Default "default". */
  readonly domain?: string;
  /** One, or newest first while they change. Each at least 16 characters. */
  readonly secret?: string | readonly string[];
  /** Sessions may take this much memory; above it, creates and growing writes answer STORE_FULL. Default 256 MiB. */
  readonly maxBytes?: number;
  readonly clock?: Clock;
  readonly log?: Log;
  /** Default: `host:port-` and random characters. */
  readonly memberId?: string;
  readonly limits?: Partial<ListenLimits>;
  /** Default TCP, or TLS over it with a secret. */
  readonly transport?: Transport;
}

export interface ServerStatus {
  readonly version: string;
  readonly protocol: number;
  readonly member: string;
  readonly incarnation: string;
  readonly domain: string;
  readonly address: string;
  readonly encrypted: boolean;
  readonly pid: number;
  readonly uptimeMs: number;
  readonly sessions: number;
  readonly bytes: number;
  readonly bytesMax: number;
  readonly residentBytes: number;
  readonly connections: number;
  readonly watchers: number;
  /** Mean of the last ten seconds, heartbeats apart. */
  readonly operationsPerSecond: number;
  readonly operations: Readonly<Record<string, number>>;
  /** Operations that arrived after their deadline. */
  readonly late: number;
  /** Connections turned away or cut. */
  readonly refused: number;
}

export interface SessionServer {
  /** As bound: with port 0 the one that the system chose. */
  readonly address: Address;
  status(): ServerStatus;
  /**
   * Accepts no more, asks clients to finish, waits for that at most `graceMs`, then ends. Idempotent.
   *
   * @param options.graceMs  default 2,000
   */
  close(options?: { readonly graceMs?: number }): Promise<void>;
}

/** @throws {SessionError} INSECURE_LISTEN, PORT_TAKEN or INVALID_OPTION */
export async function startSessionServer(options: SessionServerOptions = {}): Promise<SessionServer> {
  const clock = options.clock ?? systemClock;
  const host = options.host ?? "127.0.0.1";
  const port = options.port ?? SESSION_SERVER_PORT;
  const domain = checkDomain(options.domain ?? DOMAIN_DEFAULT);
  const log = new LimitedLog(options.log ?? silent, clock);
  if (options.secret === undefined && !isLoopback(host)) {
    throw new SessionError(
      "INSECURE_LISTEN",
      `Cannot listen on ${addressText({ host, port })} without a secret: whoever reaches the port could read every ` +
        "session; give the domain a secret, or listen on 127.0.0.1",
    );
  }
  const security =
    options.secret === undefined ? undefined : { domain, keys: deriveKeys(options.secret).psk };
  const transport = options.transport ?? tcpTransport({ clock, security });
  const store = memoryStore({
    clock,
    ...(options.maxBytes === undefined ? {} : { maxBytes: options.maxBytes }),
  });
  const counters = new OperationCounters(clock);
  const connections = new Set<ServerConnection>();
  const identity: Hello = {
    protocols: OUR_PROTOCOLS,
    role: "member",
    features: 0,
    domain,
    member: options.memberId ?? clock.randomBytes(9).toString("base64url"),
    incarnation: clock.randomBytes(8).toString("hex"),
    software: SOFTWARE,
  };
  const status = (): ServerStatus => {
    const stats = store.stats();
    return {
      version: SOFTWARE,
      protocol: PROTOCOL_VERSION,
      member: identity.member,
      incarnation: identity.incarnation,
      domain,
      address: addressText(listener.address),
      encrypted: security !== undefined,
      pid: process.pid,
      uptimeMs: Math.round(counters.uptimeMs),
      sessions: stats.sessions,
      bytes: stats.bytes,
      bytesMax: stats.bytesMax,
      residentBytes: process.memoryUsage.rss(),
      connections: connections.size,
      watchers: [...connections].filter((connection) => connection.watching).length,
      operationsPerSecond: counters.perSecond,
      operations: counters.totals,
      late: counters.late,
      refused: counters.refused,
    };
  };
  const context: ServerContext = {
    identity,
    store,
    clock,
    log,
    counters,
    connections,
    statusJson: () => JSON.stringify(status()),
  };
  const watch = await store.watch({ invalidated: broadcast(connections) });
  const listener = await transport
    .listen({ host, port }, (connection) => new ServerConnection(connection, context), {
      ...(options.limits ? { limits: options.limits } : {}),
      refusal: encodeRefusal({
        protocols: OUR_PROTOCOLS,
        code: "INVALID_FRAME",
        domain,
        message: "this is a session server, and what came is no hello",
      }),
      refused(reason) {
        counters.refused++;
        log.write(reason.code, "warn", reason.message);
      },
    })
    .catch(async (error: unknown) => {
      await store.close();
      throw error;
    });

  let closing: Promise<void> | undefined;
  const close = async (graceMs: number): Promise<void> => {
    const stopped = listener.stop();
    for (const connection of connections) connection.leave();
    const cut = () => {
      for (const connection of connections) connection.destroy();
    };
    const patience = graceMs > 0 ? clock.setTimer(cut, graceMs) : cut();
    await stopped;
    patience?.cancel();
    watch.close();
    log.close();
    await store.close();
  };
  return {
    address: listener.address,
    status,
    close: ({ graceMs = 2_000 } = {}) => {
      closing ??= close(graceMs);
      return closing;
    },
  };
}

/** Changes of one turn travel as one push; a heartbeat's answer always comes after the changes before it. */
function broadcast(connections: ReadonlySet<ServerConnection>) {
  let pending: Set<SessionKey> | "all" | undefined;
  return (keys: readonly SessionKey[] | "all"): void => {
    if (pending === undefined) {
      queueMicrotask(() => {
        const told = pending === "all" || pending === undefined ? "all" : [...pending];
        pending = undefined;
        for (const connection of connections) connection.invalidated(told);
      });
    }
    if (keys === "all" || pending === "all") pending = "all";
    else {
      pending ??= new Set();
      for (const key of keys) pending.add(key);
    }
  };
}
