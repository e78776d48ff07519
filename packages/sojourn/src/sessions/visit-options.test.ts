/** What one request may ask for: to be no activity, and to go on without a store. Names are the promises of docs/policies.md. */
import { expect, test } from "vitest";
import { SessionError } from "../core/errors.ts";
import { GatedStore, gate, house, Jar, request } from "./harness.test.support.ts";
import type { SessionsOptions } from "./options.ts";
import { type MountOptions, mounted } from "./visit-options.ts";

const IDLE_MS = 1_800_000;

async function visited(options: SessionsOptions = {}) {
  const all = house(options);
  const gated = new GatedStore(all.store);
  const sessions = all.another({ store: gated });
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("n", 1));
  await browser.request(sessions, () => {});
  return { ...all, gated, sessions, browser };
}

// — passive —

test("a session that only passive requests read ends on time", async () => {
  const { sessions, browser, clock, gated } = await visited();
  const touches = gated.calls.touch;
  for (let minute = 0; minute < 29; minute += 1) {
    clock.advance(60_000);
    const scope = sessions.open({ cookie: browser.cookie, secure: false });
    expect((await scope.session({ passive: true })).get("n")).toBe(1);
    expect(scope.settle()).toBeUndefined();
    scope.close();
  }
  expect(gated.calls.touch).toBe(touches);
  // The slack of a throttled touch is a minute.
  clock.advance(2 * 60_000);
  await browser.request(sessions, (session) => expect(session.isNew).toBe(true));
});

test("an active request between passive ones extends the session as always", async () => {
  const { sessions, browser, clock } = await visited();
  clock.advance(IDLE_MS - 60_000);
  await browser.request(sessions, () => {});
  clock.advance(IDLE_MS - 60_000);
  await browser.request(sessions, (session) => expect(session.get("n")).toBe(1));
});

test("what a passive request changes is stored and does not extend the session", async () => {
  const { sessions, browser, clock } = await visited();
  clock.advance(IDLE_MS - 60_000);
  await browser.request(sessions, async (session, scope) => {
    await scope.session({ passive: true });
    session.set("seen", 7);
    await session.update("n", () => 2);
  });
  await browser.request(sessions, async (session, scope) => {
    await scope.session({ passive: true });
    expect([session.get("seen"), session.get("n")]).toEqual([7, 2]);
  });
  clock.advance(2 * 60_000 + 1);
  await browser.request(sessions, (session) => expect(session.isNew).toBe(true));
});

test("touch() and renew() of a passive request still extend the session", async () => {
  for (const extend of ["touch", "renew"] as const) {
    const { sessions, browser, clock } = await visited();
    clock.advance(IDLE_MS - 60_000);
    await browser.request(sessions, async (session, scope) => {
      await scope.session({ passive: true });
      await session[extend]();
    });
    clock.advance(IDLE_MS - 60_000);
    await browser.request(sessions, (session) => expect(session.get("n")).toBe(1));
  }
});

test("a session whose only returns are passive lives the idle time it began with, not five minutes and not longer", async () => {
  const { sessions, clock } = house();
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("n", 1));
  for (let minute = 0; minute < 29; minute++) {
    clock.advance(60_000);
    await browser.request(sessions, async (session, scope) => {
      await scope.session({ passive: true });
      expect(session.get("n")).toBe(1);
    });
  }
  clock.advance(2 * 60_000 + 1);
  await browser.request(sessions, (session) => expect(session.isNew).toBe(true));
});

test("a passive request does not write this server's name into the cookie: that would cost a touch", async () => {
  const { another } = house();
  const browser = new Jar();
  await browser.request(another({ cloneId: "one" }), (session) => session.set("n", 1));
  const two = another({ cloneId: "two" });
  const passive = await browser.request(two, (_, scope) => scope.session({ passive: true }));
  expect(passive.setCookies).toEqual([]);
  expect((await browser.request(two, () => {})).setCookies[0]).toContain(":two");
});

test("a later call says more: what it leaves open stays", async () => {
  const { sessions, browser, clock, gated } = await visited();
  const touched = async (...said: (boolean | undefined)[]) => {
    clock.advance(5 * 60_000);
    const before = gated.calls.touch;
    const scope = sessions.open({ cookie: browser.cookie, secure: false });
    for (const passive of said) await scope.session(passive === undefined ? {} : { passive });
    scope.close();
    return gated.calls.touch > before;
  };
  expect(await touched(undefined)).toBe(true);
  expect(await touched(true)).toBe(false);
  expect(await touched(true, false)).toBe(true);
  expect(await touched(false, true)).toBe(false);
  expect(await touched(true, undefined)).toBe(false);
});

// — onStoreUnavailable —

const DOWN = new SessionError("STORE_UNAVAILABLE", "Cannot read: down");

test('"anonymous": a store that cannot be read gives an empty session that says so, and no cookie is touched', async () => {
  const { sessions, browser, gated } = await visited();
  gated.before = () => Promise.reject(DOWN);
  await expect(browser.request(sessions, () => {})).rejects.toBe(DOWN);
  const scope = sessions.open({ cookie: browser.cookie, secure: false });
  const session = await scope.session({ onStoreUnavailable: "anonymous" });
  expect(session).toMatchObject({ isNew: true, isUnavailable: true, id: null, principal: null });
  expect(session.keys()).toEqual([]);
  expect(scope.settle()).toBeUndefined();
  scope.close();
  expect(sessions.stats()).toMatchObject({ storeFailures: 2, unknownIds: 0, created: 1 });
  // Back with the store, the same session as before.
  gated.before = () => {};
  await browser.request(sessions, (again) => {
    expect(again.get("n")).toBe(1);
    expect(again.isUnavailable).toBe(false);
  });
});

test('"anonymous": every write throws STORE_UNAVAILABLE and begins nothing, even when the store is back meanwhile', async () => {
  const { sessions, browser, gated, store } = await visited({ onStoreUnavailable: "anonymous" });
  gated.before = () => Promise.reject(DOWN);
  const scope = sessions.open({ cookie: browser.cookie, secure: false });
  const session = await scope.session();
  gated.before = () => {};
  const unavailable = expect.objectContaining({ code: "STORE_UNAVAILABLE", status: 503 });
  expect(() => session.set("n", 2)).toThrow(unavailable);
  expect(() => session.delete("n")).toThrow(unavailable);
  await expect(session.update("n", () => 2)).rejects.toEqual(unavailable);
  await expect(session.start()).rejects.toEqual(unavailable);
  await expect(session.touch()).rejects.toEqual(unavailable);
  await session.commit();
  expect(await scope.settle()).toEqual({ ok: true, setCookies: [] });
  scope.close();
  expect(await store.count()).toBe(1);
  await browser.request(sessions, (again) => expect(again.get("n")).toBe(1));
});

test('"anonymous": a login that cannot be stored fails the response, even if the handler does not wait for it', async () => {
  const { sessions, browser, gated } = await visited({ onStoreUnavailable: "anonymous" });
  gated.before = () => Promise.reject(DOWN);
  const { outcome, setCookies } = await browser.request(sessions, (session) => {
    void session.renew({ principal: "ada" });
  });
  expect(outcome).toMatchObject({ ok: false, status: 503, code: "STORE_UNAVAILABLE" });
  expect(setCookies).toEqual([]);
});

test('"anonymous": a logout is tried all the same, and ends the session if the store is back', async () => {
  const { sessions, browser, gated, store } = await visited({ onStoreUnavailable: "anonymous" });
  gated.before = (verb) => (verb === "read" ? Promise.reject(DOWN) : undefined);
  await browser.request(sessions, (session) => session.destroy());
  expect(await store.count()).toBe(0);
  expect(browser.cookie).toBeUndefined();
});

test('"anonymous" is for outages: data that cannot be read still fails the request', async () => {
  const { sessions, browser, gated } = await visited({ onStoreUnavailable: "anonymous" });
  gated.before = () => Promise.reject(new SessionError("STORED_DATA_UNREADABLE", "Cannot read: damaged"));
  await expect(browser.request(sessions, () => {})).rejects.toMatchObject({ code: "STORED_DATA_UNREADABLE" });
});

test('a route that says "fail" fails where the application says "anonymous", within the same budget', async () => {
  const { sessions, browser, gated, clock } = await visited({ onStoreUnavailable: "anonymous" });
  const held = gate();
  gated.before = () => held.promise;
  const scope = sessions.open({ cookie: browser.cookie, secure: false });
  const failed = expect(scope.session({ onStoreUnavailable: "fail" })).rejects.toMatchObject({ status: 503 });
  await clock.advanceAsync(500);
  await failed;
  held.open();
});

test("a request without a session asks no store, so nothing is unavailable to it", async () => {
  const { sessions, gated } = await visited({ onStoreUnavailable: "anonymous" });
  const reads = gated.calls.read;
  gated.before = () => Promise.reject(DOWN);
  await request(sessions, {}, (session) => expect(session.isUnavailable).toBe(false));
  expect(gated.calls.read).toBe(reads);
});

// — options —

test("a mistake in an option is told where it is made: at the mount, at the call and in createSessions", async () => {
  const wrong: [object, string][] = [
    [{ pasive: true }, "pasive"],
    [{ passive: "yes" }, "passive"],
    [{ onStoreUnavailable: "stale" }, "onStoreUnavailable"],
    [{ forRequest: true }, "forRequest"],
  ];
  for (const [options, name] of wrong) {
    expect(() => mounted(options as MountOptions<unknown>)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", message: expect.stringContaining(name) }),
    );
    const scope = house().sessions.open({ cookie: undefined, secure: false });
    await expect(scope.session(options as object)).rejects.toMatchObject({ code: "INVALID_OPTION" });
  }
  expect(() => house({ onStoreUnavailable: "stale" as "fail" })).toThrow(/onStoreUnavailable/);
});

test("a mount tells each request its own options, those for some requests over those for all", () => {
  const optionsOf = mounted<{ path: string }>({
    passive: false,
    onStoreUnavailable: "anonymous",
    forRequest: ({ path }) => (path === "/poll" ? { passive: true } : undefined),
  });
  expect(optionsOf({ path: "/poll" })?.()).toEqual({ passive: true, onStoreUnavailable: "anonymous" });
  expect(optionsOf({ path: "/" })?.()).toEqual({ passive: false, onStoreUnavailable: "anonymous" });
  expect(mounted(undefined)({})).toBeUndefined();
  expect(mounted({})({})).toBeUndefined();
});
