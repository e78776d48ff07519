/** The port to Redis that the options describe: a client made here with measured settings, or the user's, checked. */
import type { Clock } from "../../core/clock.ts";
import { checkUrl, type RedisDiagnostic, type RedisStoreOptions, wrong } from "./options.ts";
import type { RedisPort } from "./port.ts";
import { type IoRedis, type IoRedisCluster, IoRedisClusterPort, IoRedisPort } from "./port-ioredis.ts";
import {
  type ClusterClient,
  ClusterPort,
  type SentinelClient,
  SentinelPort,
  type StandaloneClient,
  StandalonePort,
} from "./port-node-redis.ts";

const CONNECT_TIMEOUT_MS = 2_000;
/** A socket silent this long is given up; pings keep a healthy one talking. */
const SOCKET_TIMEOUT_MS = 3_000;
const PING_INTERVAL_MS = 1_000;
const RECONNECT_FIRST_MS = 50;
const RECONNECT_MAX_MS = 1_000;
/** In a cluster quicker: only at reconnect attempts does the client look for a new topology. */
const CLUSTER_RECONNECT_MS = 150;
const TOPOLOGY_REFRESH_MS = 500;

/** Loads the peer and makes the client, not connected yet. Undefined: the options bring a client. */
export type MakePort = () => Promise<RedisPort>;

/** @throws {SessionError} INVALID_OPTION */
export function portOf(
  options: RedisStoreOptions,
  clock: Clock,
  tell: (diagnostic: RedisDiagnostic) => void,
): RedisPort | MakePort {
  const { url, cluster, client } = options;
  const given = [url, cluster, client].filter((each) => each !== undefined).length;
  if (given !== 1) throw wrong(`${given} of \`url\`, \`cluster\` and \`client\` are given, expected one`);
  if (client !== undefined) return ofUser(client, tell);
  if (url !== undefined) {
    const { href } = checkUrl(url);
    return async () => {
      const { createClient } = await peer();
      const made = createClient({ url: href, ...settings(clock) });
      return new StandalonePort(made as unknown as StandaloneClient, true);
    };
  }
  const nodes = (cluster ?? []).map(checkUrl);
  const [first] = nodes;
  if (!first) throw wrong("`cluster` names no node");
  return async () => {
    const { createCluster } = await peer();
    const { socket, ...rest } = settings(clock);
    // What the URL says beside the address holds for the nodes found later, too.
    const tls = first.protocol === "rediss:" ? { tls: true as const } : {};
    const user = first.username ? { username: decodeURIComponent(first.username) } : {};
    const password = first.password ? { password: decodeURIComponent(first.password) } : {};
    const made = createCluster({
      rootNodes: nodes.map(({ href }) => ({ url: href })),
      defaults: {
        ...rest,
        ...user,
        ...password,
        socket: { ...socket, ...tls, reconnectStrategy: () => CLUSTER_RECONNECT_MS } as typeof socket,
      },
      topologyRefreshOnReconnectionAttemptStrategy: TOPOLOGY_REFRESH_MS,
    });
    return new ClusterPort(made as unknown as ClusterClient, true);
  };
}

async function peer(): Promise<typeof import("@redis/client")> {
  try {
    return await import("@redis/client");
  } catch (cause) {
    throw new Error("the package @redis/client is not installed: npm install @redis/client", { cause });
  }
}

function settings(clock: Clock) {
  return {
    RESP: 3 as const,
    disableOfflineQueue: true,
    pingInterval: PING_INTERVAL_MS,
    commandOptions: { timeout: 0 },
    socket: {
      connectTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: SOCKET_TIMEOUT_MS,
      // One of our own: the client's closes it for good after a socket timeout.
      reconnectStrategy: (retries: number) =>
        Math.min(RECONNECT_FIRST_MS * 2 ** retries, RECONNECT_MAX_MS) +
        (clock.randomBytes(1)[0] as number) / 5,
    },
  };
}

function ofUser(client: object, tell: (diagnostic: RedisDiagnostic) => void): RedisPort {
  const has = (name: string) => typeof (client as Record<string, unknown>)[name] === "function";
  if (has("callBuffer")) {
    const isCluster = (client as { isCluster?: unknown }).isCluster === true;
    checkIoRedis((client as IoRedis | IoRedisCluster).options, isCluster, tell);
    return isCluster ? new IoRedisClusterPort(client as IoRedisCluster) : new IoRedisPort(client as IoRedis);
  }
  if (has("sendCommand") && has("withTypeMapping")) {
    if (has("nodeClient")) return new ClusterPort(client as ClusterClient, false);
    if (has("acquire") || has("getSentinelNode")) return new SentinelPort(client as SentinelClient, false);
    if (!("totalClients" in client)) return new StandalonePort(client as StandaloneClient, false);
    throw wrong("`client` is a pool; sessions need one connection that keeps its order: createClient(…)");
  }
  throw wrong(
    "`client` is neither a client of @redis/client 5 or newer (redis 5 or newer) nor one of ioredis",
  );
}

function checkIoRedis(
  options: IoRedis["options"] & IoRedisCluster["options"],
  isCluster: boolean,
  tell: (diagnostic: RedisDiagnostic) => void,
): void {
  if (options.keyPrefix) {
    throw wrong("the ioredis client has a `keyPrefix`; leave it out and give the store a `prefix`");
  }
  const node = isCluster ? (options.redisOptions ?? {}) : options;
  if (node.autoResendUnfulfilledCommands !== false || node.maxRetriesPerRequest !== 0) {
    tell({
      level: "warn",
      code: "CLIENT_RESENDS",
      message:
        "The ioredis client sends commands again after a reconnect, also those whose caller has given up. Sessions are " +
        "safe from that (operation ids and deadlines), the server does the work twice: set " +
        "`autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0`.",
    });
  }
  if (node.enableOfflineQueue !== false) {
    tell({
      level: "info",
      code: "CLIENT_QUEUES",
      message:
        "The ioredis client queues commands while it is offline; they arrive too late and are refused then. Set " +
        "`enableOfflineQueue: false`.",
    });
  }
}
