/** Redis frozen, killed, restarted, emptied, or of the wrong kind: calls end in time, nothing is done twice, all recovers. */

import { type AddressInfo, connect, createServer } from "node:net";
import { createClient } from "@redis/client";
import { type RedisServer, redisServerPath, startRedis } from "@sojourn/testbed";
import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { newOperationId, newSessionId, type SessionKey, sessionKeyOf } from "../../core/ids.ts";
import type { NewSession } from "../../core/record.ts";
import { type RedisDiagnostic, type RedisStore, type RedisStoreOptions, redisStore } from "./index.ts";

const key = (): SessionKey => sessionKeyOf(newSessionId(systemClock));
const session = (more: Partial<NewSession> = {}): NewSession => ({
  key: key(),
  attributes: new Map([["n", Buffer.from("0")]]),
  expiresAtMs: Date.now() + 600_000,
  absoluteExpiresAtMs: Date.now() + 3_600_000,
  ...more,
});
const set = (text: string) => ({ set: new Map([["n", Buffer.from(text)]]) });
const textIn = async (store: RedisStore, of: SessionKey) => {
  const value = (await store.read(of))?.attributes.get("n")?.value;
  return value && Buffer.from(value).toString();
};

/** Waits until `condition` holds; errors count as "not yet". */
async function until(condition: () => Promise<boolean>): Promise<void> {
  const giveUpAtMs = Date.now() + 15_000;
  while (!(await condition().catch(() => false))) {
    if (Date.now() > giveUpAtMs) throw new Error("the condition did not come true within 15 s");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** How a call failed, and after how many ms. */
async function failure(call: Promise<unknown>): Promise<{ code: unknown; message: string; tookMs: number }> {
  const beganMs = performance.now();
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  const { code, message } = (error ?? {}) as { code?: unknown; message?: string };
  return { code, message: message ?? "", tookMs: performance.now() - beganMs };
}

describe.skipIf(redisServerPath() === undefined)("redis faults", () => {
  let server: RedisServer;
  const ending: (() => unknown)[] = [];
  const told: RedisDiagnostic[] = [];

  beforeEach(async () => {
    server = await startRedis();
    told.length = 0;
  });
  afterEach(async () => {
    for (const end of ending.splice(0)) await end();
    await server.stop();
  });

  function open(options: RedisStoreOptions = { url: server.url }): RedisStore {
    const store = redisStore({ onDiagnostic: (diagnostic) => told.push(diagnostic), ...options });
    ending.push(() => store.close());
    return store;
  }

  async function warm(store: RedisStore): Promise<NewSession> {
    const made = session();
    await until(async () => (await store.create(made)).status !== "gone");
    return made;
  }

  const clients: Record<string, () => RedisStoreOptions> = {
    "a URL": () => ({ url: server.url }),
    "@redis/client at its defaults": () => {
      const client = createClient({ url: server.url });
      ending.push(() => client.destroy());
      return { client };
    },
    "ioredis at its defaults": () => {
      const client = new Redis(server.port);
      ending.push(() => client.disconnect());
      return { client };
    },
  };

  for (const [name, options] of Object.entries(clients)) {
    test(`frozen: calls end in time, then fail at once; what they meant to write is never written (${name})`, async () => {
      const store = open(options());
      const { key: there } = await warm(store);
      server.freeze();
      const first = await failure(store.apply(there, set("ghost"), { timeoutMs: 300 }));
      expect(first.code).toBe("STORE_UNAVAILABLE");
      expect(first.tookMs).toBeGreaterThanOrEqual(295);
      expect(first.tookMs).toBeLessThan(1_000);
      const second = await failure(store.apply(there, set("ghost"), { timeoutMs: 300 }));
      expect(second.code).toBe("STORE_UNAVAILABLE");
      expect(second.tookMs).toBeLessThan(150);
      server.resume();
      await until(async () => (await textIn(store, there)) !== undefined);
      expect(await textIn(store, there)).toBe("0");
      expect((await store.apply(there, set("1"))).status).toBe("applied");
      // A ghost would arrive with the client's queue; by now it has.
      expect(await textIn(store, there)).toBe("1");
    });

    test(`killed and started again: calls fail in time, the process lives, sessions work without a restart (${name})`, async () => {
      const store = open(options());
      await warm(store);
      await server.kill();
      for (let attempt = 0; attempt < 5; attempt++) {
        const { code, tookMs } = await failure(store.read(key(), { timeoutMs: 300 }));
        expect(code).toBe("STORE_UNAVAILABLE");
        expect(tookMs).toBeLessThan(1_000);
      }
      await server.restart();
      const made = session();
      await until(async () => (await store.create(made)).status === "created");
      expect(await textIn(store, made.key)).toBe("0");
    });
  }

  test("not there when the store opens: calls say so at once, and work once it is", async () => {
    await server.kill();
    const store = open();
    await until(async () => (await failure(store.read(key()))).message.includes("ECONNREFUSED"));
    expect((await failure(store.read(key()))).tookMs).toBeLessThan(150);
    await server.restart();
    await warm(store);
    expect(told.map(({ code }) => code)).toEqual(expect.arrayContaining(["OUTAGE", "RECOVERED"]));
  });

  test("many callers during an outage are not queued: none of them reaches the server when it is over", async () => {
    const store = open();
    await warm(store);
    server.freeze();
    await failure(store.read(key(), { timeoutMs: 200 }));
    const calls = Array.from({ length: 500 }, () => failure(store.read(key(), { timeoutMs: 5_000 })));
    for (const { code } of await Promise.all(calls)) expect(code).toBe("STORE_UNAVAILABLE");
    server.resume();
    await until(async () => (await store.read(key())) === null);
    const stats = await server.command("INFO", "commandstats");
    expect(Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1])).toBeLessThan(50);
  });

  test("a write sent twice, as clients do after a reconnect, has one effect and one answer", async () => {
    const store = open();
    const { key: there } = await warm(store);
    const sent: string[][] = [];
    const client = createClient({ url: server.url });
    await client.connect();
    ending.push(() => client.destroy());
    const twice = new Proxy(client, {
      get(target, name) {
        if (name !== "sendCommand") {
          const member: unknown = Reflect.get(target, name);
          return typeof member === "function" ? member.bind(target) : member;
        }
        return async (args: string[], options: object) => {
          sent.push(args);
          const first = target.sendCommand(args, options as never);
          const second = target.sendCommand(args, options as never);
          await first;
          return second;
        };
      },
    });
    const doubled = open({ client: twice });
    const before = await store.read(there);
    const applied = await doubled.apply(there, set("1"));
    const after = await store.read(there);
    expect(applied).toMatchObject({ status: "applied", version: after?.version });
    expect(after?.version.counter).toBe((before?.version.counter ?? 0) + 1);
    expect(await doubled.create(session())).toMatchObject({ status: "created" });
    expect(await doubled.destroy(there)).toBe(true);
    expect(sent.length).toBeGreaterThan(3);
  });

  test("scripts flushed away are loaded again, within the call", async () => {
    const store = open();
    const { key: there } = await warm(store);
    await server.command("SCRIPT", "FLUSH");
    expect((await store.apply(there, set("1"))).status).toBe("applied");
    expect(await textIn(store, there)).toBe("1");
  });

  test("no version is issued twice: not after FLUSHALL, nor after a restart", async () => {
    const store = open();
    const made = session();
    const epochs = new Set<string>();
    for (const loss of [() => server.command("FLUSHALL"), () => server.restart(), async () => ""]) {
      await until(async () => {
        const result = await store.create(made, { operationId: newOperationId(systemClock) });
        return result.status === "created" && epochs.add(result.version.epoch) !== undefined;
      });
      await loss();
    }
    expect(epochs.size).toBe(3);
  });

  test("a replica refuses reads and writes, and says why", async () => {
    const replica = await startRedis({ args: ["--replicaof", "127.0.0.1", String(server.port)] });
    ending.push(() => replica.stop());
    const store = open({ url: replica.url });
    await until(async () => (await failure(store.read(key()))).message.includes("READONLY"));
    expect((await failure(store.create(session()))).code).toBe("STORE_UNAVAILABLE");
  });

  test("a wrong password is said, and shown nowhere", async () => {
    await server.command("CONFIG", "SET", "requirepass", "right-one");
    const store = open({ url: server.url.replace("redis://", "redis://:wrong-one@") });
    const { code, message } = await failure(store.read(key()));
    expect(code).toBe("STORE_UNAVAILABLE");
    expect(message).toContain("WRONGPASS");
    expect(JSON.stringify([message, told])).not.toMatch(/wrong-one|right-one/);
  });

  test("something else under a session's key is unreadable, and stays as it is", async () => {
    const store = open();
    await warm(store);
    const foreign = key();
    await server.command("RPUSH", `sojourn:s:{${foreign}}`, "x");
    expect((await failure(store.read(foreign))).code).toBe("STORED_DATA_UNREADABLE");
    expect((await failure(store.apply(foreign, set("1")))).code).toBe("STORED_DATA_UNREADABLE");
    expect(await server.command("LLEN", `sojourn:s:{${foreign}}`)).toBe("1");
  });

  test("the user's client stays open when the store is closed, and its errors end no process", async () => {
    const client = createClient({ url: server.url });
    ending.push(() => client.destroy());
    const store = redisStore({ client });
    await warm(store);
    await store.close();
    expect(client.isOpen).toBe(true);
    expect(await client.ping()).toBe("PONG");
    expect(client.listenerCount("error")).toBeGreaterThan(0);
    expect(client.listenerCount("ready")).toBe(0);
  });

  test("a store closed before it was connected leaves no connection behind", async () => {
    const store = redisStore({ url: server.url });
    await store.close();
    await until(async () => (await server.command("INFO", "clients")).includes("connected_clients:1\r"));
    expect((await failure(store.read(key()))).code).toBe("STORE_CLOSED");
  });

  test("an operation of several steps ends within the time of one call", async () => {
    const stepMs = 200;
    // The real server, each of whose answers takes so long. A login has three steps.
    const proxy = createServer((client) => {
      const upstream = connect(server.port, "127.0.0.1");
      client.pipe(upstream);
      upstream.on("data", (chunk) => void setTimeout(() => client.write(chunk), stepMs));
      for (const socket of [client, upstream]) {
        socket.on("error", () => undefined);
        socket.on("close", () => [client, upstream].map((each) => each.destroy()));
      }
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    ending.push(() => proxy.close());
    const { port } = proxy.address() as AddressInfo;
    const store = open({ url: `redis://127.0.0.1:${port}` });
    const patient = { timeoutMs: 10_000 };
    expect(await store.create(session(), patient)).toMatchObject({ status: "created" });
    const login = () => session({ principal: { principal: "ada", ageMs: 0 } });
    expect(await store.create(login(), patient)).toMatchObject({ status: "created" });
    const hasty = await failure(store.create(login(), { timeoutMs: 2.5 * stepMs }));
    expect(hasty.code).toBe("STORE_UNAVAILABLE");
  });

  test("a server too old for the scripts is refused by its version", async () => {
    // The real server, said to be an older one.
    const proxy = createServer((client) => {
      const upstream = connect(server.port, "127.0.0.1");
      client.pipe(upstream);
      upstream.on("data", (chunk) => {
        client.write(chunk.toString("latin1").replace(/redis_version:\d/, "redis_version:6"), "latin1");
      });
      for (const socket of [client, upstream]) {
        socket.on("error", () => undefined);
        socket.on("close", () => [client, upstream].map((each) => each.destroy()));
      }
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    ending.push(() => proxy.close());
    const { port } = proxy.address() as AddressInfo;
    const store = open({ url: `redis://127.0.0.1:${port}` });
    await until(async () =>
      /version 6\..*Redis 7\.0 or newer/.test((await failure(store.read(key()))).message),
    );
  });

  test("servers that may evict, and replicas nobody waits for, draw a warning once", async () => {
    await server.command("CONFIG", "SET", "maxmemory", "100mb");
    await server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    const replica = await startRedis({
      args: ["--replicaof", "127.0.0.1", String(server.port), "--repl-diskless-sync-delay", "0"],
    });
    ending.push(() => replica.stop());
    await until(async () => (await server.command("INFO", "replication")).includes("state=online"));
    await warm(open());
    const warnings = told.filter(({ level }) => level === "warn").map(({ code }) => code);
    expect(warnings).toEqual(["EVICTION_POSSIBLE", "REPLICAS_OPTIONAL"]);
  });

  test("an ended session is on a replica when the end is answered, and a replica that is silent is told of", async () => {
    const replica = await startRedis({
      args: ["--replicaof", "127.0.0.1", String(server.port), "--repl-diskless-sync-delay", "0"],
    });
    ending.push(() => replica.stop());
    await until(async () => (await server.command("INFO", "replication")).includes("state=online"));
    const store = open();
    const { key: first } = await warm(store);
    expect(await store.destroy(first)).toBe(true);
    expect(await replica.command("TYPE", `sojourn:s:{${first}}`)).toBe("string");
    const { key: second } = await warm(store);
    replica.freeze();
    expect(await store.destroy(second)).toBe(true);
    replica.resume();
    expect(told.map(({ code }) => code)).toContain("REPLICA_NOT_CONFIRMED");
  });

  test("a promoted replica goes on under a new epoch, and lost writes show in the lineage", async () => {
    const replica = await startRedis({
      args: ["--replicaof", "127.0.0.1", String(server.port), "--repl-diskless-sync-delay", "0"],
    });
    ending.push(() => replica.stop());
    await until(async () => (await server.command("INFO", "replication")).includes("state=online"));
    const store = open();
    const made = await warm(store);
    await until(async () => (await replica.command("EXISTS", `sojourn:s:{${made.key}}`)) === "1");
    await replica.command("REPLICAOF", "NO", "ONE");
    const lost = await store.apply(made.key, set("lost"));
    const promoted = open({ url: replica.url });
    const result = await promoted.apply(made.key, set("1"));
    if (lost.status !== "applied" || result.status !== "applied") throw new Error("a write was not taken");
    expect(result.version.epoch).not.toBe(lost.version.epoch);
    const record = await promoted.read(made.key);
    expect(record?.lineage.get(lost.version.epoch)).toBe(lost.version.counter - 1);
    expect(await promoted.apply(made.key, set("2"), { atLeast: lost.version })).toEqual({ status: "behind" });
  });
});
