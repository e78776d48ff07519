import { describe, expect, test } from "vitest";
import { redisServerPath, startRedis, startRedisCluster } from "./index.ts";

describe.skipIf(redisServerPath() === undefined)("redis-server (real)", () => {
  test("a server starts, answers, is killed and starts again empty", async () => {
    const redis = await startRedis();
    try {
      expect(await redis.command("SET", "a", "1")).toBe("OK");
      expect(await redis.command("GET", "a")).toBe("1");
      await redis.kill();
      await expect(redis.command("PING")).rejects.toThrow();
      await redis.restart();
      expect(await redis.command("GET", "a")).toBe("");
    } finally {
      await redis.stop();
    }
  });

  test("a frozen server answers nothing until it is resumed", async () => {
    const redis = await startRedis();
    try {
      redis.freeze();
      let hasAnswered = false;
      const ping = redis.command("PING").then((answer) => {
        hasAnswered = true;
        return answer;
      });
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(hasAnswered).toBe(false);
      redis.resume();
      expect(await ping).toBe("PONG");
    } finally {
      await redis.stop();
    }
  });

  test("three nodes become a cluster", async () => {
    const cluster = await startRedisCluster();
    try {
      const [first] = cluster.nodes;
      expect(await first?.command("CLUSTER", "INFO")).toContain("cluster_slots_ok:16384");
    } finally {
      await cluster.stop();
    }
  });
});
