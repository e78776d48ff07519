import { expect, test } from "vitest";
import { isEnumerable } from "../store/store.ts";
import { GatedStore, house, Jar, request } from "./harness.test.support.ts";

async function shop() {
  const all = house();
  const browsers = await Promise.all(
    ["ada", "ada", "bob"].map(async (principal) => {
      const browser = new Jar();
      await browser.request(all.sessions, async (session) => {
        session.set("cart", { items: [principal], at: new Date(7) });
        await session.renew({ principal });
      });
      return browser;
    }),
  );
  return { ...all, browsers };
}

test("find shows a session by its key, as it was at that moment, and changing what it gave changes nothing", async () => {
  const { sessions, browsers } = await shop();
  const { sessions: listed } = await sessions.list({ principal: "bob" });
  const found = await sessions.find(listed[0]!.key);
  expect(found).toMatchObject({
    ...listed[0],
    principal: "bob",
    version: expect.stringMatching(/^[0-9a-f]{16}\.1$/),
  });
  expect(found!.keys()).toEqual(["cart"]);
  (found!.get("cart") as { items: string[] }).items.push("changed");
  expect(found!.get("cart")).toEqual({ items: ["bob"], at: new Date(7) });
  expect(found!.get("none")).toBeUndefined();
  await browsers[2]!.request(sessions, (session) => session.set("later", 1));
  expect(found!.keys()).toEqual(["cart"]);
});

test("find ends a session, once", async () => {
  const { sessions, browsers } = await shop();
  const [{ key } = { key: "" }] = (await sessions.list({ principal: "bob" })).sessions;
  const found = await sessions.find(key);
  expect(await found!.destroy()).toBe(true);
  expect(await found!.destroy()).toBe(false);
  expect(await sessions.find(key)).toBeNull();
  await browsers[2]!.request(sessions, (session) => expect(session.isNew).toBe(true));
});

test("what is no key finds nothing: neither ids nor cookies are accepted", async () => {
  const { sessions, browsers } = await shop();
  const { value } = browsers[0]!;
  const id = value!.split(".")[0]!;
  for (const text of ["", "x", value!, id, "__proto__", null as unknown as string]) {
    expect(await sessions.find(text)).toBeNull();
  }
});

test("a renewed id is not found, its successor is", async () => {
  const { sessions, browsers } = await shop();
  const [{ key } = { key: "" }] = (await sessions.list({ principal: "bob" })).sessions;
  await browsers[2]!.request(sessions, (session) => session.renew());
  expect(await sessions.find(key)).toBeNull();
  const [after] = (await sessions.list({ principal: "bob" })).sessions;
  expect((await sessions.find(after!.key))?.get("cart")).toEqual({ items: ["bob"], at: new Date(7) });
});

test("list pages through the sessions, and count counts them", async () => {
  const { sessions } = await shop();
  expect(await sessions.count()).toBe(3);
  expect(await sessions.count({ principal: "ada" })).toBe(2);
  const keys = new Set<string>();
  let cursor: string | undefined;
  do {
    const page = await sessions.list({ limit: 1, ...(cursor === undefined ? {} : { cursor }) });
    for (const { key } of page.sessions) keys.add(key);
    cursor = page.next;
  } while (cursor !== undefined);
  expect(keys.size).toBe(3);
  for (const limit of [0, 1001, 1.5, Number.NaN]) {
    await expect(sessions.list({ limit })).rejects.toMatchObject({ code: "INVALID_OPTION" });
  }
});

test("endAll ends every session of a user but the one to keep, named by session or key", async () => {
  const { sessions, browsers } = await shop();
  await browsers[0]!.request(sessions, async (session) => {
    expect(await sessions.endAll("ada", { except: session })).toBe(1);
  });
  await browsers[0]!.request(sessions, (session) => expect(session.principal).toBe("ada"));
  await browsers[1]!.request(sessions, (session) => expect(session.isNew).toBe(true));
  const [kept] = (await sessions.list({ principal: "ada" })).sessions;
  expect(await sessions.endAll("ada", { except: kept!.key })).toBe(0);
  expect(await sessions.endAll("ada")).toBe(1);
  expect(await sessions.count()).toBe(1);
});

test("endAll refuses what it cannot understand instead of ending the wrong sessions", async () => {
  const { sessions } = await shop();
  const refused: [string, object?][] = [
    [undefined as unknown as string],
    [null as unknown as string],
    [""],
    ["x".repeat(1025)],
    [5 as unknown as string],
    ["ada", { except: "not a key" }],
  ];
  for (const args of refused) {
    await expect(sessions.endAll(...args)).rejects.toMatchObject({ code: "INVALID_OPTION" });
  }
  expect(await sessions.count()).toBe(3);
  await request(sessions, {}, async (session) => {
    await expect(session.renew({ principal: "" })).rejects.toMatchObject({ code: "INVALID_OPTION" });
  });
});

test("a store that cannot look through its sessions answers NOT_ENUMERABLE, and find still works", async () => {
  const { store, another } = await shop();
  const gated = new GatedStore(store);
  expect(isEnumerable(gated)).toBe(false);
  const sessions = another({ store: gated });
  for (const asked of [sessions.list(), sessions.count(), sessions.endAll("ada")]) {
    await expect(asked).rejects.toMatchObject({ code: "NOT_ENUMERABLE" });
  }
  const [{ key } = { key: "" }] = (await store.list()).sessions;
  expect((await sessions.find(key))?.keys()).toEqual(["cart"]);
});

test("an administrative call on a store that never answers ends within the budget", async () => {
  const { store, another, clock } = await shop();
  const gated = new GatedStore(store);
  const sessions = another({ store: gated });
  const [{ key } = { key: "" }] = (await store.list()).sessions;
  gated.before = () => new Promise(() => {});
  const asked = expect(sessions.find(key)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  await clock.advanceAsync(500);
  await asked;
});

test("of(request) is what the adapter attached; two sets of sessions on one request do not mix", async () => {
  const { sessions, another } = await shop();
  const other = another({ cookie: { name: "second" } });
  const served = {};
  const [scope, otherScope] = [sessions, other].map((each) =>
    each.open({ cookie: undefined, secure: false }),
  );
  sessions.attach(served, scope!);
  other.attach(served, otherScope!);
  expect(await sessions.of(served)).toBe(await scope!.session());
  expect(await other.of(served)).toBe(await otherScope!.session());
  // Fastify's request wraps the one that was served.
  expect(await sessions.of({ raw: served })).toBe(await scope!.session());
  await expect(sessions.of({})).rejects.toMatchObject({ code: "INVALID_OPTION" });
  expect(Object.keys(served)).toEqual([]);
});

test("no id, cookie, value or secret ever shows in what sessions tell of themselves", async () => {
  const { sessions, browsers, diagnostics } = await shop();
  const { value } = browsers[0]!;
  await request(sessions, { cookie: `sid=${value}; sid=${value}` }, () => {});
  const shown = JSON.stringify([await sessions.list(), sessions.stats(), diagnostics, sessions]);
  for (const secret of [value!, value!.split(".")[0]!, "a secret of"]) expect(shown).not.toContain(secret);
});
