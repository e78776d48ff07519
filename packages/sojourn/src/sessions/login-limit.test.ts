/** How many sessions a user may have. Names are the promises of docs/policies.md. */
import { expect, test } from "vitest";
import type { SessionStore } from "../store/store.ts";
import { GatedStore, house, Jar } from "./harness.test.support.ts";
import type { SessionsOptions } from "./options.ts";

type House = ReturnType<typeof house>;

/** Everything passes, but the calls that this counts. */
function counted(store: House["store"]) {
  const calls = { list: 0, read: 0 };
  const counting = new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (name === "list" || name === "read") calls[name]++;
        if (name === "readNow") calls.read++;
        return value.apply(target, args);
      };
    },
  });
  return { calls, store: counting };
}

async function login(sessions: House["sessions"], principal = "ada", browser = new Jar()): Promise<Jar> {
  await browser.request(sessions, async (session) => {
    session.set("cart", "tea");
    await session.renew({ principal });
  });
  return browser;
}

async function principalOf(sessions: House["sessions"], browser: Jar): Promise<string | null> {
  let principal: string | null = null;
  await browser.request(sessions, (session) => {
    principal = session.principal;
  });
  return principal;
}

const refused = expect.objectContaining({ code: "SESSION_LIMIT", status: 409 });

// — end-oldest —

test("end-oldest: the login above the limit ends the session that logged in longest ago, however busy that one is", async () => {
  const { sessions, clock } = house({ sessionsPerPrincipalMax: 2 });
  const first = await login(sessions);
  clock.advance(1_000);
  const second = await login(sessions);
  const bob = await login(sessions, "bob");
  clock.advance(120_000);
  expect(await principalOf(sessions, first)).toBe("ada");
  const third = await login(sessions);
  const stay = [await principalOf(sessions, first), await principalOf(sessions, second)];
  expect(stay).toEqual([null, "ada"]);
  expect(await principalOf(sessions, third)).toBe("ada");
  expect(await principalOf(sessions, bob)).toBe("bob");
});

test("end-oldest: a visitor who was there long before logging in is the newest login, not the oldest", async () => {
  const { sessions, clock } = house({ sessionsPerPrincipalMax: 1 });
  const early = new Jar();
  await early.request(sessions, (session) => session.set("cart", "tea"));
  clock.advance(60_000);
  const other = await login(sessions);
  clock.advance(60_000);
  await login(sessions, "ada", early);
  expect(await principalOf(sessions, early)).toBe("ada");
  expect(await principalOf(sessions, other)).toBeNull();
});

test("end-oldest: logging in again in the same session, or renewing its id, ends nobody else's", async () => {
  const { sessions, clock } = house({ sessionsPerPrincipalMax: 2 });
  const [one, two] = [await login(sessions), await login(sessions)];
  for (let again = 0; again < 3; again++) {
    clock.advance(1_000);
    await login(sessions, "ada", one);
    await one.request(sessions, (session) => session.renew());
  }
  expect([await principalOf(sessions, one), await principalOf(sessions, two)]).toEqual(["ada", "ada"]);
});

test("end-oldest: sessions from before there was a limit are older than all others, the idlest first", async () => {
  const { sessions, another, clock } = house();
  const [idle, busy] = [await login(sessions), await login(sessions)];
  clock.advance(120_000);
  await principalOf(sessions, busy);
  const limited = another({ sessionsPerPrincipalMax: 2 });
  await login(limited);
  expect([await principalOf(sessions, idle), await principalOf(sessions, busy)]).toEqual([null, "ada"]);
  await login(limited);
  expect(await principalOf(sessions, busy)).toBeNull();
});

test("end-oldest: a login within the limit costs one listing, and a request that does not log in nothing", async () => {
  const all = house();
  const { calls, store } = counted(all.store);
  const sessions = all.another({ store, sessionsPerPrincipalMax: 2 });
  const browser = await login(sessions);
  await login(sessions);
  expect(calls).toEqual({ list: 2, read: 0 });
  await browser.request(sessions, (session) => session.renew({ principal: null }));
  expect(calls).toEqual({ list: 2, read: 1 });
});

test.each([1, 2, 5])(
  "end-oldest: twenty logins at once leave exactly %i, and they never end each other",
  async (max) => {
    for (let round = 0; round < 10; round++) {
      const all = house({ sessionsPerPrincipalMax: max });
      const servers = [all.sessions, all.another(), all.another()];
      const browsers = Array.from({ length: 20 }, () => new Jar());
      const results = await Promise.allSettled(
        browsers.map((browser, index) => login(servers[index % 3]!, "ada", browser)),
      );
      expect(await all.store.count({ principal: "ada" })).toBe(max);
      for (const result of results) if (result.status === "rejected") expect(result.reason).toEqual(refused);
      const alive = await Promise.all(browsers.map((browser) => principalOf(all.sessions, browser)));
      expect(alive.filter((principal) => principal === "ada")).toHaveLength(max);
    }
  },
);

test("end-oldest: a login that newer ones overtook is told so, and its browser gets no id", async () => {
  const all = house({ sessionsPerPrincipalMax: 1 });
  const gated = counted(all.store);
  const late = new Jar();
  // Its server's clock is a minute behind.
  const sessions = all.another({ store: gated.store });
  all.clock.stepWall(60_000);
  const winner = await login(sessions);
  all.clock.stepWall(-60_000);
  await expect(login(sessions, "ada", late)).rejects.toEqual(refused);
  expect(late.cookie).toBeUndefined();
  expect(await principalOf(sessions, winner)).toBe("ada");
  expect(await all.store.count()).toBe(1);
});

// — refuse —

test("refuse: the login above the limit is refused and nothing has changed; after a logout there is room", async () => {
  const { sessions, store } = house({ sessionsPerPrincipalMax: 1, onLimit: "refuse" });
  const first = await login(sessions);
  const second = new Jar();
  await second.request(sessions, (session) => session.set("cart", "tea"));
  const { cookie } = second;
  await second.request(sessions, async (session) => {
    await expect(session.renew({ principal: "ada" })).rejects.toEqual(refused);
    expect([session.principal, session.get("cart")]).toEqual([null, "tea"]);
  });
  expect(second.cookie).toBe(cookie);
  expect(await store.count()).toBe(2);
  await first.request(sessions, (session) => session.destroy());
  await login(sessions, "ada", second);
  expect(await principalOf(sessions, second)).toBe("ada");
});

test("refuse: the handler says it in its own words, and its other changes are stored", async () => {
  const { sessions } = house({ sessionsPerPrincipalMax: 1, onLimit: "refuse" });
  await login(sessions);
  const second = new Jar();
  const { outcome } = await second.request(sessions, async (session) => {
    await session.renew({ principal: "ada" }).catch(() => session.set("note", "logged in elsewhere"));
  });
  expect(outcome).toMatchObject({ ok: true });
  await second.request(sessions, (session) => expect(session.get("note")).toBe("logged in elsewhere"));
});

test("refuse: who is logged in may log in again and renew", async () => {
  const { sessions } = house({ sessionsPerPrincipalMax: 1, onLimit: "refuse" });
  const browser = await login(sessions);
  await login(sessions, "ada", browser);
  await browser.request(sessions, (session) => session.renew());
  expect(await principalOf(sessions, browser)).toBe("ada");
});

test.each([1, 3])(
  "refuse: of twenty logins at once %i hold, and the others keep what they had",
  async (max) => {
    for (let round = 0; round < 5; round++) {
      const all = house({ sessionsPerPrincipalMax: max, onLimit: "refuse" });
      const servers = [all.sessions, all.another(), all.another()];
      const browsers = Array.from({ length: 20 }, () => new Jar());
      for (const browser of browsers) {
        await browser.request(all.sessions, (session) => session.set("cart", "tea"));
      }
      let over = false;
      const racing = Promise.allSettled(
        browsers.map((browser, index) =>
          browser.request(servers[index % 3]!, (session) => session.renew({ principal: "ada" })),
        ),
      ).finally(() => {
        over = true;
      });
      while (!over) await all.clock.advanceAsync(5);
      const won = (await racing).filter(({ status }) => status === "fulfilled").length;
      expect(won).toBeLessThanOrEqual(max);
      expect(won).toBeGreaterThan(0);
      expect(await all.store.count({ principal: "ada" })).toBe(won);
      expect(await all.store.count()).toBe(20);
    }
  },
);

test("refuse: a login that was told it holds is not undone by one that was stamped earlier and stored later", async () => {
  const all = house({ sessionsPerPrincipalMax: 1, onLimit: "refuse" });
  const winner = new Jar();
  const slow = new Jar();
  let meanwhile: Promise<Jar> | undefined;
  const store = new Proxy(all.store, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (name !== "create") return typeof value === "function" ? value.bind(target) : value;
      return async (...args: Parameters<SessionStore["create"]>) => {
        // The other one logs in, wholly, between this one's stamp and its storing.
        meanwhile ??= login(all.sessions, "ada", winner);
        all.clock.advance(1);
        await meanwhile;
        return target.create(...args);
      };
    },
  });
  const behind = all.another({ store });
  let over = false;
  const slowly = expect(login(behind, "ada", slow).finally(() => (over = true))).rejects.toEqual(refused);
  while (!over) await all.clock.advanceAsync(5);
  await slowly;
  expect(await principalOf(all.sessions, winner)).toBe("ada");
  expect(await all.store.count({ principal: "ada" })).toBe(1);
});

test.each(["end-oldest", "refuse"] as const)(
  "%s: a store that fails before the login is known to hold fails it, and what it stored is ended",
  async (onLimit) => {
    const all = house({ sessionsPerPrincipalMax: 1, onLimit });
    let lists = 0;
    const store = new Proxy(all.store, {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          // The last look: "refuse" has looked once before.
          if (name === "list" && ++lists === (onLimit === "refuse" ? 2 : 1)) throw new Error("down");
          return value.apply(target, args);
        };
      },
    });
    const failing = all.another({ store });
    const browser = new Jar();
    const { outcome } = await browser.request(failing, (session) => {
      void session.renew({ principal: "ada" });
    });
    expect(outcome).toMatchObject({ ok: false, status: 503, setCookies: [] });
    await expect.poll(() => all.store.count()).toBe(0);
    expect(await principalOf(failing, await login(failing))).toBe("ada");
  },
);

// — options —

test("a limit on a store that cannot list sessions, or of less than one, stops the program at its start", () => {
  const { store } = house();
  const wrong: [SessionsOptions, RegExp][] = [
    [{ store: new GatedStore(store), sessionsPerPrincipalMax: 1 }, /sessionsPerPrincipalMax.*cannot list/],
    [{ sessionsPerPrincipalMax: 0 }, /sessionsPerPrincipalMax/],
    [{ sessionsPerPrincipalMax: 1.5 }, /sessionsPerPrincipalMax/],
    [{ onLimit: "ask" as "refuse" }, /onLimit/],
  ];
  for (const [options, message] of wrong) expect(() => house(options)).toThrow(message);
});

test("what orders logins never shows: not to the application, not in find()", async () => {
  const { sessions } = house({ sessionsPerPrincipalMax: 1 });
  const browser = await login(sessions);
  await browser.request(sessions, (session) => expect(session.keys()).toEqual(["cart"]));
  const [{ key } = { key: "" }] = (await sessions.list()).sessions;
  expect((await sessions.find(key))?.keys()).toEqual(["cart"]);
});
