import { expect, test } from "vitest";
import { GatedStore, house, Jar, request } from "./harness.test.support.ts";

test("the first set creates the session, and its cookie is sent once", async () => {
  const { sessions, store } = house();
  const browser = new Jar();
  const first = await browser.request(sessions, (session) => {
    expect(session.id).toBeNull();
    session.set("cart", ["book"]);
  });
  expect(first.setCookies).toHaveLength(1);
  expect(first.setCookies[0]).toMatch(/^sid=[\w-]{43}\.[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax$/);
  const second = await browser.request(sessions, (session) => {
    expect(session.get("cart")).toEqual(["book"]);
    expect(session.isNew).toBe(false);
    session.set("cart", ["book", "pen"]);
  });
  expect(second).toEqual({ outcome: { ok: true, setCookies: [] }, setCookies: [] });
  const third = await browser.request(sessions, (session) => {
    expect(session.get("cart")).toEqual(["book", "pen"]);
  });
  expect(third.outcome).toBeUndefined();
  expect(await store.count()).toBe(1);
});

test("an anonymous request that sets nothing costs no store call, no cookie and no wait", async () => {
  const { sessions: _, store, another } = house();
  const gated = new GatedStore(store);
  const sessions = another({ store: gated });
  const answer = await request(sessions, {}, (session) => {
    expect(session.get("cart")).toBeUndefined();
    expect(session.keys()).toEqual([]);
    session.delete("cart");
    expect(session.isNew).toBe(true);
  });
  expect(answer.outcome).toBeUndefined();
  expect(gated.total).toBe(0);
});
