import { expect, test } from "vitest";
import { FakeClock } from "../testing/fake-clock.ts";
import { GatedStore, gate, house, Jar, request } from "./harness.test.support.ts";

const MINUTE_MS = 60_000;

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
  expect(second.outcome).toEqual({ ok: true, setCookies: [] });
  const third = await browser.request(sessions, (session) => {
    expect(session.get("cart")).toEqual(["book", "pen"]);
  });
  expect(third.outcome).toBeUndefined();
  expect(await store.count()).toBe(1);
});

test("an anonymous request that sets nothing costs no store call, no cookie and no wait", async () => {
  const { store, another } = house();
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

test("session() loads once per request and always gives the same promise", async () => {
  const { store, another } = house();
  const gated = new GatedStore(store);
  const sessions = another({ store: gated });
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("n", 1));
  await browser.request(sessions, async (session, scope) => {
    expect(scope.session()).toBe(scope.session());
    expect(await scope.session()).toBe(session);
  });
  expect(gated.calls.read).toBe(1);
});

test("a change inside an object is found and committed; reading one is not a change", async () => {
  const { sessions } = house();
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("cart", { items: ["book"], at: new Date(5) }));
  const read = await browser.request(sessions, (session) => {
    expect(session.get("cart")).toEqual({ items: ["book"], at: new Date(5) });
  });
  expect(read.outcome).toBeUndefined();
  const changed = await browser.request(sessions, (session) => {
    (session.get("cart") as { items: string[] }).items.push("pen");
  });
  expect(changed.outcome?.ok).toBe(true);
  // And after a set, until the response.
  await browser.request(sessions, (session) => {
    const list: number[] = [];
    session.set("list", list);
    list.push(7);
  });
  await browser.request(sessions, (session) => {
    expect(session.get("cart")).toEqual({ items: ["book", "pen"], at: new Date(5) });
    expect(session.get("list")).toEqual([7]);
  });
});

test("setting an equal value, and deleting what is not there, is no change", async () => {
  const { store, another } = house();
  const gated = new GatedStore(store);
  const sessions = another({ store: gated });
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("cart", { n: 1 }));
  const answer = await browser.request(sessions, (session) => {
    session.set("cart", { n: 1 });
    session.set("x", 5);
    session.delete("x");
    session.delete("never");
  });
  expect(answer.outcome).toBeUndefined();
  expect(gated.calls.apply).toBe(0);
});

test("one commit per request carries all its sets and deletes", async () => {
  const { store, another } = house();
  const gated = new GatedStore(store);
  const sessions = another({ store: gated });
  const browser = new Jar();
  await browser.request(sessions, (session) => {
    session.set("a", 1);
    session.set("b", 2);
  });
  const versions: (string | null)[] = [];
  await browser.request(sessions, async (session, scope) => {
    session.set("c", 3);
    session.delete("a");
    expect(session.keys().sort()).toEqual(["b", "c"]);
    versions.push(session.version);
    const settling = scope.settle();
    expect(scope.settle()).toBe(settling);
    await settling;
    versions.push(session.version);
  });
  expect(gated.calls).toMatchObject({ create: 1, apply: 1 });
  expect(versions[0]).not.toBe(versions[1]);
  await browser.request(sessions, (session) => {
    expect(session.keys().sort()).toEqual(["b", "c"]);
    expect(session.has("a")).toBe(false);
    expect(session.version).toBe(versions[1]);
  });
});

test("after the response has begun set and delete throw LATE_WRITE, update still commits", async () => {
  const { sessions } = house();
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("n", 1));
  await browser.request(sessions, async (session, scope) => {
    expect(scope.settle()).toBeUndefined();
    expect(() => session.set("n", 2)).toThrow(expect.objectContaining({ code: "LATE_WRITE" }));
    expect(() => session.delete("n")).toThrow(expect.objectContaining({ code: "LATE_WRITE" }));
    await expect(session.renew()).rejects.toMatchObject({ code: "LATE_WRITE" });
    expect(await session.update("n", (n) => (n as number) + 1)).toBe(2);
  });
  await request(sessions, {}, async (session, scope) => {
    scope.settle();
    for (const late of [session.update("n", () => 1), session.start(), session.renew()]) {
      await expect(late).rejects.toMatchObject({ code: "LATE_WRITE" });
    }
  });
  await browser.request(sessions, (session) => expect(session.get("n")).toBe(2));
  expect(sessions.stats().lateWrites).toBe(6);
});

test("an explicit commit is the one of the request: later sets throw, and its cookie still goes with the headers", async () => {
  const { sessions } = house();
  const browser = new Jar();
  const answer = await browser.request(sessions, async (session) => {
    session.set("n", 1);
    await session.commit();
    expect(session.id).not.toBeNull();
    expect(() => session.set("n", 2)).toThrow(expect.objectContaining({ code: "LATE_WRITE" }));
  });
  expect(answer.outcome).toMatchObject({ ok: true, setCookies: [expect.stringContaining("sid=")] });
  await browser.request(sessions, (session) => expect(session.get("n")).toBe(1));
});

test("a change inside an object after an explicit commit fails the response instead of being forgotten", async () => {
  const { sessions } = house();
  const answer = await request(sessions, {}, async (session) => {
    const list: number[] = [];
    session.set("list", list);
    await session.commit();
    list.push(1);
  });
  expect(answer.outcome).toMatchObject({ ok: false, status: 500, code: "LATE_WRITE" });
});

test("changes of a handler that never answers are dropped and counted; a clean one is not", async () => {
  const { sessions, diagnostics } = house();
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("list", []));
  const never = async (handle: (session: Awaited<ReturnType<typeof open>>) => void) => {
    const session = await open();
    handle(session);
  };
  const scopes: { close(): void }[] = [];
  const open = () => {
    const scope = sessions.open({ cookie: browser.cookie, secure: false });
    scopes.push(scope);
    return scope.session();
  };
  await never((session) => session.set("n", 1));
  await never((session) => (session.get("list") as number[]).push(1));
  await never((session) => void session.get("list"));
  for (const scope of scopes) scope.close();
  await expect.poll(() => sessions.stats().dropped).toBe(2);
  expect(diagnostics.map(({ code }) => code)).toEqual(["CHANGES_DROPPED"]);
  await browser.request(sessions, (session) => expect(session.keys()).toEqual(["list"]));
});

test("a commit under way goes on when the connection is gone", async () => {
  const { store, another } = house();
  const gated = new GatedStore(store);
  const sessions = another({ store: gated });
  const held = gate();
  gated.before = () => held.promise;
  const scope = sessions.open({ cookie: undefined, secure: false });
  const session = await scope.session();
  session.set("n", 1);
  const settling = scope.settle();
  scope.close();
  held.open();
  expect(await settling).toMatchObject({ ok: true });
  expect(await store.count()).toBe(1);
  expect(sessions.stats().dropped).toBe(0);
});

test("touch is throttled, off the response's path, and happens once for parallel requests", async () => {
  const { store, another, clock } = house();
  const gated = new GatedStore(store);
  const sessions = another({ store: gated });
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("n", 1));
  const look = () => browser.request(sessions, (session) => void session.get("n"));
  // The first return confirms the session, and that is a touch.
  await look();
  expect(gated.calls.touch).toBe(1);
  await look();
  expect(gated.calls.touch).toBe(1);
  clock.advance(59_000);
  await look();
  expect(gated.calls.touch).toBe(1);
  clock.advance(2_000);
  const held = gate();
  gated.before = (verb) => (verb === "touch" ? held.promise : undefined);
  await Promise.all(Array.from({ length: 20 }, look));
  expect(gated.calls.touch).toBe(2);
  held.open();
  await sessions.close();
  expect(sessions.stats()).toMatchObject({ touches: 2, touchFailures: 0 });
});

test("a failing touch is counted and told, harms nobody, and is tried again", async () => {
  const { store, another, diagnostics } = house();
  const gated = new GatedStore(store);
  const sessions = another({ store: gated });
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("n", 1));
  gated.before = (verb) => (verb === "touch" ? Promise.reject(new Error("wire cut")) : undefined);
  for (const failures of [1, 2]) {
    const answer = await browser.request(sessions, (session) => void session.get("n"));
    expect(answer.outcome).toBeUndefined();
    await expect.poll(() => sessions.stats().touchFailures).toBe(failures);
  }
  expect(diagnostics.map(({ code }) => code)).toEqual(["TOUCH_FAILED"]);
});

test("a session whose cookie never came back lives 5 minutes; one whose cookie did, the idle timeout and its slack", async () => {
  const { sessions, clock } = house();
  const [lost, kept] = [new Jar(), new Jar()];
  for (const browser of [lost, kept]) await browser.request(sessions, (session) => session.set("n", 1));
  await kept.request(sessions, (session) => void session.get("n"));
  clock.advance(5 * MINUTE_MS);
  await lost.request(sessions, (session) => expect(session.isNew).toBe(true));
  // Without a touch: only `find`s look from here.
  const [{ key } = { key: "" }] = (await sessions.list()).sessions;
  clock.advance(26 * MINUTE_MS - 1);
  expect(await sessions.find(key)).not.toBeNull();
  clock.advance(1);
  expect(await sessions.find(key)).toBeNull();
});

test("the absolute timeout ends the busiest session", async () => {
  const { sessions, clock } = house();
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("n", 0));
  for (let minute = 4; minute < 12 * 60; minute += 4) {
    clock.advance(4 * MINUTE_MS);
    await browser.request(sessions, (session) => {
      expect(session.get("n"), `after ${minute} minutes`).toBe(minute - 4);
      session.set("n", minute);
    });
  }
  clock.advance(4 * MINUTE_MS);
  await browser.request(sessions, (session) => expect(session.isNew).toBe(true));
});

test("explicit touch moves the deadline now, and answers false for a session that is gone", async () => {
  const { sessions, clock } = house();
  const browser = new Jar();
  await browser.request(sessions, async (session) => {
    expect(await session.touch()).toBe(false);
    session.set("n", 1);
  });
  await browser.request(sessions, async (session) => {
    clock.advance(MINUTE_MS);
    const before = session.expiresAt.getTime();
    expect(await session.touch()).toBe(true);
    expect(session.expiresAt.getTime()).toBeGreaterThan(before);
    await request(sessions, { cookie: browser.cookie }, (other) => other.destroy());
    expect(await session.touch()).toBe(false);
  });
});

test("what a session tells of itself", async () => {
  const clock = new FakeClock({ startMs: 1_900_000_000_000 });
  const { sessions } = house({ clock });
  const browser = new Jar();
  const startMs = clock.nowMs();
  await browser.request(sessions, async (session) => {
    expect(session).toMatchObject({ id: null, version: null, isNew: true, principal: null });
    expect(session.createdAt.getTime()).toBe(startMs);
    expect(session.expiresAt.getTime()).toBe(startMs + 31 * MINUTE_MS);
    await session.start();
    expect(session.isNew).toBe(true);
    expect(session.id).toMatch(/^[\w-]{43}$/);
    expect(session.version).toMatch(/^[0-9a-f]{16}\.1$/);
    expect(session.expiresAt.getTime()).toBe(startMs + 5 * MINUTE_MS);
  });
  clock.advance(1_000);
  await browser.request(sessions, (session) => session.set("n", 1));
  clock.advance(1_000);
  await browser.request(sessions, (session) => {
    expect(session.isNew).toBe(false);
    expect(session.version).toMatch(/^[0-9a-f]{16}\.2$/);
    expect(session.createdAt.getTime()).toBe(startMs);
    expect(session.lastAccessAt.getTime()).toBe(startMs + 1_000);
    expect(session.expiresAt.getTime()).toBe(startMs + 1_000 + 31 * MINUTE_MS);
  });
});

test("errors of set come from set, name the attribute, never the value, and keep the old state", async () => {
  const { another } = house();
  const sessions = another({ limits: { sessionBytesMax: 1_000, attributesMax: 3 } });
  const browser = new Jar();
  await browser.request(sessions, (session) => {
    session.set("kept", "old");
    const cyclic: unknown[] = [];
    cyclic.push(cyclic);
    const refused: [string, unknown, string][] = [
      ["fn", () => "secret", "UNSUPPORTED_VALUE"],
      ["kept", cyclic, "UNSUPPORTED_VALUE"],
      ["kept", "secret".repeat(200), "SESSION_TOO_LARGE"],
      ["k".repeat(9_000), 1, "INVALID_ATTRIBUTE_NAME"],
      ["\ud800", 1, "INVALID_ATTRIBUTE_NAME"],
    ];
    for (const [name, value, code] of refused) {
      expect(() => session.set(name, value), code).toThrow(
        expect.objectContaining({ code, message: expect.not.stringContaining("secret") }),
      );
    }
    session.set("b", 1);
    session.set("", 2);
    expect(() => session.set("d", 1)).toThrow(expect.objectContaining({ code: "TOO_MANY_ATTRIBUTES" }));
    expect(session.get("kept")).toBe("old");
    session.delete("b");
    session.set("__proto__", 3);
  });
  await browser.request(sessions, (session) => {
    expect(session.keys().sort()).toEqual(["", "__proto__", "kept"]);
    expect(session.get("kept")).toBe("old");
  });
});

test("an object that grew too large or unsupported inside fails the response with 413 or 500 and keeps the old state", async () => {
  const { another } = house();
  const sessions = another({ limits: { sessionBytesMax: 1_000 } });
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("list", ["old"]));
  const grown = await browser.request(sessions, (session) => {
    (session.get("list") as string[]).push("x".repeat(1_000));
  });
  expect(grown.outcome).toMatchObject({ ok: false, status: 413, code: "SESSION_TOO_LARGE", setCookies: [] });
  const spoilt = await browser.request(sessions, (session) => {
    (session.get("list") as unknown[]).push(() => 1);
    session.set("other", 1);
  });
  expect(spoilt.outcome).toMatchObject({ ok: false, status: 500, code: "UNSUPPORTED_VALUE" });
  await browser.request(sessions, (session) => {
    expect(session.keys()).toEqual(["list"]);
    expect(session.get("list")).toEqual(["old"]);
  });
});

test("limits may be Infinity, and a session above a lowered limit can still shrink", async () => {
  const { another } = house();
  const unlimited = another({ limits: { sessionBytesMax: Infinity, attributesMax: Infinity } });
  const browser = new Jar();
  await browser.request(unlimited, (session) => {
    for (let n = 0; n < 500; n++) session.set(`a${n}`, "x".repeat(1_000));
  });
  const limited = another({ limits: { sessionBytesMax: 10_000, attributesMax: 10 } });
  const answer = await browser.request(limited, (session) => {
    session.set("a0", "shorter");
    session.delete("a1");
    expect(() => session.set("a2", "x".repeat(1_001))).toThrow(
      expect.objectContaining({ code: "SESSION_TOO_LARGE" }),
    );
  });
  expect(answer.outcome).toEqual({ ok: true, setCookies: [] });
});
