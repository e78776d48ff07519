/** The store contract on a Redis Cluster of three primaries: by URLs, and with the user's ioredis Cluster beside it. */
import { type RedisCluster, redisServerPath, startRedisCluster } from "@sojourn/testbed";
import { Cluster } from "ioredis";
import { afterAll, beforeAll, describe, test } from "vitest";
import { registerConformance } from "../../testing/store-conformance.ts";
import { openStores, REAL_TIME } from "./conformance.test.support.ts";

describe.skipIf(redisServerPath() === undefined)("Redis Cluster", () => {
  let cluster: RedisCluster;
  let client: Cluster;
  beforeAll(async () => {
    cluster = await startRedisCluster();
    client = new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })));
  });
  afterAll(async () => {
    client.disconnect();
    await cluster.stop();
  });

  registerConformance(
    { test, describe },
    {
      name: "redis, cluster of three, @redis/client and ioredis",
      open: () => openStores(async () => ({ options: { cluster: cluster.urls }, second: { client } })),
      lacks: ["small", "watchable"],
      ...REAL_TIME,
    },
  );
});
