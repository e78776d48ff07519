/** writeFrequency MANUAL_UPDATE: what is written when, and what is lost. Names are the promises of docs/policies.md. */
import { expect, test } from "vitest";
import { GatedStore, house, Jar } from "./harness.test.support.ts";

async function visited() {
  const all = house({ writeFrequency: "MANUAL_UPDATE" });
  const gated = new GatedStore(all.store);
  const sessions = all.another({ store: gated });
  const browser = new Jar();
  await browser.request(sessions, async (session) => {
    session.set("n", 1);
    await session.commit();
  });
  return { ...all, gated, sessions, browser };
}

test("changes without commit() are dropped and counted, and the response passes straight through", async () => {
  const { sessions, browser, gated, diagnostics } = await visited();
  const { outcome } = await browser.request(sessions, (session) => {
    session.set("n", 2);
    session.set("more", [1]);
  });
  expect(outcome).toBeUndefined();
  expect(gated.calls.apply).toBe(0);
  expect(sessions.stats()).toMatchObject({ dropped: 1, commits: 0 });
  expect(diagnostics).toMatchObject([
    { code: "CHANGES_DROPPED", message: expect.stringContaining("commit()") },
  ]);
  await browser.request(sessions, (session) => {
    expect(session.get("n")).toBe(1);
    expect(session.keys()).toEqual(["n"]);
  });
  expect(sessions.stats().dropped).toBe(1);
});

test("a visitor whose first set is not committed gets no session and no cookie", async () => {
  const { sessions, store } = await visited();
  const { setCookies } = await new Jar().request(sessions, (session) => session.set("n", 1));
  expect(setCookies).toEqual([]);
  expect(await store.count()).toBe(1);
});

test("commit() writes everything pending at once, and its failure fails the response", async () => {
  const { sessions, browser, gated } = await visited();
  await browser.request(sessions, async (session) => {
    session.set("n", 2);
    await session.commit();
    expect(gated.calls.apply).toBe(1);
  });
  await browser.request(sessions, (session) => expect(session.get("n")).toBe(2));
  gated.before = (verb) => (verb === "apply" ? Promise.reject(new Error("down")) : undefined);
  const { outcome } = await browser.request(sessions, async (session) => {
    session.set("n", 3);
    await session.commit().catch(() => {});
  });
  expect(outcome).toMatchObject({ ok: false, status: 503 });
});

test("update, start, renew and destroy write as always; renew takes what is pending along, update does not", async () => {
  const { sessions, browser, store } = await visited();
  await browser.request(sessions, async (session) => {
    session.set("left", 1);
    await session.update("n", () => 2);
  });
  expect(sessions.stats().dropped).toBe(1);
  await browser.request(sessions, async (session) => {
    expect([session.get("n"), session.get("left")]).toEqual([2, undefined]);
    session.set("taken", 1);
    await session.renew({ principal: "ada" });
  });
  await browser.request(sessions, async (session) => {
    expect([session.principal, session.get("taken")]).toEqual(["ada", 1]);
    await session.destroy();
  });
  const started = await new Jar().request(sessions, (session) => session.start());
  expect(started.setCookies).toHaveLength(1);
  expect(sessions.stats().dropped).toBe(1);
  expect(await store.count()).toBe(1);
});

test("a login that failed still fails the response, and what a handler left pending beside it is counted once", async () => {
  const { sessions, browser, gated } = await visited();
  gated.before = (verb) => (verb === "supersede" ? Promise.reject(new Error("down")) : undefined);
  const { outcome } = await browser.request(sessions, (session) => {
    session.set("n", 5);
    void session.renew({ principal: "ada" });
  });
  expect(outcome).toMatchObject({ ok: false, status: 503 });
  expect(sessions.stats().dropped).toBe(1);
});

test("requests that only read extend the session as always", async () => {
  const { sessions, browser, clock } = await visited();
  // Its first return confirms a session; each visit after that gives it the whole idle time again.
  await browser.request(sessions, () => {});
  for (let visits = 0; visits < 3; visits++) {
    clock.advance(1_700_000);
    await browser.request(sessions, (session) => expect(session.get("n")).toBe(1));
  }
});
