/** A Redis Cluster that loses a node, gets a new primary, or moves a slot. */
import {
  freePort,
  type RedisCluster,
  type RedisServer,
  redisServerPath,
  startRedis,
  startRedisCluster,
} from "@sojourn/testbed";
import { Cluster } from "ioredis";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { newSessionId, type SessionKey, sessionKeyOf } from "../../core/ids.ts";
import { type RedisStore, type RedisStoreOptions, redisStore } from "./index.ts";
import { slotOf } from "./slot.ts";

const session = (key: SessionKey) => ({
  key,
  attributes: new Map([["n", Buffer.from("0")]]),
  expiresAtMs: Date.now() + 600_000,
  absoluteExpiresAtMs: Date.now() + 3_600_000,
});
const delta = { set: new Map([["n", Buffer.from("1")]]) };

async function until(condition: () => Promise<boolean>, withinMs = 30_000): Promise<void> {
  const giveUpAtMs = Date.now() + withinMs;
  while (!(await condition().catch(() => false))) {
    if (Date.now() > giveUpAtMs) throw new Error(`the condition did not come true within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe.skipIf(redisServerPath() === undefined)("Redis Cluster faults", () => {
  let cluster: RedisCluster;
  const ending: (() => unknown)[] = [];

  beforeEach(async () => {
    cluster = await startRedisCluster(3, ["--cluster-node-timeout", "2000"]);
  });
  afterEach(async () => {
    for (const end of ending.splice(0)) await end();
    await cluster.stop();
  });

  const clients: Record<string, () => RedisStoreOptions> = {
    "@redis/client": () => ({ cluster: cluster.urls }),
    ioredis: () => {
      const client = new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })));
      ending.push(() => client.disconnect());
      return { client };
    },
  };

  function open(options: RedisStoreOptions): RedisStore {
    const store = redisStore({ onDiagnostic: () => undefined, ...options });
    ending.push(() => store.close());
    return store;
  }

  /** A key of each node, in the nodes' order. */
  function keyPerNode(): SessionKey[] {
    const keys: SessionKey[] = [];
    while (keys.filter(Boolean).length < 3) {
      const key = sessionKeyOf(newSessionId(systemClock));
      keys[Math.min(2, Math.floor((slotOf(key) * 3) / 16_384))] = key;
    }
    return keys;
  }

  async function replicaOf(primary: RedisServer): Promise<RedisServer> {
    let port = await freePort();
    while (port >= 55_000) port = await freePort();
    const config = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes-replica.conf"];
    const replica = await startRedis({ port, args: [...config, "--cluster-node-timeout", "2000"] });
    ending.push(() => replica.stop());
    const id = await primary.command("CLUSTER", "MYID");
    await replica.command("CLUSTER", "MEET", "127.0.0.1", String(primary.port));
    await until(async () => (await replica.command("CLUSTER", "REPLICATE", id)) === "OK");
    await until(async () => (await primary.command("INFO", "replication")).includes("state=online"));
    return replica;
  }

  for (const [name, options] of Object.entries(clients)) {
    test(`a frozen node takes only its own sessions along, and they come back with it (${name})`, async () => {
      const store = open(options());
      const keys = keyPerNode();
      await until(async () => (await store.create(session(keys[0] as SessionKey))).status !== "gone");
      for (const key of keys.slice(1)) await store.create(session(key));
      cluster.nodes[0]?.freeze();
      const first = store.apply(keys[0] as SessionKey, delta, { timeoutMs: 200 });
      await expect(first).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
      for (const key of keys.slice(1)) expect((await store.apply(key, delta)).status).toBe("applied");
      cluster.nodes[0]?.resume();
      await until(async () => (await store.read(keys[0] as SessionKey)) !== null);
      expect((await store.apply(keys[0] as SessionKey, delta)).status).toBe("applied");
    });

    test(`a killed primary's sessions go on at its replica, under a new epoch (${name})`, async () => {
      const [primary] = cluster.nodes;
      await replicaOf(primary as RedisServer);
      const store = open(options());
      const [key] = keyPerNode() as [SessionKey];
      await until(async () => (await store.create(session(key))).status !== "gone");
      const before = await store.apply(key, delta);
      if (before.status !== "applied") throw new Error("the write was not taken");
      await new Promise((resolve) => setTimeout(resolve, 200));
      await primary?.kill();
      await until(async () => (await store.apply(key, delta)).status === "applied");
      const after = await store.read(key);
      expect(after?.version.epoch).not.toBe(before.version.epoch);
      expect(after?.lineage.get(before.version.epoch)).toBe(before.version.counter);
    });

    test(`sessions of a slot that moves to another node are served throughout (${name})`, async () => {
      const store = open(options());
      const [key] = keyPerNode() as [SessionKey];
      await until(async () => (await store.create(session(key))).status !== "gone");
      const [from, to] = cluster.nodes as [RedisServer, RedisServer];
      const slot = String(slotOf(key));
      const [fromId, toId] = [await from.command("CLUSTER", "MYID"), await to.command("CLUSTER", "MYID")];
      let served = 0;
      const serve = async () => {
        expect((await store.apply(key, delta)).status).toBe("applied");
        served++;
      };
      await to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
      await from.command("CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
      await serve();
      await from.command("MIGRATE", "127.0.0.1", String(to.port), `sojourn:s:{${key}}`, "0", "5000");
      await serve();
      for (const node of [to, from]) await node.command("CLUSTER", "SETSLOT", slot, "NODE", toId);
      await serve();
      expect(served).toBe(3);
      const record = await store.read(key);
      expect([...(record?.lineage.values() ?? [])]).toEqual([2, 2]);
    });
  }
});
