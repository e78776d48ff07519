/** Our stores under the real express-session and @fastify/session, beside their own. */
import { afterEach, describe, expect, test } from "vitest";
import { memoryStore } from "../../store/memory.ts";
import type { FakeClock } from "../../testing/fake-clock.ts";
import {
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
