/** The store contract on one real server, with the user's ioredis. */
import { type RedisServer, redisServerPath, startRedis } from "@sojourn/testbed";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, test } from "vitest";
import { registerConformance } from "../../testing/store-conformance.ts";
import { openStores, REAL_TIME } from "./conformance.test.support.ts";

describe.skipIf(redisServerPath() === undefined)("redis-server, ioredis", () => {
  let server: RedisServer;
  let clients: Redis[];
  beforeAll(async () => {
    server = await startRedis();
    // One as recommended, one at its defaults: what a default client sends twice must do no harm.
    clients = [
      new Redis(server.port, { autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0 }),
      new Redis(server.port),
    ];
  });
  afterAll(async () => {
    for (const client of clients) client.disconnect();
    await server.stop();
  });

  registerConformance(
    { test, describe },
    {
      name: "redis, one server, ioredis",
      open: () =>
        openStores(async () => ({ options: { client: clients[0]! }, second: { client: clients[1]! } })),
      lacks: ["small", "watchable"],
      ...REAL_TIME,
    },
  );
});
