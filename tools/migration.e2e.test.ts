/** The programs of the migration guide compile and do what the page says. */
import { type RedisServer, redisServerPath, startRedis } from "@sojourn/testbed";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compilePrograms, programsOf, type RunningProgram, startProgram, Visitor } from "./snippets.ts";

const programs = programsOf("docs/migrate-from-express-session.md");
const { found, fileOf } = compilePrograms("migration", programs);

test("the migration guide's programs compile", () => {
  expect([...programs.keys()]).toEqual(["store", "middleware"]);
  expect(found).toBe("");
});

describe.skipIf(redisServerPath() === undefined)("on Redis", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());

  async function running(name: string): Promise<RunningProgram> {
    const env = { REDIS_URL: redis.url, SESSION_SECRET: "signs the cookies of the guide" };
    const program = await startProgram(fileOf(name), env);
    const status = async () => (await new Visitor(program.origin).post("/login/nobody")).status;
    await expect.poll(status, { timeout: 10_000 }).toBe(303);
    return program;
  }

  test("step 2: a login over the drop-in on our store", async () => {
    const program = await running("store");
    try {
      const visitor = new Visitor(program.origin);
      expect(await (await visitor.get("/")).json()).toEqual({ user: null });
      expect((await visitor.post("/login/ada")).status).toBe(303);
      expect(await (await visitor.get("/")).json()).toEqual({ user: "ada" });
    } finally {
      await program.stop();
    }
  });

  test("step 3: the same with the native middleware", async () => {
    const program = await running("middleware");
    try {
      const visitor = new Visitor(program.origin);
      expect((await visitor.post("/login/ada")).status).toBe(303);
      expect(await (await visitor.get("/")).json()).toEqual({ user: "ada", visits: 1 });
      expect(await (await visitor.get("/")).json()).toEqual({ user: "ada", visits: 2 });
    } finally {
      await program.stop();
    }
  });
});
