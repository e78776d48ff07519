/** Slow, hanging, failing and full stores: what a visitor is told, how soon, and that nothing was made up. */
import { expect, test } from "vitest";
import { SessionError } from "../core/errors.ts";
import { memoryStore } from "../store/memory.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { GatedStore, gate, house, Jar, request } from "./harness.test.support.ts";
import type { SessionsOptions } from "./options.ts";

const NEVER = new Promise<void>(() => {});

async function gatedHouse(options: SessionsOptions = {}) {
  const all = house(options);
  const gated = new GatedStore(all.store);
  const sessions = all.another({ store: gated });
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("n", 1));
  return { ...all, gated, sessions, browser };
}

/** Resolves with what `promise` became and how much of the fake time it took, in steps of 10 ms. */
async function timed<T>(clock: FakeClock, promise: Promise<T>): Promise<{ result: T; tookMs: number }> {
  const startMs = clock.monotonicMs();
  let over = false;
  const settled = promise.finally(() => {
    over = true;
  });
  settled.catch(() => {});
  while (!over && clock.monotonicMs() - startMs < 10_000) await clock.advanceAsync(10);
  return { result: await settled, tookMs: clock.monotonicMs() - startMs };
}

test("a store that never answers: session() rejects within the budget, and the session is not replaced", async () => {
  const { gated, sessions, browser, clock } = await gatedHouse();
  gated.before = () => NEVER;
  const scope = sessions.open({ cookie: browser.cookie, secure: false });
  const loading = scope.session().then(
    () => null,
    (error: unknown) => error,
  );
  const { result, tookMs } = await timed(clock, loading);
  expect(result).toMatchObject({ code: "STORE_UNAVAILABLE", status: 503, headers: { "retry-after": "1" } });
  expect(tookMs).toBeLessThanOrEqual(520);
  expect(scope.settle()).toBeUndefined();
  scope.close();
  gated.before = () => {};
  await browser.request(sessions, (session) => expect(session.get("n")).toBe(1));
});

test("all waiting of a request is bounded together: a slow read leaves a commit only the rest", async () => {
  const { gated, sessions, browser, clock } = await gatedHouse();
  gated.before = (verb) =>
    verb === "apply" ? NEVER : new Promise((resolve) => void clock.setTimer(resolve, 300));
  gated.timeouts.length = 0;
  const { result, tookMs } = await timed(
    clock,
    browser.request(sessions, (session) => session.set("n", 2)),
  );
  expect(result.outcome).toEqual({
    ok: false,
    status: 503,
    code: "STORE_UNAVAILABLE",
    headers: { "retry-after": "1" },
    setCookies: [],
  });
  expect(tookMs).toBeLessThanOrEqual(520);
  // The read and the commit; a touch after the response has a budget of its own.
  expect(gated.timeouts.slice(0, 2)).toEqual([500, 200]);
});

test("the handler's own time is not store waiting", async () => {
  const { sessions, browser, clock } = await gatedHouse();
  const answer = await browser.request(sessions, (session) => {
    clock.advance(60_000);
    session.set("n", 2);
  });
  expect(answer.outcome?.ok).toBe(true);
});

test("no outcome before the commit: a store 300 ms away holds settle() back for 300 ms", async () => {
  const { gated, sessions, browser, clock } = await gatedHouse();
  gated.after = (verb) =>
    verb === "apply" ? new Promise((resolve) => void clock.setTimer(resolve, 300)) : undefined;
  const scope = sessions.open({ cookie: browser.cookie, secure: false });
  (await scope.session()).set("n", 2);
  const settling = scope.settle()!;
  await clock.advanceAsync(299);
  expect(scope.outcome()).toBeUndefined();
  await clock.advanceAsync(1);
  expect(scope.outcome()).toEqual({ ok: true, setCookies: [] });
  expect(await settling).toBe(scope.outcome());
});

test.each(["supersede", "create"] as const)(
  "a login whose %s fails is never told as done, even when the handler hides the error",
  async (verb) => {
    const { gated, sessions, browser, store } = await gatedHouse();
    gated.before = (called) => (called === verb ? Promise.reject(new Error("wire cut")) : undefined);
    const answer = await browser.request(sessions, async (session) => {
      await session.renew({ principal: "ada" }).catch(() => {});
    });
    expect(answer.outcome).toMatchObject({
      ok: false,
      status: 503,
      code: "STORE_UNAVAILABLE",
      setCookies: [],
    });
    expect(await store.count({ principal: "ada" })).toBe(0);
    gated.before = () => {};
    // Tried again, at once or later, it works: from the frozen snapshot if the old id was superseded already.
    const again = await browser.request(sessions, async (session) => {
      await session.renew({ principal: "ada" });
      expect(session.get("n")).toBe(1);
    });
    expect(again.setCookies).toHaveLength(1);
    await browser.request(sessions, (session) => expect(session.principal).toBe("ada"));
  },
);

test("a renewal that is tried again within the request and succeeds is told as done", async () => {
  const { gated, sessions, browser } = await gatedHouse();
  let failures = 1;
  gated.before = (verb) =>
    verb === "create" && failures-- > 0 ? Promise.reject(new Error("wire cut")) : undefined;
  const answer = await browser.request(sessions, async (session) => {
    await session.renew({ principal: "ada" }).catch(() => session.renew({ principal: "ada" }));
  });
  expect(answer.outcome).toMatchObject({ ok: true });
  await browser.request(sessions, (session) => expect(session.principal).toBe("ada"));
});

test("a logout that failed is never told as done, and leaves the cookie", async () => {
  const { gated, sessions, browser } = await gatedHouse();
  gated.before = (verb) => (verb === "destroy" ? Promise.reject(new Error("wire cut")) : undefined);
  const answer = await browser.request(sessions, (session) => session.destroy().catch(() => {}));
  expect(answer.outcome).toMatchObject({ ok: false, status: 503, setCookies: [] });
});

test("a first set whose create fails sends no cookie", async () => {
  const { gated, sessions } = await gatedHouse();
  gated.before = () => Promise.reject(new SessionError("STORE_FULL", "Cannot create a session: full"));
  const answer = await request(sessions, {}, (session) => session.set("n", 1));
  expect(answer.outcome).toEqual({
    ok: false,
    status: 503,
    code: "STORE_FULL",
    headers: { "retry-after": "1" },
    setCookies: [],
  });
});

test("a session that was created keeps its cookie when a later step of the request fails", async () => {
  const { gated, sessions } = await gatedHouse();
  gated.before = (verb) => (verb === "apply" ? Promise.reject(new Error("wire cut")) : undefined);
  const answer = await request(sessions, {}, async (session) => {
    await session.start();
    session.set("n", 1);
  });
  expect(answer.outcome).toMatchObject({
    ok: false,
    status: 503,
    setCookies: [expect.stringContaining("sid=")],
  });
});

test("a driver that throws what it should not, synchronously or not, is a store failure and no crash", async () => {
  const { gated, sessions, browser } = await gatedHouse();
  for (const before of [
    () => {
      throw new TypeError("undefined is not a function");
    },
    () => Promise.reject("a string"),
  ]) {
    gated.before = before;
    await expect(sessions.open({ cookie: browser.cookie, secure: false }).session()).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
    });
  }
  gated.read = () => {
    throw new TypeError("thrown before any promise");
  };
  await expect(sessions.open({ cookie: browser.cookie, secure: false }).session()).rejects.toMatchObject({
    code: "STORE_UNAVAILABLE",
  });
});

test("an authority that is behind is waited for 250 ms, then 503 STORE_BEHIND", async () => {
  const { gated, sessions, browser, clock } = await gatedHouse();
  const { apply } = gated;
  let behind = 5;
  gated.apply = async (key, delta, options) =>
    behind-- > 0 ? { status: "behind" } : apply(key, delta, options);
  const caughtUp = await timed(
    clock,
    browser.request(sessions, (session) => session.set("n", 2)),
  );
  expect(caughtUp.result.outcome?.ok).toBe(true);
  behind = Number.POSITIVE_INFINITY;
  const never = await timed(
    clock,
    browser.request(sessions, (session) => session.set("n", 3)),
  );
  expect(never.result.outcome).toMatchObject({ ok: false, status: 503, code: "STORE_BEHIND" });
  expect(never.tookMs).toBeLessThanOrEqual(280);
});

test("keys that a store calls taken are drawn anew, a bounded number of times", async () => {
  const { gated, sessions, store } = await gatedHouse();
  const { create } = gated;
  let taken = 3;
  const keys = new Set<string>();
  gated.create = async (session, options) => {
    keys.add(session.key);
    return taken-- > 0 ? { status: "taken" } : create(session, options);
  };
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("n", 1));
  expect(keys.size).toBe(4);
  await browser.request(sessions, async (session) => {
    taken = 2;
    await session.renew();
    expect(session.get("n")).toBe(1);
  });
  await browser.request(sessions, (session) => expect(session.get("n")).toBe(1));
  taken = Number.POSITIVE_INFINITY;
  const answer = await request(sessions, {}, (session) => session.set("n", 1));
  expect(answer.outcome).toMatchObject({ ok: false, status: 503, code: "STORE_UNAVAILABLE" });
  expect(await store.count()).toBe(2);
});

test("parallel requests share loads: one under way, one that begins after the last of them arrived", async () => {
  const { gated, sessions, browser, another } = await gatedHouse();
  const writer = another();
  gated.calls.read = 0;
  const held = gate();
  gated.before = (verb) => (verb === "read" ? held.promise : undefined);
  gated.after = () => held.promise;
  const first = sessions.open({ cookie: browser.cookie, secure: false }).session();
  // Told to the browser before the others arrive, so they must see it.
  await request(writer, { cookie: browser.cookie }, (session) => session.set("n", 2));
  const others = Array.from({ length: 20 }, () =>
    sessions.open({ cookie: browser.cookie, secure: false }).session(),
  );
  expect(gated.calls.read).toBe(1);
  held.open();
  await first;
  for (const session of await Promise.all(others)) expect(session.get("n")).toBe(2);
  expect(gated.calls.read).toBe(2);
  // Copies, not one object for all.
  const [a, b] = await Promise.all(others);
  a!.set("own", 1);
  expect(b!.has("own")).toBe(false);
});

test("nobody joins a read that began before it arrived, even when that read then shows an older state", async () => {
  const { gated, sessions, browser, another } = await gatedHouse();
  const writer = another();
  const held = gate();
  let reads = 0;
  // The first read has its answer already and delivers it late.
  gated.after = (verb) => (verb === "read" && reads++ === 0 ? held.promise : undefined);
  const early = sessions.open({ cookie: browser.cookie, secure: false }).session();
  await expect.poll(() => reads).toBe(1);
  await request(writer, { cookie: browser.cookie }, (session) => session.set("n", 2));
  const late = sessions.open({ cookie: browser.cookie, secure: false }).session();
  held.open();
  expect((await early).get("n")).toBe(1);
  expect((await late).get("n")).toBe(2);
});

test("after an outage each session is read once, however many requests waited; a read that hangs blocks none after it", async () => {
  const { gated, sessions, browser, clock } = await gatedHouse();
  gated.calls.read = 0;
  gated.before = () => NEVER;
  const hung = sessions.open({ cookie: browser.cookie, secure: false }).session();
  hung.catch(() => {});
  await clock.advanceAsync(400);
  const waiting = Array.from({ length: 50 }, () =>
    sessions.open({ cookie: browser.cookie, secure: false }).session(),
  );
  gated.before = () => {};
  await clock.advanceAsync(110);
  await expect(hung).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  for (const session of await Promise.all(waiting)) expect(session.get("n")).toBe(1);
  expect(gated.calls.read).toBe(2);
});

test("a read of unreadable bytes is told, and the session stays", async () => {
  const { gated, sessions, browser, store } = await gatedHouse();
  const key = (await store.list()).sessions[0]!.key;
  await store.apply(key, { set: new Map([["bad", Buffer.from([9, 9])]]) });
  await browser.request(sessions, (session) => {
    expect(() => session.get("bad")).toThrow(expect.objectContaining({ code: "STORED_DATA_UNREADABLE" }));
    expect(session.get("n")).toBe(1);
    session.delete("bad");
  });
  gated.before = () => {
    throw new SessionError("STORED_DATA_UNREADABLE", "Cannot read a session: damaged");
  };
  await expect(sessions.open({ cookie: browser.cookie, secure: false }).session()).rejects.toMatchObject({
    code: "STORED_DATA_UNREADABLE",
    status: 500,
  });
});

test("a full store refuses growing writes with 503, and still shrinks and ends", async () => {
  const clock = new FakeClock();
  const store = memoryStore({ clock, maxBytes: 40_000 });
  const { another } = house({ clock });
  const sessions = another({ store });
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("big", "x".repeat(30_000)));
  const grown = await browser.request(sessions, (session) => session.set("more", "x".repeat(20_000)));
  expect(grown.outcome).toMatchObject({ ok: false, status: 503, code: "STORE_FULL" });
  const shrunk = await browser.request(sessions, (session) => session.set("big", "x"));
  expect(shrunk.outcome?.ok).toBe(true);
  const ended = await browser.request(sessions, (session) => session.destroy());
  expect(ended.outcome?.ok).toBe(true);
});

test("an operation that nobody awaited is waited for before the headers", async () => {
  const { gated, sessions, browser } = await gatedHouse();
  const held = gate();
  gated.before = (verb) => (verb === "apply" ? held.promise : undefined);
  const scope = sessions.open({ cookie: browser.cookie, secure: false });
  const session = await scope.session();
  const updating = session.update("n", (n) => (n as number) + 1);
  const settling = scope.settle();
  expect(settling).toBeDefined();
  expect(scope.outcome()).toBeUndefined();
  held.open();
  expect(await settling).toEqual({ ok: true, setCookies: [] });
  expect(await updating).toBe(2);
});

test("close() waits for touches under way, closes the store it made, and no other", async () => {
  const { gated, sessions, browser, store, another } = await gatedHouse();
  const held = gate();
  gated.before = (verb) => (verb === "touch" ? held.promise : undefined);
  await browser.request(sessions, (session) => void session.get("n"));
  let closed = false;
  const closing = sessions.close().then(() => {
    closed = true;
  });
  await Promise.resolve();
  expect(closed).toBe(false);
  held.open();
  await closing;
  expect(await store.count()).toBe(1);
  const own = another({ store: undefined });
  await own.close();
  await own.close();
  const answer = await request(own, {}, (session) => session.set("n", 1));
  expect(answer.outcome).toMatchObject({ ok: false, code: "STORE_CLOSED" });
});
