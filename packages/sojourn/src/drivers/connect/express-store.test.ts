import { afterEach, describe, expect, test } from "vitest";
import { jsonCodec } from "../../core/codec.ts";
import { memoryStore } from "../../store/memory.ts";
import type { SessionStore } from "../../store/store.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import type { ConnectSession } from "./connect-contract.ts";
import { type ExpressStoreOptions, expressStore } from "./express-store.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

function memory(clock?: FakeClock) {
  const store = memoryStore(clock ? { clock } : {});
  closing.push(() => store.close());
  return store;
}

/** The view without a framework. */
function bare(store: SessionStore, options: ExpressStoreOptions = {}) {
  const view = expressStore(store, options);
  const call =
    <Args extends unknown[], Value>(
      method: (...args: [...Args, (error: unknown, value?: Value) => void]) => void,
    ) =>
    (...args: Args) =>
      new Promise<Value | undefined>((resolve, reject) => {
        const done = (error: unknown, value?: Value) => (error ? reject(error) : resolve(value));
        method.call(view, ...args, done);
      });
  return {
    view,
    get: call<[string], ConnectSession | null>(view.get),
    set: call<[string, object], void>(view.set),
    touch: call<[string, object], void>(view.touch),
    destroy: call<[string], void>(view.destroy),
    all: call<[], Record<string, ConnectSession>>(view.all),
    length: call<[], number>(view.length),
    clear: call<[], void>(view.clear),
  };
}

function expiring(atMs: number, more: object = {}): ConnectSession {
  return { cookie: { expires: new Date(atMs), originalMaxAge: 60_000, path: "/" }, ...more };
}

describe("as a store", () => {
  test("values come back as JSON makes them, as from every store of express-session", async () => {
    const store = bare(memory());
    const toJSON = () => "by toJSON";
    const date = new Date(1_700_000_000_123);
    const odd = { ["__proto__"]: { x: 1 }, constructor: 2, $t: 3, "": 4 };
    const values = { date, own: { toJSON }, nan: Number.NaN, dollar: { $t: "Date", v: 0 }, left: undefined };
    await store.set("id", { cookie: {}, ...values, f: () => 1, ...odd });
    const found = JSON.parse(JSON.stringify(await store.get("id")));
    expect(new Map(Object.entries(found))).toEqual(
      new Map<string, unknown>([
        ["", 4],
        ["$t", 3],
        ["__proto__", { x: 1 }],
        ["constructor", 2],
        ["cookie", {}],
        ["date", date.toISOString()],
        ["dollar", { $t: "Date", v: 0 }],
        ["nan", null],
        ["own", "by toJSON"],
      ]),
    );
  });

  test("what JSON refuses is an error of the callback, and nothing is stored", async () => {
    const store = bare(memory());
    await expect(store.set("id", { cookie: {}, n: 1n })).rejects.toThrow(/BigInt/);
    expect(await store.get("id")).toBeNull();
  });

  test("a session lives to the millisecond of its cookie, moved by touch, forward and back", async () => {
    const clock = new FakeClock();
    const store = bare(memory(clock), { clock });
    const alive = async () => (await store.get("id")) !== null;
    await store.set("id", expiring(clock.nowMs() + 5, { n: 1 }));
    clock.advance(4);
    const session = (await store.get("id"))!;
    session.n = 2;
    session.cookie.expires = new Date(clock.nowMs() + 100);
    await store.touch("id", session);
    clock.advance(99);
    const touched = (await store.get("id"))!;
    expect(touched.n).toBe(1);
    expect(touched.cookie.expires).toBe((session.cookie.expires as Date).toISOString());
    await store.touch("id", expiring(clock.nowMs() + 10_000));
    await store.touch("id", expiring(clock.nowMs() + 3));
    clock.advance(2);
    expect(await alive()).toBe(true);
    clock.advance(1);
    expect(await alive()).toBe(false);
  });

  test("a session whose cookie ends with the browser lives browserSessionMs from its last touch", async () => {
    const clock = new FakeClock();
    const store = bare(memory(clock), { clock, browserSessionMs: 1_000 });
    await store.set("id", { cookie: { expires: null }, n: 1 });
    clock.advance(900);
    await store.touch("id", (await store.get("id"))!);
    clock.advance(999);
    expect(await store.get("id")).not.toBeNull();
    clock.advance(1);
    expect(await store.get("id")).toBeNull();
  });

  test("a session that is over before it is stored is stored nowhere", async () => {
    const sessions = memory();
    await bare(sessions).set("id", expiring(Date.now() - 1));
    expect(sessions.stats().created).toBe(0);
  });

  test("a session that was over when it was first saved is stored by a later save that gives it time", async () => {
    const store = bare(memory());
    const session = expiring(Date.now() - 1, { n: 1 });
    await store.set("id", session);
    session.cookie.expires = new Date(Date.now() + 60_000);
    await store.set("id", session);
    expect(await store.get("id")).toMatchObject({ n: 1 });
  });

  test("a session under a new id is a new one, whatever was copied into it from the old", async () => {
    const store = bare(memory());
    await store.set("old", { cookie: {}, user: "ada", cart: 1 });
    const old = (await store.get("old"))!;
    await store.destroy("old");
    await store.set("new", Object.assign({ cookie: {} }, old));
    expect(await store.get("new")).toMatchObject({ user: "ada", cart: 1 });
    await store.set("third", old);
    expect(await store.get("third")).toMatchObject({ user: "ada", cart: 1 });
  });

  test("touch and destroy of an unknown session are no errors and create nothing", async () => {
    const store = bare(memory());
    await store.touch("id", expiring(Date.now() + 60_000));
    await store.destroy("id");
    expect(await store.get("id")).toBeNull();
  });

  test("an ended id stays ended, for sessions that were read and for such that were not", async () => {
    for (const endedWrites of ["drop", "error"] as const) {
      const store = bare(memory(), { endedWrites });
      await store.set("id", { cookie: {}, n: 1 });
      const read = (await store.get("id"))!;
      read.n = 2;
      await store.destroy("id");
      for (const session of [read, { cookie: {}, n: 3 }]) {
        const written = store.set("id", session);
        if (endedWrites === "error") await expect(written).rejects.toMatchObject({ code: "SESSION_ENDED" });
        else await written;
        expect(await store.get("id")).toBeNull();
      }
    }
  });

  test("a session put together by hand replaces what is there", async () => {
    const store = bare(memory());
    await store.set("id", { cookie: {}, a: 1, b: 1 });
    await store.set("id", { cookie: {}, b: 2 });
    expect(await store.get("id")).toMatchObject({ b: 2 });
    expect(await store.get("id")).not.toHaveProperty("a");
  });

  test("a first save that failed does not keep a second one from storing the session", async () => {
    const sessions = memory();
    let isDown = true;
    const flaky: SessionStore = Object.assign(Object.create(sessions) as SessionStore, {
      create: async (...args: Parameters<SessionStore["create"]>) => {
        if (isDown) throw new Error("down");
        return sessions.create(...args);
      },
      read: (...args: Parameters<SessionStore["read"]>) => sessions.read(...args),
    });
    const store = bare(flaky);
    const session = { cookie: {}, n: 1 };
    const first = store.set("id", session);
    const second = first.then(undefined, () => {
      isDown = false;
      return store.set("id", session);
    });
    await expect(first).rejects.toThrow("down");
    await second;
    expect(await store.get("id")).toMatchObject({ n: 1 });
  });

  test("all, length and clear see every session; all names each by a handle that only destroy takes", async () => {
    const store = bare(memory());
    const ids = Array.from({ length: 130 }, (_, n) => `id-${n}`);
    for (const id of ids) await store.set(id, { cookie: {}, of: id });
    const all = Object.entries((await store.all())!);
    expect(all.map(([, session]) => session.of).sort()).toEqual([...ids].sort());
    expect(await store.length()).toBe(130);
    const [handle, { of }] = all[0]!;
    expect(await store.get(handle)).toBeNull();
    await store.destroy(handle);
    expect(await store.get(of as string)).toBeNull();
    expect(await store.length()).toBe(129);
    await store.clear();
    expect(await store.length()).toBe(0);
    expect(await store.all()).toEqual({});
  });

  test("a store that cannot be looked through says so", async () => {
    const { read, create, apply, touch, destroy, supersede, close } = memory();
    const store = bare({ name: "closed shop", read, create, apply, touch, destroy, supersede, close });
    for (const call of [store.all(), store.length(), store.clear()]) {
      await expect(call).rejects.toMatchObject({ code: "NOT_ENUMERABLE" });
    }
  });

  test("with `principal` a user's sessions can be listed and ended, also by a login under way", async () => {
    const sessions = memory();
    const principal = (session: ConnectSession) => (session.passport as { user?: string } | undefined)?.user;
    const store = bare(sessions, { principal });
    await store.set("phone", { cookie: {}, passport: { user: "ada" } });
    await store.set("laptop", { cookie: {} });
    await store.set("other", { cookie: {}, passport: { user: "bob" } });
    const login = (await store.get("laptop"))!;
    login.passport = { user: "ada" };
    expect(await sessions.count({ principal: "ada" })).toBe(1);
    expect(await sessions.endAll("ada")).toBe(1);
    await store.set("laptop", login);
    expect(await store.get("phone")).toBeNull();
    expect(await store.get("laptop")).toBeNull();
    const logout = (await store.get("other"))!;
    delete logout.passport;
    await store.set("other", logout);
    expect(await sessions.count({ principal: "bob" })).toBe(0);
    expect(await store.get("other")).not.toBeNull();
  });

  test("attributes that JSON has no words for are left out and left alone", async () => {
    const sessions = memory();
    const store = bare(sessions);
    await store.set("id", { cookie: {}, n: 1 });
    const key = (await sessions.list()).sessions[0]!.key;
    await sessions.apply(key, {
      set: new Map<string, Uint8Array>([
        ["big", jsonCodec.encode(12n, "big")],
        ["at", jsonCodec.encode(new Date(5), "at")],
      ]),
    });
    const session = (await store.get("id"))!;
    expect(session).not.toHaveProperty("big");
    expect(session.at).toEqual(new Date(5));
    session.n = 2;
    await store.set("id", session);
    const { attributes } = (await sessions.read(key))!;
    expect(jsonCodec.decode(attributes.get("big")!.value)).toBe(12n);
    expect(jsonCodec.decode(attributes.get("at")!.value)).toEqual(new Date(5));
    expect(jsonCodec.decode(attributes.get("n")!.value)).toBe(2);
  });

  test("a callback may be left out", async () => {
    const store = bare(memory());
    store.view.set("id", { cookie: {}, n: 1 });
    await expect.poll(() => store.get("id")).toMatchObject({ n: 1 });
    store.view.destroy("id");
    await expect.poll(() => store.get("id")).toBeNull();
  });
});
