/** The driver over packages that people use: memorystore, session-file-store, and connect-redis on a real Redis. */
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@redis/client";
import { type RedisServer, redisServerPath, startRedis } from "@sojourn/testbed";
import { RedisStore } from "connect-redis";
import { afterAll, beforeAll, describe, test } from "vitest";
import { registerConformance } from "../../testing/store-conformance.ts";
import { Store } from "./connect-contract.ts";
import { realTimeHarness } from "./connect-stores.test.support.ts";

const require = createRequire(import.meta.url);

registerConformance(
  { test, describe },
  realTimeHarness("connect: memorystore", { concurrency: 16 }, async () => {
    const MemoryStore = require("memorystore")({ Store });
    return { backend: new MemoryStore(), close: async () => undefined };
  }),
);

registerConformance(
  { test, describe },
  // It has no `all`, and each write is a file that is synchronised to the disk.
  realTimeHarness("connect: session-file-store", { lacks: ["enumerable"], concurrency: 4 }, async () => {
    const FileStore = require("session-file-store")({ Store });
    const path = mkdtempSync(join(tmpdir(), "sojourn-sessions-"));
    // It looks for a missing session six times otherwise, longer than a request waits for its store.
    const backend = new FileStore({ path, retries: 0, reapInterval: -1, logFn: () => undefined });
    return { backend, close: async () => rmSync(path, { recursive: true }) };
  }),
);

describe.skipIf(redisServerPath() === undefined)("connect-redis", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.stop());
  let opened = 0;

  registerConformance(
    { test, describe },
    realTimeHarness("connect: connect-redis on a real Redis", { concurrency: 16 }, async () => {
      const client = createClient({ url: redis.url });
      await client.connect();
      const backend = new RedisStore({ client, prefix: `sess-${opened++}:` });
      return { backend, close: () => client.close() };
    }),
  );
});
