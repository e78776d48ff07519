/** The guide's programs compile as they stand, run, and do what the text around them says. */
import { execFileSync } from "node:child_process";
import { type RedisServer, redisServerPath, startRedis } from "@sojourn/testbed";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compilePrograms, programsOf, startProgram, Visitor } from "./snippets.ts";

const programs = programsOf("docs/guide.md");
const { found, fileOf } = compilePrograms("guide", programs);
const SECRET = { COOKIE_SECRET: "signs the cookies of the guide" };

async function running(
  name: string,
  drive: (origin: string) => Promise<void>,
  env: Record<string, string> = {},
): Promise<void> {
  const program = await startProgram(fileOf(name), { ...SECRET, ...env });
  try {
    await drive(program.origin);
  } finally {
    await program.stop();
  }
}

test("every program of the guide compiles, and each is driven below", () => {
  expect(found).toBe("");
  expect([...programs.keys()]).toEqual([
    "begin",
    "several-servers",
    "login",
    "store-away",
    "stream",
    "expiry",
  ]);
});

test("begin: a cart is kept, and a visitor who only looks gets no cookie", () =>
  running("begin", async (origin) => {
    const visitor = new Visitor(origin);
    expect((await visitor.get("/cart")).headers.getSetCookie()).toEqual([]);
    expect((await visitor.post("/cart/tea")).status).toBe(204);
    expect((await visitor.post("/cart/cups")).status).toBe(204);
    expect(await (await visitor.get("/cart")).json()).toEqual(["tea", "cups"]);
  }));

test("login: 401 before, the user after, devices listed, logged out everywhere", () =>
  running("login", async (origin) => {
    const [phone, laptop] = [new Visitor(origin), new Visitor(origin)];
    expect((await phone.get("/me")).status).toBe(401);
    for (const visitor of [phone, laptop]) expect((await visitor.post("/login/ada")).status).toBe(303);
    expect(await (await phone.get("/me")).json()).toEqual({ principal: "ada" });
    expect(await (await phone.get("/devices")).json()).toHaveLength(2);
    expect((await phone.post("/logout-everywhere")).status).toBe(204);
    expect((await laptop.get("/me")).status).toBe(401);
    expect((await laptop.post("/login/ada")).status).toBe(303);
    expect((await laptop.post("/logout")).status).toBe(303);
    expect((await laptop.get("/me")).status).toBe(401);
  }));

test("stream: update commits while the response is under way", () =>
  running("stream", async (origin) => {
    const visitor = new Visitor(origin);
    expect(await (await visitor.post("/import")).text()).toBe("25 %\n50 %\n75 %\n100 %\n");
    expect(await (await visitor.get("/progress")).json()).toBe(100);
  }));

test("expiry: the program prints what its comments say", () => {
  const printed = execFileSync(process.execPath, [fileOf("expiry")], { encoding: "utf8" });
  const said = [...(programs.get("expiry") ?? "").matchAll(/\/\/ → (.*)$/gm)].map(([, line]) => line);
  expect(said).toHaveLength(2);
  expect(printed.trim().split("\n")).toEqual(said);
});

describe.skipIf(redisServerPath() === undefined)("with Redis", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());

  /** On a busy machine the first connection may take longer than a request waits for it. */
  async function connected(origin: string, path: string, method = "GET"): Promise<void> {
    const status = async () => (await new Visitor(origin).send(method, path)).status;
    await expect.poll(status, { timeout: 10_000 }).toBeLessThan(300);
  }

  test("several servers: one visitor's count over two of them, and SIGTERM ends both cleanly", async () => {
    const env = { ...SECRET, REDIS_URL: redis.url };
    const servers = [
      await startProgram(fileOf("several-servers"), env),
      await startProgram(fileOf("several-servers"), env),
    ];
    for (const { origin } of servers) await connected(origin, "/");
    const cookies: string[] = [];
    for (let visits = 1; visits <= 6; visits++) {
      const response = await fetch(`${servers[visits % 2]?.origin}/`, {
        headers: { cookie: cookies.join("; "), connection: "close" },
      });
      for (const line of response.headers.getSetCookie()) cookies.push(line.split(";")[0] ?? "");
      expect(await response.json()).toEqual({ visits });
    }
    expect(await Promise.all(servers.map((server) => server.stop()))).toEqual([0, 0]);
  });

  test("store away: the page greets a stranger, the write answers 503, and the name is back afterwards", () =>
    running(
      "store-away",
      async (origin) => {
        await connected(origin, "/name/eve", "POST");
        const visitor = new Visitor(origin);
        expect((await visitor.post("/name/ada")).status).toBe(204);
        redis.freeze();
        try {
          const away = await visitor.get("/");
          expect([away.status, await away.text()]).toEqual([200, "Hello stranger"]);
          const refused = await visitor.post("/name/eve");
          expect(refused.status).toBe(503);
          expect(refused.headers.get("retry-after")).toMatch(/^\d+$/);
        } finally {
          redis.resume();
        }
        await expect.poll(async () => (await visitor.get("/")).text(), { timeout: 10_000 }).toBe("Hello ada");
      },
      { REDIS_URL: redis.url },
    ));
});
