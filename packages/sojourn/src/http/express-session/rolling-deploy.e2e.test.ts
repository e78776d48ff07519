/**
 * The switch as it happens: servers with express-session and servers with ours side by side on one Redis, one browser
 * between them. Nobody is logged out, in either direction.
 */
import { createRequire } from "node:module";
import { createClient } from "@redis/client";
import { type RedisServer, redisServerPath, startRedis } from "@sojourn/testbed";
import { RedisStore } from "connect-redis";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { redisStore } from "../../drivers/redis/index.ts";
import session, { type Session, type SessionOptions } from "./index.ts";
import { Browser, type Handler, idOf, OPTIONS, type Req, type Site, siteWith } from "./site.test.support.ts";

// express-session ships no types.
const expressSession = createRequire(import.meta.url)("express-session") as typeof session;

interface Stored {
  cookie: { expires?: string; originalMaxAge: number };
  [attribute: string]: unknown;
}

/** With callbacks only, as programs written for express-session are. */
const shop: Handler = (req, res) => {
  const s = req.session as unknown as Session & Record<string, unknown>;
  const { pathname } = new URL(req.url ?? "/", "http://shop");
  const answer = (error?: unknown) => {
    if (error) res.statusCode = 500;
    res.end(JSON.stringify(error ? String(error) : { ...req.session, id: req.sessionID }));
  };
  if (pathname === "/count") {
    s.count = Number(s.count ?? 0) + 1;
    s.at = new Date(1_700_000_000_000);
    s.basket = { items: [{ name: "tea", price: 3.5 }] };
    answer();
  } else if (pathname === "/login") {
    s.regenerate((error) => {
      req.session.user = "ada";
      answer(error);
    });
  } else if (pathname === "/save") {
    s.saved = true;
    s.save(answer);
  } else if (pathname === "/logout") {
    s.destroy((error) => answer(error));
  } else {
    answer();
  }
};

describe.skipIf(redisServerPath() === undefined)("on a real Redis", () => {
  let redis: RedisServer;
  let client: ReturnType<typeof createClient>;
  beforeAll(async () => {
    redis = await startRedis();
    client = createClient({ url: redis.url });
    await client.connect();
  });
  afterAll(async () => {
    await client?.close();
    await redis?.stop();
  });

  let before: Site;
  let after: Site;
  let browser: Browser;
  const options: SessionOptions = { ...OPTIONS, cookie: { maxAge: 60_000, sameSite: "lax" }, rolling: true };
  beforeEach(async () => {
    browser = new Browser();
    before = await siteWith(expressSession({ ...options, store: new RedisStore({ client }) }), shop);
    after = await siteWith(session({ ...options, store: new RedisStore({ client }) }), shop);
  });

  async function stored(id: string): Promise<Stored> {
    return JSON.parse((await client.get(`sess:${id}`)) ?? "null") as Stored;
  }

  test("twenty requests in turn count to twenty, with one cookie and values intact", async () => {
    const cookies = new Set<string>();
    for (let i = 1; i <= 20; i++) {
      const answer = await browser.visit(i % 2 ? before : after, "/count");
      expect(JSON.parse(answer.text)).toMatchObject({
        count: i,
        basket: { items: [{ name: "tea", price: 3.5 }] },
      });
      cookies.add(answer.setCookies[0]?.split(";", 1)[0] ?? "");
      expect(before.errors.concat(after.errors)).toEqual([]);
    }
    // One id, signed to the same text by both.
    expect(cookies.size).toBe(1);
  });

  test.each(["express-session", "sojourn/express-session"])(
    "what %s stores has the same shape",
    async (who) => {
      const [first, second] = who === "express-session" ? [before, after] : [after, before];
      const answer = await browser.visit(first, "/count");
      const id = idOf(answer.setCookies[0]);
      const written = await stored(id);
      expect(Object.keys(written)).toEqual(["cookie", "count", "at", "basket"]);
      expect(written.cookie).toEqual({
        originalMaxAge: expect.closeTo(60_000, -1),
        expires: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        httpOnly: true,
        path: "/",
        sameSite: "lax",
      });
      expect(Object.keys(written.cookie)).toEqual([
        "originalMaxAge",
        "expires",
        "httpOnly",
        "path",
        "sameSite",
      ]);
      expect(written.at).toBe("2023-11-14T22:13:20.000Z");
      const read = JSON.parse((await browser.visit(second)).text) as Stored;
      expect(read).toMatchObject({ count: 1, id, at: written.at, basket: written.basket });
      expect(read.cookie.originalMaxAge).toBe(written.cookie.originalMaxAge);
      expect(await client.ttl(`sess:${id}`)).toBeGreaterThan(50);
    },
  );

  test("the Set-Cookie lines say the same", async () => {
    const line = ({ setCookies }: { setCookies: readonly string[] }) =>
      setCookies[0]?.replace(/=s%3A[^;]+/, "=…").replace(/Expires=[^;]+/, "Expires=…");
    const old = line(await new Browser().visit(before, "/count"));
    expect(old).toBe("connect.sid=…; Path=/; Expires=…; HttpOnly; SameSite=Lax");
    expect(line(await new Browser().visit(after, "/count"))).toBe(old);
  });

  test("login, save and logout on one side count on the other, both ways", async () => {
    for (const [first, second] of [
      [before, after],
      [after, before],
    ] as const) {
      await browser.visit(first, "/count");
      const anonymous = browser.cookies.get("connect.sid");
      await browser.visit(first, "/login");
      expect(browser.cookies.get("connect.sid")).not.toBe(anonymous);
      expect(JSON.parse((await browser.visit(second)).text)).toMatchObject({ user: "ada" });
      expect(JSON.parse((await browser.visit(second, "/save")).text)).toMatchObject({
        user: "ada",
        saved: true,
      });
      expect(JSON.parse((await browser.visit(first)).text)).toMatchObject({ user: "ada", saved: true });
      await browser.visit(second, "/logout");
      expect(JSON.parse((await browser.visit(first)).text)).not.toHaveProperty("user");
    }
  });

  describe("when the store changes too, with carryOver", () => {
    let moved: Site;
    let prefixes = 0;
    beforeEach(async () => {
      const store = redisStore({ url: redis.url, prefix: `moved-${++prefixes}` });
      onTestFinished(() => store.close());
      const carryOver = new RedisStore({ client });
      moved = await siteWith(session({ ...options, store, carryOver }), shop);
    });

    test("a visitor's session comes along under its cookie, values and deadline intact, and goes on here", async () => {
      await browser.visit(before, "/count");
      await browser.visit(before, "/login");
      await browser.visit(before, "/count");
      const cookie = browser.cookies.get("connect.sid");
      const seen = JSON.parse((await browser.visit(moved, "/count")).text) as Stored;
      expect(seen).toMatchObject({ user: "ada", count: 2, at: "2023-11-14T22:13:20.000Z" });
      expect(seen.cookie.originalMaxAge).toBeGreaterThan(50_000);
      expect(browser.cookies.get("connect.sid")).toBe(cookie);
      expect(JSON.parse((await browser.visit(moved, "/count")).text)).toMatchObject({
        user: "ada",
        count: 3,
      });
      // As it was, for a server that has not changed yet.
      expect(JSON.parse((await browser.visit(before)).text)).toMatchObject({ user: "ada", count: 1 });
    });

    test("six parallel requests carry it over once", async () => {
      await browser.visit(before, "/login");
      const seen = await Promise.all(Array.from({ length: 6 }, () => browser.visit(moved)));
      for (const { text } of seen) expect(JSON.parse(text)).toMatchObject({ user: "ada" });
      expect(moved.errors).toEqual([]);
    });

    test("a logout ends it in both stores, and what still lies in the old one does not come back", async () => {
      await browser.visit(before, "/login");
      const old = `sess:${JSON.parse((await browser.visit(before)).text).id}`;
      const blob = (await client.get(old)) ?? "";
      await browser.visit(moved);
      const cookie = browser.cookies.get("connect.sid") ?? "";
      await browser.visit(moved, "/logout");
      expect(await client.get(old)).toBeNull();
      // A slow request on an old server writes the session again, as express-session does.
      await client.set(old, blob);
      browser.cookies.set("connect.sid", cookie);
      expect(JSON.parse((await browser.visit(moved)).text)).not.toHaveProperty("user");
    });

    test("what is not a store of express-session is refused, naming the option", () => {
      const carryOver = redisStore({ url: redis.url }) as never;
      const store = redisStore({ url: redis.url });
      expect(() => session({ ...options, store, carryOver })).toThrow(/carryOver/);
      expect(() => session({ ...options, carryOver: new RedisStore({ client }) })).toThrow(/carryOver/);
    });
  });

  test("a frozen Redis: a login is 503, nobody without a cookie notices, and it goes on when Redis does", async () => {
    const store = new RedisStore({ client });
    const site = await siteWith(session({ ...options, store, storeTimeoutMs: 200 }), shop);
    await browser.visit(site, "/count");
    redis.freeze();
    try {
      const [login, read, stranger] = await Promise.all([
        new Browser().visit(site, "/count"),
        browser.visit(site),
        new Browser().visit(site),
      ]);
      expect(login).toMatchObject({ status: 503, setCookies: [] });
      expect(read).toMatchObject({ status: 500, setCookies: [] });
      expect(stranger).toMatchObject({ status: 200, setCookies: [] });
    } finally {
      redis.resume();
    }
    await vi.waitFor(async () => expect((await browser.visit(site)).text).toContain('"count":1'));
  });

  test("over our Redis store two servers lose none of twenty parallel changes, and a logout is final", async () => {
    const store = redisStore({ url: redis.url, prefix: "native" });
    const gate = { arrived: 0, open: [] as (() => void)[] };
    const handler: Handler = async (req: Req, res) => {
      const name = req.url?.slice(1) ?? "";
      if (name === "logout") {
        await (req as unknown as { session: Session }).session.destroy();
        return res.end();
      }
      if (name.startsWith("k")) {
        await new Promise<void>((resolve) => {
          gate.open.push(resolve);
          if (++gate.arrived === 20) for (const go of gate.open) go();
        });
      }
      if (name !== "") req.session[name] = 1;
      return res.end(Object.keys(req.session).join());
    };
    const sites = [
      await siteWith(session({ ...options, store }), handler),
      await siteWith(session({ ...options, store }), handler),
    ] as const;
    await browser.visit(sites[0], "/begin");
    await Promise.all(Array.from({ length: 20 }, (_, i) => browser.visit(sites[i % 2 ? 1 : 0], `/k${i}`)));
    const names = (await browser.visit(sites[1])).text.split(",");
    expect(names.filter((name) => /^k\d/.test(name))).toHaveLength(20);
    await browser.visit(sites[0], "/logout");
    expect((await browser.visit(sites[1])).text).toBe("cookie");
    await store.close();
  });
});
