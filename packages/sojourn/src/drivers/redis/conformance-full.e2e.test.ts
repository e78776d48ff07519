/** What still works when Redis is at its maxmemory: reading, touching, shrinking, ending. Creating and growing are refused. */
import { type RedisServer, redisServerPath, startRedis } from "@sojourn/testbed";
import { describe, test } from "vitest";
import { registerConformance } from "../../testing/store-conformance.ts";
import { openStores, REAL_TIME } from "./conformance.test.support.ts";

/** Room for some hundred sessions of 2 KB above what an idle server and its connections take. */
const ROOM_BYTES = 1_500_000;

async function smallServer(): Promise<RedisServer> {
  const server = await startRedis();
  const info = await server.command("INFO", "memory");
  const usedBytes = Number(/used_memory:(\d+)/.exec(info)?.[1]);
  await server.command("CONFIG", "SET", "maxmemory", String(usedBytes + ROOM_BYTES));
  return server;
}

describe.skipIf(redisServerPath() === undefined)("redis-server at maxmemory", () => {
  const full = /^a full store/;
  const runner = {
    describe,
    test: Object.assign(
      (name: string, run: () => Promise<void>, timeoutMs?: number) =>
        full.test(name) ? test(name, run, timeoutMs) : undefined,
      { skip: () => undefined },
    ),
  };
  const openSmall = () =>
    openStores(async () => {
      const server = await smallServer();
      return { options: { url: server.url }, close: () => server.stop() };
    });
  registerConformance(runner, {
    name: "redis at maxmemory",
    open: openSmall,
    openSmall,
    lacks: ["watchable"],
    ...REAL_TIME,
  });
});
