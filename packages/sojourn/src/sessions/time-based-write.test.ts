/** writeFrequency TIME_BASED_WRITE: who sees a change when, and what is lost. Names are the promises of docs/policies.md. */
import { expect, test } from "vitest";
import { GatedStore, gate, house, Jar } from "./harness.test.support.ts";

const INTERVAL_MS = 120_000;

/** A server that writes every two minutes, and another one that reads the store. */
async function domain(more: Parameters<typeof house>[0] = {}) {
  const all = house({ writeFrequency: "TIME_BASED_WRITE", idleTimeoutMs: 3_600_000, ...more });
  const gated = new GatedStore(all.store);
  const here = all.another({ store: gated });
  const elsewhere = all.another({ writeFrequency: "END_OF_REQUEST" });
  const browser = new Jar();
  await browser.request(here, (session) => session.set("n", 0));
  const seen = async (sessions: typeof here, name = "n") => {
    let value: unknown;
    await browser.request(sessions, (session) => {
      value = session.get(name);
    });
    return value;
  };
  const set = (value: unknown, name = "n") => browser.request(here, (session) => session.set(name, value));
  return { ...all, gated, here, elsewhere, browser, seen, set };
}

test("a change is seen on this server at once, and on others when it is written", async () => {
  const { here, elsewhere, seen, set, gated, clock } = await domain();
  expect((await set(1)).outcome).toEqual({ ok: true, setCookies: [] });
  await set([2], "list");
  expect(gated.calls.apply).toBe(0);
  expect([await seen(here), await seen(here, "list")]).toEqual([1, [2]]);
  expect([await seen(elsewhere), await seen(elsewhere, "list")]).toEqual([0, undefined]);
  await clock.advanceAsync(INTERVAL_MS);
  expect([await seen(elsewhere), await seen(elsewhere, "list")]).toEqual([1, [2]]);
  expect(gated.calls.apply).toBe(1);
});

test("a session is written once for all its changes, when the oldest is writeIntervalMs old, and then never again", async () => {
  const { here, set, gated, clock, browser } = await domain({ writeIntervalMs: 10_000 });
  await set(1);
  await clock.advanceAsync(9_000);
  for (let value = 2; value < 9; value++) await set(value);
  await browser.request(here, (session) => session.delete("n"));
  expect(gated.calls.apply).toBe(0);
  await clock.advanceAsync(1_000);
  expect(gated.calls.apply).toBe(1);
  expect(here.stats().commits).toBe(1);
  await clock.advanceAsync(60_000);
  expect(gated.calls.apply).toBe(1);
  await browser.request(here, (session) => expect(session.has("n")).toBe(false));
});

test("the first set of a visitor begins the session at once: its cookie must be good on every server", async () => {
  const { here, elsewhere } = await domain();
  const browser = new Jar();
  await browser.request(here, (session) => session.set("n", 5));
  await browser.request(elsewhere, (session) => expect(session.get("n")).toBe(5));
});

test("what another server stored in other attributes meanwhile stays; in the same attribute the late write wins", async () => {
  const { here, elsewhere, seen, set, clock, browser } = await domain();
  await set("mine", "same");
  await browser.request(elsewhere, (session) => {
    session.set("same", "theirs");
    session.set("other", "theirs");
  });
  await clock.advanceAsync(INTERVAL_MS);
  expect([await seen(here, "same"), await seen(here, "other")]).toEqual(["mine", "theirs"]);
});

test.each(["commit", "update", "renew"] as const)(
  "%s() writes now what this server keeps of the session",
  async (verb) => {
    const { here, elsewhere, seen, set, browser } = await domain();
    await set(1);
    await browser.request(here, async (session) => {
      if (verb === "commit") await session.commit();
      if (verb === "update") expect(await session.update("n", (n) => (n as number) + 1)).toBe(2);
      if (verb === "renew") await session.renew({ principal: "ada" });
    });
    expect(await seen(elsewhere)).toBe(verb === "update" ? 2 : 1);
  },
);

test("update() counts on from what is kept, whoever else counts, and loses nothing", async () => {
  const { here, elsewhere, seen, set, browser } = await domain();
  await set(10);
  const add = (sessions: typeof here) =>
    browser.request(sessions, (session) => session.update("n", (n) => (n as number) + 1));
  await add(here);
  await Promise.all([add(here), add(elsewhere), add(here), add(elsewhere)]);
  expect(await seen(here)).toBe(15);
});

test("commit() that cannot be stored fails the response", async () => {
  const { here, gated, browser } = await domain();
  gated.before = (verb) => (verb === "apply" ? Promise.reject(new Error("down")) : undefined);
  const { outcome } = await browser.request(here, async (session) => {
    session.set("n", 1);
    await session.commit().catch(() => {});
  });
  expect(outcome).toMatchObject({ ok: false, status: 503 });
});

test("close() writes everything that is kept", async () => {
  const all = await domain();
  const browsers = await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      const browser = new Jar();
      await browser.request(all.here, (session) => session.set("n", "begun"));
      await browser.request(all.here, (session) => session.set("n", index));
      return browser;
    }),
  );
  await all.here.close();
  for (const [index, browser] of browsers.entries()) {
    await browser.request(all.elsewhere, (session) => expect(session.get("n")).toBe(index));
  }
  // A request that is late writes as without the policy.
  await all.set("late");
  expect(await all.seen(all.elsewhere)).toBe("late");
});

test("a process that ends without close() loses what it kept: the browser was told 200, and the change is gone", async () => {
  const { elsewhere, seen, set } = await domain();
  expect((await set("told"))?.outcome).toMatchObject({ ok: true });
  // Nothing of `here` runs any more.
  expect(await seen(elsewhere)).toBe(0);
});

test("close() on a store that is away tries for five seconds, then counts what is lost and tells", async () => {
  const { here, set, gated, clock, diagnostics } = await domain();
  await set(1);
  gated.before = () => Promise.reject(new Error("down"));
  let isClosed = false;
  const closing = here.close().then(() => {
    isClosed = true;
  });
  await clock.advanceAsync(4_000);
  expect(isClosed).toBe(false);
  await clock.advanceAsync(2_000);
  await closing;
  expect(gated.calls.apply).toBeGreaterThan(5);
  expect(here.stats().dropped).toBe(1);
  expect(diagnostics.map(({ code }) => code)).toContain("CHANGES_DROPPED");
});

test("a session that ended meanwhile stays ended: its changes are dropped and counted", async () => {
  const { here, elsewhere, set, clock, browser, store, diagnostics } = await domain();
  await set(1);
  const old = browser.cookie;
  await browser.request(elsewhere, (session) => session.destroy());
  await clock.advanceAsync(INTERVAL_MS);
  expect(here.stats()).toMatchObject({ dropped: 1, gone: 1 });
  expect(diagnostics.map(({ code }) => code)).toEqual(["CHANGES_DROPPED"]);
  expect(await store.count()).toBe(0);
  browser.cookie = old;
  await browser.request(here, (session) => expect(session.isNew).toBe(true));
});

test("a logout on this server drops what was kept, and nothing is written after it", async () => {
  const { here, set, clock, browser, gated } = await domain();
  await set(1);
  await browser.request(here, (session) => session.destroy());
  await clock.advanceAsync(INTERVAL_MS);
  expect(gated.calls.apply).toBe(0);
  expect(here.stats()).toMatchObject({ dropped: 0, gone: 0 });
});

test("a change under an id that was renewed is refused at once, as always", async () => {
  const { here, browser, gated } = await domain();
  const old = browser.cookie;
  await browser.request(here, (session) => session.renew({ principal: "ada" }));
  browser.cookie = old;
  const { outcome } = await browser.request(here, (session) => session.set("n", 1));
  expect(outcome).toMatchObject({ ok: false, status: 409, code: "SESSION_ENDED" });
  expect(gated.calls.apply).toBe(1);
});

test("a read under way while a change is written misses nothing of it", async () => {
  const { here, browser, gated, clock, set } = await domain();
  await set(1);
  await clock.advanceAsync(INTERVAL_MS - 10);
  const [reading, answering] = [gate(), gate()];
  gated.after = async (verb) => {
    if (verb !== "read") return;
    reading.open();
    await answering.promise;
  };
  const late = browser.request(here, (session) => expect(session.get("n")).toBe(1));
  await reading.promise;
  await clock.advanceAsync(10);
  expect(here.stats().commits).toBe(1);
  answering.open();
  await late;
});

test("what others store after the write is not hidden by what was kept before it", async () => {
  const { here, elsewhere, browser, gated, clock, set } = await domain();
  await set("mine");
  await clock.advanceAsync(INTERVAL_MS - 10);
  const [reading, answering] = [gate(), gate()];
  gated.before = async (verb) => {
    if (verb !== "read") return;
    reading.open();
    await answering.promise;
  };
  const late = browser.request(here, (session) => expect(session.get("n")).toBe("theirs"));
  await reading.promise;
  await clock.advanceAsync(10);
  await browser.request(elsewhere, (session) => session.set("n", "theirs"));
  answering.open();
  await late;
});

test("while the store is away changes are kept and seen here, newer ones win, and all is written when it is back", async () => {
  const { here, elsewhere, seen, set, gated, clock, diagnostics } = await domain();
  await set("old");
  await set("stays", "other");
  gated.before = (verb) => (verb === "apply" ? Promise.reject(new Error("down")) : undefined);
  await clock.advanceAsync(INTERVAL_MS);
  expect(diagnostics).toMatchObject([{ code: "WRITE_DELAYED" }]);
  expect(await seen(here)).toBe("old");
  await set("new");
  gated.before = () => {};
  await clock.advanceAsync(10_000);
  expect([await seen(elsewhere), await seen(elsewhere, "other")]).toEqual(["new", "stays"]);
  expect(here.stats().dropped).toBe(0);
});

test("without room for more a change is written at once, and what was kept follows", async () => {
  const { here, elsewhere, gated, clock, set, seen } = await domain({
    limits: { sessionBytesMax: Number.POSITIVE_INFINITY },
  });
  const large = "x".repeat(14 * 1024 * 1024);
  for (let visitor = 0; visitor < 5; visitor++) {
    const browser = new Jar();
    await browser.request(here, (session) => session.set("n", 0));
    await browser.request(here, (session) => session.set("large", large));
  }
  expect(gated.calls.apply).toBe(0);
  await set("at once");
  expect(gated.calls.apply).toBe(1);
  expect(await seen(elsewhere)).toBe("at once");
  await clock.advanceAsync(1);
  expect(gated.calls.apply).toBe(6);
});

test("last access is not kept back: a visitor is never logged out because writes wait", async () => {
  const { here, elsewhere, clock, browser, seen, set } = await domain({
    writeIntervalMs: 3_000_000,
    idleTimeoutMs: 600_000,
  });
  await set("confirmed", "other");
  for (let minute = 0; minute < 30; minute += 5) {
    clock.advance(300_000);
    await set(minute);
  }
  expect(await seen(elsewhere)).toBe(0);
  expect(await seen(here)).toBe(25);
  expect(browser.cookie).toBeDefined();
});

test("an interval that is none is refused", () => {
  for (const writeIntervalMs of [0, -1, Number.NaN, 86_400_000]) {
    expect(() => house({ writeIntervalMs })).toThrow(/writeIntervalMs/);
  }
});
