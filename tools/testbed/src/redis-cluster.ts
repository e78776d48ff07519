/** A real Redis Cluster on loopback: primaries only, all slots covered. */
import { freePort } from "./port.ts";
import { type RedisServer, startRedis } from "./redis.ts";

const SLOTS = 16_384;
const READY_TIMEOUT_MS = 20_000;

export interface RedisCluster {
  readonly nodes: readonly RedisServer[];
  readonly urls: readonly string[];
  stop(): Promise<void>;
}

/** @param size  primaries, default 3, the fewest a cluster works with */
export async function startRedisCluster(size = 3, args: readonly string[] = []): Promise<RedisCluster> {
  const nodes: RedisServer[] = [];
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()));
  };
  try {
    for (let index = 0; index < size; index++) {
      nodes.push(
        await startRedis({
          port: await clusterPort(),
          args: ["--cluster-enabled", "yes", "--cluster-config-file", `nodes-${index}.conf`, ...args],
        }),
      );
    }
    for (const [index, node] of nodes.entries()) {
      const first = Math.floor((index * SLOTS) / size);
      const last = Math.floor(((index + 1) * SLOTS) / size) - 1;
      await node.command("CLUSTER", "ADDSLOTSRANGE", `${first}`, `${last}`);
      if (index > 0) await node.command("CLUSTER", "MEET", "127.0.0.1", `${nodes[0]?.port}`);
    }
    const giveUpAtMs = Date.now() + READY_TIMEOUT_MS;
    for (const node of nodes) {
      while (!(await isReady(node, size))) {
        if (Date.now() > giveUpAtMs) throw new Error("Cannot start a Redis Cluster: its nodes do not agree");
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    return { nodes, urls: nodes.map((node) => node.url), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function isReady(node: RedisServer, size: number): Promise<boolean> {
  const info = await node.command("CLUSTER", "INFO");
  return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${size}`);
}

/** The cluster bus listens 10,000 above the port, so the port must leave room for it. */
async function clusterPort(): Promise<number> {
  for (;;) {
    const port = await freePort();
    if (port < 55_000) return port;
  }
}
