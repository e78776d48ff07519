/** Our stores under the real express-session and @fastify/session, beside their own. */
import { afterEach, describe, expect, test } from "vitest";
import { memoryStore } from "../../store/memory.ts";
import {
  type Application,
  expressApp,
  expressSession,
  fastifyApp,
  fastifySession,
  gate,
  type Make,
  survivors,
  userAfterLogout,
  WRITERS,
} from "./express-session.test.support.ts";
import { type ExpressStoreOptions, expressStore } from "./express-store.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

function memory() {
  const store = memoryStore();
  closing.push(() => store.close());
  return store;
}

async function started(application: Promise<Application>): Promise<Application> {
  const app = await application;
  closing.push(() => app.close());
  return app;
}

const express =
  (store: () => unknown, options?: object): Make =>
  (handler) =>
    expressApp(store(), handler, options);
const fastify =
  (store: () => unknown): Make =>
  (handler) =>
    fastifyApp(store(), handler);
const quiet = { secret: "a secret of the test", resave: false, saveUninitialized: false };
const ours = () => expressStore(memory(), { Store: expressSession.Store });
const theirs = () => new expressSession.MemoryStore();

describe("under express-session", () => {
  test("20 parallel writers of different attributes all survive; with its MemoryStore one does", async () => {
    expect(await survivors(express(ours))).toBe(WRITERS);
    expect(await survivors(express(theirs))).toBe(1);
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
  const ours = () => expressStore(memory());
  const theirs = () => new fastifySession.MemoryStore();

  test("20 parallel writers of different attributes all survive; with its MemoryStore one does", async () => {
    expect(await survivors(fastify(ours))).toBe(WRITERS);
    expect(await survivors(fastify(theirs))).toBe(1);
  });

  test("neither a slow write nor a rolling read undoes a logout; with its MemoryStore both do", async () => {
    for (const path of ["/slow-write", "/slow-read"] as const) {
      expect(await userAfterLogout(fastify(ours), path), path).toBeUndefined();
      expect(await userAfterLogout(fastify(theirs), path), path).toBe("ada");
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
