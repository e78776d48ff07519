/** Policies that several servers must keep together, each with its own connection to one real Redis. */
import { type RedisServer, redisServerPath, startRedis } from "@sojourn/testbed";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createSessions, type Sessions } from "../../sessions/create-sessions.ts";
import { Jar, SECRET } from "../../sessions/harness.test.support.ts";
import type { SessionsOptions } from "../../sessions/options.ts";
import { redisStore } from "./index.ts";

type Data = Record<string, unknown>;

describe.skipIf(redisServerPath() === undefined)("three servers on one Redis", () => {
  let redis: RedisServer;
  const closers: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(async () => {
    for (const close of closers) await close();
    await redis.stop();
  });

  function servers(options: SessionsOptions): Sessions<Data>[] {
    return Array.from({ length: 3 }, () => {
      const store = redisStore({ url: redis.url });
      closers.push(() => store.close());
      // Two cores and other tests beside this one: what is tested is order, not speed.
      return createSessions<Data>({ store, secret: SECRET, storeBudgetMs: 10_000, ...options });
    });
  }

  test.each(["end-oldest", "refuse"] as const)(
    "%s: twelve logins at once never leave more than two",
    async (onLimit) => {
      const here = servers({ sessionsPerPrincipalMax: 2, onLimit });
      const principal = `ada, ${onLimit}`;
      const browsers = Array.from({ length: 12 }, () => new Jar());
      const logins = await Promise.allSettled(
        browsers.map((browser, index) =>
          browser.request(here[index % 3]!, (session) => session.renew({ principal })),
        ),
      );
      for (const login of logins) {
        if (login.status === "rejected") expect(login.reason).toMatchObject({ code: "SESSION_LIMIT" });
      }
      const left = await here[0]!.count({ principal });
      expect(left).toBeGreaterThan(0);
      expect(left).toBeLessThanOrEqual(2);
      if (onLimit === "end-oldest") expect(left).toBe(2);
      // One more, alone, always finds its place or a plain answer.
      const last = new Jar();
      const login = last.request(here[1]!, (session) => session.renew({ principal }));
      if (onLimit === "end-oldest" || left < 2) await login;
      else await expect(login).rejects.toMatchObject({ code: "SESSION_LIMIT" });
      expect(await here[2]!.count({ principal })).toBe(2);
    },
  );

  test("exclusive: fifteen requests that read and write lose nothing", async () => {
    const here = servers({});
    const browser = new Jar();
    await browser.request(here[0]!, (session) => session.set("n", 0));
    const outcomes = await Promise.all(
      Array.from({ length: 15 }, async (_, index) => {
        const scope = here[index % 3]!.open({ cookie: browser.cookie, secure: false });
        const session = await scope.session({ exclusive: { waitMs: 10_000 } });
        session.set("n", (session.get("n") as number) + 1);
        const outcome = await scope.settle();
        scope.close();
        return outcome;
      }),
    );
    for (const outcome of outcomes) expect(outcome).toMatchObject({ ok: true });
    await browser.request(here[1]!, (session) => expect(session.get("n")).toBe(15));
  });

  test("TIME_BASED_WRITE: close() leaves everything in Redis, in one write for each session", async () => {
    const [late, other] = [servers({ writeFrequency: "TIME_BASED_WRITE" })[0]!, servers({})[0]!];
    const browser = new Jar();
    await browser.request(late, (session) => session.set("n", 0));
    for (let n = 1; n < 9; n++) await browser.request(late, (session) => session.set("n", n));
    await browser.request(other, (session) => expect(session.get("n")).toBe(0));
    await late.close();
    expect(late.stats().commits).toBe(1);
    await browser.request(other, (session) => expect(session.get("n")).toBe(8));
  });
});
