/** `npm start -- --store redis://…`: sessions live in a real Redis, and no shop's death costs one. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type RedisServer, redisServerPath, startRedis } from "@sojourn/testbed";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isAlive, Quickstart, send, until, Visitor } from "./quickstart.test.support.ts";

const SHOPS = ["express", "fastify", "node"];

describe.skipIf(redisServerPath() === undefined)("on a Redis", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());

  async function start(): Promise<Quickstart> {
    const it = await Quickstart.begin(["--store", redis.url]);
    await it.ready();
    return it;
  }

  /** On a busy machine shops may still be connecting when the first visitor comes. */
  async function login(visitor: Visitor): Promise<void> {
    await until(
      async () => (await visitor.send("POST", "/login", { user: "ada" })).status === 303,
      "logged in",
    );
  }

  const servers = async (it: Quickstart) => (await send(it.url, "GET", "/control/servers")).json;

  test("no session server is started, and everybody says where sessions live", async () => {
    await using it = await start();
    expect(it.up().map(({ role }) => role)).toEqual(["shop", "shop", "shop", "router"]);
    expect(it.output).toContain("share their sessions through Redis");
    expect(it.output).toContain(
      `sojourn session list --store redis://127.0.0.1:${redis.port} --prefix quickstart`,
    );
    const overview = await servers(it);
    expect(overview).toMatchObject({ strategy: "redis", store: `127.0.0.1:${redis.port}` });
    expect(overview.servers[0]).toMatchObject({
      name: "redis",
      role: "store",
      state: "running",
      sessions: 0,
    });
    expect(
      (await send(it.url, "POST", "/control/servers/redis/kill", { headers: { origin: it.url } })).status,
    ).toBe(404);
  });

  test("every server knows what any was told, and killing all but one in turn loses nothing", async () => {
    await using it = await start();
    const visitor = new Visitor(it.url);
    visitor.jar.set("sojourn-affinity", "none");
    await login(visitor);
    await visitor.send("PUT", "/session/attributes/city", "Seoul");
    for (let n = 1; n <= 6; n++) {
      expect((await visitor.send("POST", "/session/counters/n")).json).toEqual({ value: n });
    }
    for (const name of SHOPS) {
      const { pid } = it.entry(name);
      expect((await it.control(name, "kill")).status).toBe(202);
      await until(() => !isAlive(pid), `${name} is dead`);
      for (let visits = 0; visits < 3; visits++) {
        const view = await visitor.view();
        expect(view.server).not.toBe(name);
        expect(view).toMatchObject({ principal: "ada", attributes: { city: "Seoul", n: 6 } });
      }
      expect((await it.control(name, "start")).status).toBe(200);
    }
    await until(
      async () => (await servers(it)).servers[0].sessions === 1,
      "the page counts the session in Redis",
    );
    await visitor.send("POST", "/logout-everywhere");
    expect(await visitor.view()).toMatchObject({ principal: null, attributes: {} });
  });

  test("while Redis is away visitors get 503 and the page says so; when it is back, all goes on without a restart", async () => {
    await using it = await start();
    const visitor = new Visitor(it.url);
    await login(visitor);
    redis.freeze();
    try {
      expect((await visitor.send("GET", "/session")).status).toBe(503);
      await until(
        async () => (await servers(it)).servers[0].state === "stopped",
        "the page shows Redis as away",
      );
      expect((await send(it.url, "GET", "/session")).json).toMatchObject({ principal: null });
    } finally {
      redis.resume();
    }
    await until(async () => (await visitor.send("GET", "/session")).status === 200, "Redis is back");
    expect(await visitor.view()).toMatchObject({ principal: "ada" });
  });

  test.runIf(process.platform === "linux")("a password stands in no process's arguments", async () => {
    const password = "telling-password";
    await redis.command("CONFIG", "SET", "requirepass", password);
    try {
      const place = await Quickstart.begin(["--help"]);
      const file = join(place.stateDir, "redis.url");
      writeFileSync(file, `redis://:${password}@127.0.0.1:${redis.port}\n`, { mode: 0o600 });
      await using it = await Quickstart.begin(["--store-file", file]);
      await it.ready();
      await using _ = place;
      expect(statSync(join(it.stateDir, "store.url")).mode & 0o077).toBe(0);
      const visitor = new Visitor(it.url);
      await login(visitor);
      for (const { pid } of it.up()) {
        const about = ["cmdline", "environ"].map((name) => readFileSync(`/proc/${pid}/${name}`, "utf8"));
        expect(about.join()).not.toContain(password);
      }
      expect(it.output).not.toContain(password);
    } finally {
      await redis.stop();
      redis = await startRedis();
    }
  });
});

describe("what --store does not go with", () => {
  const refused = async (...args: string[]) => {
    await using it = await Quickstart.begin(args);
    expect(await it.ended()).toBe(1);
    expect(it.output).not.toContain("    at ");
    return it.output;
  };

  test("a strategy: each says why", async () => {
    const store = ["--store", "redis://127.0.0.1:1"];
    expect(await refused(...store, "--strategy", "sticky")).toContain(
      "with sticky every shop keeps its own sessions",
    );
    expect(await refused(...store, "--strategy", "none")).toContain(
      "with none every shop keeps its own sessions",
    );
    expect(await refused(...store, "--strategy", "session-server")).toContain("a session server of its own");
    expect(await refused("--strategy", "redis")).toContain("--store redis://127.0.0.1:6379");
  });

  test("a Redis that is not there: what was found, and what to do, before anything has started", async () => {
    const output = await refused("--store", "redis://127.0.0.1:1");
    expect(output).toContain("Cannot start on Redis at 127.0.0.1:1");
    expect(output).toContain("redis-server --port 1");
  });

  test("a URL that is none, one of something else, and a password", async () => {
    expect(await refused("--store", "127.0.0.1:6379")).toContain("expected redis://host:port");
    expect(await refused("--store", "mysql://127.0.0.1")).toContain("expected redis://host:port");
    const password = await refused("--store", "redis://:telling-password@127.0.0.1");
    expect(password).toContain("--store-file");
    expect(password).not.toContain("telling-password");
    expect(await refused("--store", "redis://127.0.0.1", "--store-file", "x")).toContain("name Redis once");
    expect(await refused("--store-file", "/does/not/exist")).toContain("ENOENT");
  });
});
