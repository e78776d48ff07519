/** What an operation costs: commands, and bytes on their way to the server. */
import { connect, createServer, type Server } from "node:net";
import { type RedisServer, redisServerPath, startRedis } from "@sojourn/testbed";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { newSessionId, type SessionKey, sessionKeyOf } from "../../core/ids.ts";
import type { NewSession } from "../../core/record.ts";
import { type RedisStore, redisStore } from "./index.ts";

const CALLS = 20;
/** design: a write of one attribute is that attribute and at most so many bytes. */
const OVERHEAD_BYTES_MAX = 250;

const key = (): SessionKey => sessionKeyOf(newSessionId(systemClock));
const session = (more: Partial<NewSession> = {}): NewSession => ({
  key: key(),
  attributes: new Map([["theme", Buffer.from("dark")]]),
  expiresAtMs: Date.now() + 600_000,
  absoluteExpiresAtMs: Date.now() + 3_600_000,
  ...more,
});

describe.skipIf(redisServerPath() === undefined)("redis: the cost of an operation", () => {
  let server: RedisServer;
  let proxy: Server;
  let store: RedisStore;
  let bytesUp = 0;

  beforeAll(async () => {
    server = await startRedis();
    proxy = createServer((client) => {
      const upstream = connect(server.port, "127.0.0.1");
      client.on("data", (chunk) => {
        bytesUp += chunk.length;
      });
      client.pipe(upstream).pipe(client);
      for (const socket of [client, upstream]) {
        socket.on("error", () => undefined);
        socket.on("close", () => {
          client.destroy();
          upstream.destroy();
        });
      }
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const address = proxy.address();
    if (address === null || typeof address === "string") throw new Error("the proxy has no port");
    store = redisStore({ url: `redis://127.0.0.1:${address.port}`, timeoutMs: 5_000 });
    await store.read(key());
  });
  afterAll(async () => {
    await store.close();
    proxy.close();
    await server.stop();
  });

  /** Scripts that the server was sent meanwhile. */
  async function scripts(act: () => Promise<unknown>): Promise<number> {
    await server.command("CONFIG", "RESETSTAT");
    for (let call = 0; call < CALLS; call++) await act();
    const stats = await server.command("INFO", "commandstats");
    const count = (name: string) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
    return (count("evalsha") + count("eval")) / CALLS;
  }

  test("each operation is one command; a login is three, a logout with a principal two", async () => {
    const there = session();
    expect(await scripts(() => store.create(session()))).toBe(1);
    await store.create(there);
    expect(await scripts(() => store.read(there.key))).toBe(1);
    expect(await scripts(() => store.read(key()))).toBe(1);
    const delta = { set: new Map([["theme", Buffer.from("light")]]) };
    expect(await scripts(() => store.apply(there.key, delta))).toBe(1);
    expect(await scripts(() => store.touch(there.key, Date.now() + 900_000))).toBe(1);
    expect(await scripts(() => store.destroy(key()))).toBe(1);
    const login = () => session({ principal: { principal: "ada", ageMs: 0 } });
    expect(await scripts(() => store.create(login()))).toBe(3);
    const logins = Array.from({ length: CALLS }, login);
    for (const each of logins) await store.create(each);
    expect(await scripts(() => store.destroy(logins.pop()?.key as SessionKey))).toBe(2);
  });

  test(`a write of one attribute sends it and at most ${OVERHEAD_BYTES_MAX} bytes`, async () => {
    const there = session();
    await store.create(there);
    const [name, value] = ["cart", Buffer.alloc(300, "x")];
    const delta = { set: new Map([[name, value]]), expiresAtMs: Date.now() + 900_000 };
    // The client's own pings fall between some of the writes: the least is a write alone.
    let leastBytes = Number.POSITIVE_INFINITY;
    for (let call = 0; call < CALLS; call++) {
      bytesUp = 0;
      expect((await store.apply(there.key, delta)).status).toBe("applied");
      leastBytes = Math.min(leastBytes, bytesUp);
    }
    expect(leastBytes - name.length - value.length).toBeLessThanOrEqual(OVERHEAD_BYTES_MAX);
    expect(leastBytes).toBeGreaterThan(value.length);
  });
});
