/** The example as its reader starts it, on a real Redis, while its servers are killed and Redis goes away. */
import { fileURLToPath } from "node:url";
import {
  type Program,
  type RedisServer,
  redisServerPath,
  startProgram,
  startRedis,
  Visitor,
} from "@sojourn/testbed";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const START = fileURLToPath(new URL("../dist/start.js", import.meta.url));

describe.skipIf(redisServerPath() === undefined)("express-redis", () => {
  let redis: RedisServer;
  let program: Program;
  let a: string;
  let b: string;
  let pidOfA: number;

  beforeEach(async () => {
    redis = await startRedis();
    program = startProgram([START], { PORT: "0", REDIS_URL: redis.url });
    const [, originA = "", pid] = await program.said(/shop a on (\S+), pid (\d+)/);
    const [, originB = ""] = await program.said(/shop b on (\S+), pid \d+/);
    [a, b, pidOfA] = [originA, originB, Number(pid)];
  });

  afterEach(async () => {
    await program.stop();
    await redis.stop();
  });

  test("one shop on two servers: a login and a cart survive the death of the server they began on", async () => {
    const ada = new Visitor();
    expect((await ada.post(`${a}/cart/tea`)).status).toBe(303);
    expect((await ada.post(`${a}/login`, { user: "ada" })).status).toBe(303);
    // Twenty clicks at once, on both servers.
    await Promise.all(Array.from({ length: 20 }, (_, index) => ada.post(`${index % 2 ? a : b}/cart/cups`)));
    process.kill(pidOfA, "SIGKILL");
    await expect.poll(() => fetch(a).catch(() => "gone"), { timeout: 10_000 }).toBe("gone");
    const page = await (await ada.get(b)).text();
    for (const line of ["<p>ada ", "1 × tea", "20 × cups", "server b"]) expect(page).toContain(line);
  });

  test("log out everywhere ends the user's other browsers, on the other server too, and nobody else", async () => {
    const [laptop, phone, bob] = [new Visitor(), new Visitor(), new Visitor()];
    await laptop.post(`${a}/login`, { user: "ada" });
    await phone.post(`${b}/login`, { user: "ada" });
    await bob.post(`${b}/login`, { user: "bob" });
    await laptop.post(`${a}/logout-everywhere`);
    for (const [visitor, origin] of [
      [laptop, b],
      [phone, b],
      [phone, a],
    ] as const) {
      expect(await (await visitor.get(origin)).text()).toContain(">Log in<");
    }
    expect(await (await bob.get(a)).text()).toContain("<p>bob ");
  });

  test("while Redis is away nothing is promised that is not stored, and its return needs no restart", async () => {
    const ada = new Visitor();
    await ada.post(`${a}/cart/tea`);
    await redis.kill();
    const refused = await ada.post(`${a}/cart/tea`);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
    // A stranger's page needs no store.
    expect((await new Visitor().get(b)).status).toBe(200);
    await redis.restart();
    // Each server comes back by itself, when its own connection does.
    const bob = new Visitor();
    for (const origin of [b, a]) {
      const add = async () => (await bob.post(`${origin}/cart/honey`)).status;
      await expect.poll(add, { timeout: 15_000 }).toBe(303);
    }
    expect(await (await bob.get(a)).text()).toMatch(/[1-9]\d* × honey/);
  });
});
