/** The whole store contract on one real server, with a client made from a URL. */
import { type RedisServer, redisServerPath, startRedis } from "@sojourn/testbed";
import { afterAll, beforeAll, describe, test } from "vitest";
import { registerConformance } from "../../testing/store-conformance.ts";
import { openStores, REAL_TIME } from "./conformance.test.support.ts";

describe.skipIf(redisServerPath() === undefined)("redis-server, one node", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());

  registerConformance(
    { test, describe },
    {
      name: "redis, one server, @redis/client by URL",
      open: () => openStores(async () => ({ options: { url: server.url } })),
      lacks: ["small", "watchable"],
      ...REAL_TIME,
    },
  );
});
