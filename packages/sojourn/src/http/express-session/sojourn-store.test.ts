/** With a Sojourn store, `req.session.x = …` keeps the promises of the native middleware. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { memoryStore } from "../../store/memory.ts";
import type { EnumerableStore } from "../../store/store.ts";
import session, { type Session } from "./index.ts";
import { Browser, idOf, type Req, site } from "./site.test.support.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

const of = (req: Req) => (req as unknown as { session: Session }).session;

/** Counts the calls that reach the store, by name. */
function counted(store: EnumerableStore): { store: EnumerableStore; calls: string[] } {
  const calls: string[] = [];
  const proxy = new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        calls.push(String(name));
        return Reflect.apply(value, target, args) as unknown;
      };
    },
  });
  return { store: proxy, calls };
}

describe("parallel requests", () => {
  test("of twenty that each add an attribute, none is lost", async () => {
    const waiting: (() => void)[] = [];
    const shop = await site({ store: memoryStore(), saveUninitialized: true }, async (req, res) => {
      const name = req.url?.slice(1);
      if (name === "" || name === "all") return res.end(JSON.stringify(Object.keys(req.session)));
      // All have read before the first writes.
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        if (waiting.length === 20) for (const go of waiting) go();
      });
      req.session[name as string] = 1;
      return res.end();
    });
    const browser = new Browser();
    await browser.visit(shop);
    await Promise.all(Array.from({ length: 20 }, (_, i) => browser.visit(shop, `/k${i}`)));
    const names = JSON.parse((await browser.visit(shop, "/all")).text) as string[];
    expect(names.filter((name) => name.startsWith("k"))).toHaveLength(20);
  });

  test.each(["reads", "writes"])(
    "a request that %s during a logout does not bring the session back",
    async (what) => {
      const slow = { hasBegun: deferred(), mayGoOn: deferred() };
      const store = memoryStore();
      const shop = await site({ store, resave: true, rolling: true }, async (req, res) => {
        if (req.url === "/login") req.session.user = "ada";
        if (req.url === "/logout") await of(req).destroy();
        if (req.url === "/slow") {
          slow.hasBegun.resolve();
          await slow.mayGoOn.promise;
          if (what === "writes") req.session.basket = 3;
        }
        res.end(String(req.session?.user));
      });
      const browser = new Browser();
      await browser.visit(shop, "/login");
      const answer = browser.visit(shop, "/slow");
      await slow.hasBegun.promise;
      await browser.visit(shop, "/logout");
      slow.mayGoOn.resolve();
      expect(await answer).toMatchObject(
        what === "writes" ? { status: 409, setCookies: [] } : { status: 200, text: "ada" },
      );
      expect(await store.count()).toBe(0);
      expect((await browser.visit(shop)).text).toBe("undefined");
    },
  );
});

test("a read is one store command, and moves the deadline once in a while", async () => {
  const { store, calls } = counted(memoryStore());
  const shop = await site({ store, cookie: { maxAge: 600_000 } }, (req, res) => {
    if (req.url === "/login") req.session.user = "ada";
    res.end(String(req.session.user));
  });
  const browser = new Browser();
  await browser.visit(shop, "/login");
  for (let i = 0; i < 5; i++) expect((await browser.visit(shop)).text).toBe("ada");
  expect(calls).toEqual(["create", "read", "read", "read", "read", "read"]);
  // Another server knows nothing of the save: its first request moves the deadline.
  const other = await site(
    { store, cookie: { maxAge: 600_000 } },
    (req, res) => void res.end(String(req.session.user)),
  );
  calls.length = 0;
  for (let i = 0; i < 3; i++) await browser.visit(other);
  expect(calls).toEqual(["read", "apply", "read", "read"]);
});

test("a request without a cookie, and one with a forged one, costs no store command", async () => {
  const { store, calls } = counted(memoryStore());
  const shop = await site({ store }, (req, res) => void res.end(String(req.session.user)));
  await new Browser().visit(shop);
  const browser = new Browser();
  browser.cookies.set("connect.sid", "s%3Amade-up.c2lnbmF0dXJl");
  await browser.visit(shop);
  expect(calls).toEqual([]);
});

test("a failed touch spoils no answer and is tried again", async () => {
  const told = vi.spyOn(console, "warn").mockImplementation(() => {});
  const store = memoryStore();
  const login = await site({ store, cookie: { maxAge: 600_000 } }, (req, res) => {
    req.session.user = "ada";
    res.end();
  });
  const shop = await site({ store, cookie: { maxAge: 600_000 } }, (req, res) => {
    res.end(String(req.session.user));
  });
  const browser = new Browser();
  await browser.visit(login);
  const refused = vi.spyOn(store, "apply").mockRejectedValue(new Error("no"));
  expect(await browser.visit(shop)).toMatchObject({ status: 200, text: "ada" });
  await vi.waitFor(() => expect(told).toHaveBeenCalledWith(expect.stringContaining("[TOUCH_FAILED]")));
  expect(await browser.visit(shop)).toMatchObject({ status: 200, text: "ada" });
  expect(refused).toHaveBeenCalledTimes(2);
  expect(shop.errors).toEqual([]);
});

test("sessions of a user can be listed and ended, and no store holds an id", async () => {
  const store = memoryStore();
  const shop = await site({ store, principal: (s: { user?: string }) => s.user }, async (req, res) => {
    if (req.url === "/login") {
      await of(req).regenerate();
      req.session.user = "ada";
    }
    res.end(String(req.session.user));
  });
  const browsers = [new Browser(), new Browser()];
  const ids: string[] = [];
  for (const browser of browsers) ids.push(idOf((await browser.visit(shop, "/login")).setCookies[0]));
  const { sessions } = await store.list({ principal: "ada" });
  expect(sessions).toHaveLength(2);
  expect(ids).not.toContain(sessions[0]?.key);
  expect(await store.endAll("ada")).toBe(2);
  for (const browser of browsers) expect((await browser.visit(shop)).text).toBe("undefined");
});

test("an id that was regenerated is ended, with everything under it", async () => {
  const store = memoryStore();
  const shop = await site({ store }, async (req, res) => {
    if (req.url === "/login") {
      await of(req).regenerate();
      req.session.user = "ada";
    } else {
      req.session.basket = 1;
    }
    res.end(JSON.stringify(Object.keys(req.session)));
  });
  const browser = new Browser();
  await browser.visit(shop);
  const before = new Map(browser.cookies);
  expect((await browser.visit(shop, "/login")).text).toBe('["cookie","user"]');
  expect(await store.count()).toBe(1);
  const late = new Browser();
  for (const [name, value] of before) late.cookies.set(name, value);
  expect((await late.visit(shop)).setCookies).toHaveLength(1);
  expect(late.cookies).not.toEqual(before);
});

test("a store option out of range is refused at the start", () => {
  expect(() => session({ secret: "s", store: memoryStore(), absoluteTimeoutMs: 0 })).toThrow(
    "absoluteTimeoutMs",
  );
});

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
