import { afterEach, describe, expect, test } from "vitest";
import { memoryStore } from "../../store/memory.ts";
import type { SessionStore } from "../../store/store.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import type { ConnectSession } from "./connect-contract.ts";
import {
  type AnySession,
  type Application,
  expressApp,
  expressSession,
  fastifyApp,
  fastifySession,
  gate,
  type Handler,
} from "./express-session.test.support.ts";
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

async function started(application: Promise<Application>): Promise<Application> {
  const app = await application;
  closing.push(() => app.close());
  return app;
}

const WRITERS = 20;

/** Each request loads its session, waits for all the others to have done so, and sets an attribute of its own. */
function overlapping(): Handler {
  const all = gate(WRITERS);
  return async (session, url) => {
    if (url.pathname !== "/write") {
      session.user = "ada";
      return;
    }
    await all();
    session[`key-${url.searchParams.get("n")}`] = true;
  };
}

async function survivors(app: Application): Promise<number> {
  const { visitor } = await app.get("/begin");
  await Promise.all(Array.from({ length: WRITERS }, (_, n) => app.get(`/write?n=${n}`, visitor)));
  const { session } = await app.get("/begin", visitor);
  return Object.keys(session).filter((name) => name.startsWith("key-")).length;
}

/** A request that began before a logout and writes after it. */
function slow(): { handler: Handler; loaded: () => Promise<void>; ended: () => Promise<void> } {
  const [loaded, ended] = [gate(2), gate(2)];
  return {
    loaded,
    ended,
    async handler(session, url) {
      if (url.pathname === "/begin") session.user = "ada";
      if (url.pathname === "/logout") {
        await new Promise<void>((resolve, reject) => session.destroy((e) => (e ? reject(e) : resolve())));
      }
      if (url.pathname.startsWith("/slow")) {
        await loaded();
        await ended();
        if (url.pathname === "/slow-write") session.cart = "late";
      }
    },
  };
}

async function userAfterLogout(
  make: (handler: Handler) => Promise<Application>,
  path: string,
): Promise<unknown> {
  const { handler, loaded, ended } = slow();
  const app = await started(make(handler));
  const { visitor } = await app.get("/begin");
  const late = app.get(path, visitor);
  await loaded();
  await app.get("/logout", visitor);
  await ended();
  await late;
  return (await app.get("/look", visitor)).session.user;
}

const express = (store: () => unknown, options?: object) => (handler: Handler) =>
  expressApp(store(), handler, options);
const quiet = { secret: "a secret of the test", resave: false, saveUninitialized: false };
const ours = () => expressStore(memory(), { Store: expressSession.Store });
const theirs = () => new expressSession.MemoryStore();

describe("under express-session", () => {
  test("20 parallel writers of different attributes all survive; with its MemoryStore one does", async () => {
    expect(await survivors(await started(expressApp(ours(), overlapping())))).toBe(WRITERS);
    expect(await survivors(await started(expressApp(theirs(), overlapping())))).toBe(1);
  });

  test("a slow write does not undo a logout; with its MemoryStore it does", async () => {
    expect(await userAfterLogout(express(ours), "/slow-write")).toBeUndefined();
    expect(await userAfterLogout(express(theirs), "/slow-write")).toBe("ada");
  });

  test("a slow read does not undo a logout under resave, its default; with its MemoryStore it does", async () => {
    expect(await userAfterLogout(express(ours, { resave: true }), "/slow-read")).toBeUndefined();
    expect(await userAfterLogout(express(theirs, { resave: true }), "/slow-read")).toBe("ada");
  });

  test("a request that deletes and one that sets leave both done", async () => {
    const both = gate(2);
    const app = await started(
      expressApp(ours(), async (session, { pathname }) => {
        if (pathname === "/begin") Object.assign(session, { a: 1, b: 1 });
        if (pathname === "/delete") {
          await both();
          delete session.a;
        }
        if (pathname === "/set") {
          await both();
          session.c = 1;
        }
      }),
    );
    const { visitor } = await app.get("/begin");
    await Promise.all([app.get("/delete", visitor), app.get("/set", visitor)]);
    const { cookie, ...attributes } = (await app.get("/look", visitor)).session;
    expect(cookie).toBeDefined();
    expect(attributes).toEqual({ b: 1, c: 1 });
  });

  test("saves in a row of one request are all stored, in their order", async () => {
    const app = await started(
      expressApp(ours(), async (session, { pathname }) => {
        if (pathname !== "/save") return;
        const saves = [1, 2, 3].map((n) => {
          session.n = n;
          session[`save-${n}`] = true;
          return new Promise<void>((resolve, reject) => session.save((e) => (e ? reject(e) : resolve())));
        });
        delete session["save-1"];
        await Promise.all(saves);
      }),
    );
    for (let visits = 0, visitor = ""; visits < 2; visits++) {
      ({ visitor } = await app.get("/save", visitor));
      const { cookie: _, ...attributes } = (await app.get("/look", visitor)).session;
      expect(attributes).toEqual({ n: 3, "save-2": true, "save-3": true });
    }
  });

  test("a store made without Store is refused when the middleware is made, not at the second request", () => {
    expect(() => expressSession({ ...quiet, store: expressStore(memory()) })).toThrow(/session\.Store/);
  });

  test("what is no Store at all is refused", () => {
    const wrong = { Store: class {} } as ExpressStoreOptions;
    expect(() => expressStore(memory(), wrong)).toThrow(/session\.Store/);
    expect(() => expressStore(memory(), { Store: "store" as never })).toThrow(/Store/);
    expect(() => expressStore(memory(), { browserSessionMs: 0 })).toThrow(/browserSessionMs/);
    expect(() => expressStore(memory(), { endedWrites: "maybe" as never })).toThrow(/endedWrites/);
  });
});

describe("under @fastify/session", () => {
  test("20 parallel writers of different attributes all survive; with its MemoryStore one does", async () => {
    const survivorsOf = async (store: unknown) => survivors(await started(fastifyApp(store, overlapping())));
    expect(await survivorsOf(expressStore(memory()))).toBe(WRITERS);
    expect(await survivorsOf(new fastifySession.MemoryStore())).toBe(1);
  });

  test("neither a slow write nor a rolling read undoes a logout; with its MemoryStore both do", async () => {
    for (const path of ["/slow-write", "/slow-read"]) {
      const userWith = (store: unknown) => userAfterLogout((handler) => fastifyApp(store, handler), path);
      expect(await userWith(expressStore(memory())), path).toBeUndefined();
      expect(await userWith(new fastifySession.MemoryStore()), path).toBe("ada");
    }
  });

  test("what a session was is no part of what the application answers with or stores", async () => {
    const sessions = memory();
    const app = await started(
      fastifyApp(expressStore(sessions), (session) => {
        session.n = Number(session.n ?? 0) + 1;
      }),
    );
    const { visitor } = await app.get("/");
    const { session } = await app.get("/", visitor);
    expect(Object.keys(session).sort()).toEqual(["cookie", "n"]);
    expect(session.n).toBe(2);
    const [summary] = (await sessions.list()).sessions;
    const record = await sessions.read(summary!.key);
    expect([...record!.attributes.keys()].sort()).toEqual(["cookie", "n"]);
  });
});

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
    const { jsonCodec } = await import("../../core/codec.ts");
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
    store.view.set("id", { cookie: {}, n: 1 } satisfies Partial<AnySession>);
    await expect.poll(() => store.get("id")).toMatchObject({ n: 1 });
    store.view.destroy("id");
    await expect.poll(() => store.get("id")).toBeNull();
  });
});
