/** The driver: what it says of its limits, and what a store that misbehaves costs. */
import { EventEmitter } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { newOperationId, newSessionId, type SessionKey, sessionKeyOf } from "../../core/ids.ts";
import type { Version } from "../../core/version.ts";
import { nodeSessions } from "../../http/node.ts";
import { createSessions } from "../../sessions/create-sessions.ts";
import { isEnumerable } from "../../store/store.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { FIELD } from "./blob-values.ts";
import { type AnyConnectStore, Store } from "./connect-contract.ts";
import { decoded, encoded, given, KEY, opened, PlainConnectStore } from "./connect-stores.test.support.ts";
import { fastifySession } from "./express-session.test.support.ts";
import { connectStore } from "./listing-connect-store.ts";

const newKey = (): SessionKey => sessionKeyOf(newSessionId(systemClock));
const require = createRequire(import.meta.url);

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

describe("limits", () => {
  test("are told once when the store is opened, and stand in a property", () => {
    const { told, store, plain } = opened();
    expect(told.map(({ code }) => code)).toEqual(["CONNECT_STORE_LIMITS"]);
    expect(told[0]?.message).toContain("connect:PlainConnectStore");
    expect(store.limits).toEqual(["NO_COMPARE_AND_SWAP", "PROCESS_MEMORY", "LISTS_EVERYTHING"]);
    const { get, set, destroy } = plain;
    const bare = connectStore({ get, set, destroy }, { onDiagnostic: () => undefined });
    expect(bare.limits).toContain("NOT_ENUMERABLE");
    expect(isEnumerable(bare)).toBe(false);
    expect(isEnumerable(store)).toBe(true);
  });

  test("a write that another process wrote over is noticed, counted and told", async () => {
    const { clock, told, store, open, byExpress, blob } = opened();
    const other = open();
    await store.create(given(clock, { a: 1 }));
    const read = JSON.stringify(blob());
    await store.apply(KEY, { set: encoded({ a: 2 }) });
    await other.apply(KEY, { set: encoded({ b: 2 }) });
    await store.read(KEY);
    expect(store.stats().writesLost).toBe(0);
    // An express-session server that had read the session before both.
    byExpress((session) => {
      for (const name of Object.keys(session)) delete session[name];
      Object.assign(session, JSON.parse(read), { c: 2 });
    });
    expect(decoded(await store.read(KEY))).toEqual({ a: 1, c: 2 });
    await other.read(KEY);
    expect([store.stats().writesLost, other.stats().writesLost]).toEqual([1, 1]);
    expect(told.filter(({ code }) => code === "WRITE_LOST")).toHaveLength(2);
    expect(JSON.stringify(told)).not.toContain(KEY);
    await store.read(KEY);
    expect(store.stats().writesLost).toBe(1);
  });

  test("a session that another process wrote back after its end stays ended here, and is ended again", async () => {
    const { clock, told, plain, store, open } = opened();
    await store.create(given(clock, { a: 1 }));
    const text = plain.texts.get(KEY)!;
    await store.destroy(KEY);
    plain.texts.set(KEY, text);
    expect(await store.apply(KEY, {})).toEqual({ status: "gone" });
    expect(await store.read(KEY)).toBeNull();
    await expect.poll(() => plain.texts.size).toBe(0);
    expect(await open().read(KEY)).toBeNull();
    expect(store.stats().revived).toBe(1);
    expect(told.map(({ code }) => code)).toContain("SESSION_REVIVED");
  });

  test("no version is given twice, also not after a write was lost or its outcome stayed unknown", async () => {
    let fails = false;
    const clock = new FakeClock();
    const plain = new PlainConnectStore(clock);
    const backend: AnyConnectStore = {
      get: (id, done) => plain.get(id, done),
      set: (id, session, done) =>
        fails ? done?.(new Error("hung up")) : plain.set(id, session, () => done?.()),
      destroy: (id, done) => plain.destroy(id, done),
    };
    const store = connectStore(backend, { clock, onDiagnostic: () => undefined });
    await store.create(given(clock, {}));
    const versions: string[] = [];
    const write = async (n: number) => {
      const result = await store.apply(KEY, { set: encoded({ n }) });
      versions.push(JSON.stringify((result as { version: object }).version));
    };
    await write(1);
    const early = plain.texts.get(KEY)!;
    await write(2);
    await write(3);
    plain.texts.set(KEY, early);
    await store.read(KEY);
    await write(4);
    plain.texts.set(KEY, early);
    await write(5);
    fails = true;
    await expect(write(6)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    fails = false;
    await write(7);
    expect(new Set(versions).size).toBe(6);
    const seventh = JSON.parse(versions.at(-1)!);
    expect((await store.read(KEY))?.version).toEqual(seventh);
    expect(seventh.counter).toBe(1);
    expect(store.stats().writesLost).toBe(2);
  });

  test("more processes than a lineage holds never give one version twice", async () => {
    const { clock, store, open } = opened();
    await store.create(given(clock, {}));
    const versions = new Set<string>();
    const processes = Array.from({ length: 12 }, open);
    for (let round = 0; round < 3; round++) {
      for (const each of processes) {
        const result = await each.apply(KEY, { set: encoded({ round }) });
        versions.add(JSON.stringify((result as { version: object }).version));
      }
    }
    expect(versions.size).toBe(36);
    expect(processes.map((each) => each.stats().writesLost)).toEqual(processes.map(() => 0));
  });
});

test("a session that nobody can read, and those of express-session, do not keep others from being listed", async () => {
  const { clock, plain, store, byExpress } = opened();
  await store.create(given(clock, {}, newKey()));
  const login = { ...given(clock, {}, newKey()), principal: { principal: "ada", ageMs: 0 } };
  await store.create(login);
  byExpress((session) => Object.assign(session, { user: "by express-session" }));
  plain.set(newKey(), { cookie: {}, [FIELD]: { v: 9 } });
  plain.set(newKey(), { cookie: {}, [FIELD]: { v: 1, key: newKey(), packed: "" } });
  expect(await store.count()).toBe(2);
  clock.advance(5);
  expect(await store.endAll("ada")).toBe(1);
  expect(await store.count()).toBe(1);
});

describe("a store that misbehaves", () => {
  const silent: AnyConnectStore = { get: () => undefined, set: () => undefined, destroy: () => undefined };

  test("and never answers costs a caller its time, not more, and closes nothing", async () => {
    const { clock, store } = opened(silent);
    const reading = store.read(KEY);
    const writing = store.apply(KEY, {}, { timeoutMs: 100 });
    const waiting = store.apply(KEY, {}, { timeoutMs: 100 });
    clock.advance(100);
    await expect(writing).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await expect(waiting).rejects.toThrow(/did not answer within 100 ms/);
    clock.advance(400);
    await expect(reading).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await store.close();
  });

  test("and answers after its caller has left is not written to any more", async () => {
    const answers: (() => void)[] = [];
    const writes: string[] = [];
    const slow: AnyConnectStore = {
      get: (_, done) => void answers.push(() => done(null, { cookie: {}, user: "ada" })),
      set: (id, _, done) => {
        writes.push(id);
        done?.();
      },
      destroy: (_, done) => done?.(),
    };
    const { clock, store } = opened(slow);
    const late = store.apply(KEY, { set: encoded({ a: 1 }) });
    clock.advance(500);
    await expect(late).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    answers.shift()?.();
    const next = store.apply(KEY, { set: encoded({ a: 2 }) });
    await expect.poll(() => answers.length).toBe(1);
    answers.shift()?.();
    expect((await next).status).toBe("applied");
    expect(writes).toEqual([KEY]);
  });

  test("and hangs does not close a session for good", async () => {
    let isHanging = true;
    const clock = new FakeClock();
    const plain = new PlainConnectStore(clock);
    const backend: AnyConnectStore = {
      get: (id, done) => (isHanging ? undefined : plain.get(id, done)),
      set: (id, session, done) => plain.set(id, session, done),
      destroy: (id, done) => plain.destroy(id, done),
    };
    const store = connectStore(backend, { clock, onDiagnostic: () => undefined });
    const hung = store.destroy(KEY);
    clock.advance(500);
    await expect(hung).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    isHanging = false;
    const next = store.destroy(KEY, { timeoutMs: 60_000 });
    clock.advance(10_000);
    expect(await next).toBe(false);
  });

  test("and fails, throws or rejects is unavailable; no message holds the id", async () => {
    const failures: AnyConnectStore["get"][] = [
      (_, done) => done(new Error(`no ${KEY}`)),
      () => {
        throw new Error("at once");
      },
      () => Promise.reject(new Error("later")),
    ];
    for (const get of failures) {
      const { store } = opened({ ...silent, get });
      const failure = await store.read(KEY).catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: "STORE_UNAVAILABLE", store: "connect:Object" });
      expect((failure as Error).message).not.toContain(KEY);
      expect((failure as Error).cause).toBeInstanceOf(Error);
    }
  });

  test("and cannot parse what it holds is unreadable; one without a file says that there is none", async () => {
    const unparsable = opened({ ...silent, get: (_, done) => done(new SyntaxError("Unexpected token")) });
    await expect(unparsable.store.read(KEY)).rejects.toMatchObject({ code: "STORED_DATA_UNREADABLE" });
    const missing = Object.assign(new Error("no such file"), { code: "ENOENT" });
    expect(await opened({ ...silent, get: (_, done) => done(missing) }).store.read(KEY)).toBeNull();
  });

  test("and whose write failed after it was done gives a retry the first answer", async () => {
    let fails = true;
    const clock = new FakeClock();
    const plain = new PlainConnectStore(clock);
    const backend: AnyConnectStore = {
      get: (id, done) => plain.get(id, done),
      set: (id, session, done) =>
        plain.set(id, session, () => done?.(fails ? new Error("hung up") : undefined)),
      destroy: (id, done) => plain.destroy(id, done),
    };
    const store = connectStore(backend, { clock, onDiagnostic: () => undefined });
    const operationId = newOperationId(clock);
    const session = given(clock, { n: 1 });
    await expect(store.create(session, { operationId })).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    fails = false;
    const created = await store.create(session, { operationId });
    expect(created.status).toBe("created");
    fails = true;
    const second = { operationId: newOperationId(clock) };
    const { version } = created as { version: Version };
    const delta = { expect: new Map([["n", version]]), set: encoded({ n: 2 }) };
    await expect(store.apply(KEY, delta, second)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    fails = false;
    const retried = await store.apply(KEY, delta, second);
    const record = (await store.read(KEY))!;
    expect(retried).toMatchObject({ status: "applied", version: record.version });
    expect(record.version).not.toEqual(version);
    expect(decoded(record)).toEqual({ n: 2 });
  });

  test("and hands out the very object it holds, as @fastify/session's does, keeps it unchanged", async () => {
    const backend = new fastifySession.MemoryStore();
    const { clock, store } = opened(backend);
    await store.create(given(clock, { cart: { n: 1 } }));
    const held = backend.store.get(KEY);
    const before = JSON.stringify(held);
    const record = await store.read(KEY);
    record!.attributes.get("cart")!.value.fill(0);
    await store.apply(KEY, { set: encoded({ cart: { n: 2 } }) });
    expect(JSON.stringify(held)).toBe(before);
    expect(decoded(await store.read(KEY))).toEqual({ cart: { n: 2 } });
  });
});

describe("as a user meets it", () => {
  test("a class, a factory or something else is refused in words that help", () => {
    for (const wrong of [class {}, require("memorystore"), {}, undefined]) {
      expect(() => connectStore(wrong as never)).toThrow(/expected an instance/);
    }
    expect(() => connectStore(new PlainConnectStore(new FakeClock()), { absoluteTimeoutMs: 0 })).toThrow(
      /absolute/,
    );
  });

  test("Store stands in for express-session's where a package wants one", () => {
    const store = new (require("memorystore")({ Store }))();
    expect(store).toBeInstanceOf(EventEmitter);
    const path = mkdtempSync(join(tmpdir(), "sojourn-sessions-"));
    closing.push(async () => rmSync(path, { recursive: true }));
    expect(new (require("session-file-store")({ Store }))({ path, reapInterval: -1 })).toBeInstanceOf(Store);
  });

  test("close ends what the store uses, once", async () => {
    let closed = 0;
    const store = connectStore(new PlainConnectStore(new FakeClock()), {
      onDiagnostic: () => undefined,
      close: () => ++closed,
    });
    await store.close();
    await store.close();
    expect(closed).toBe(1);
  });

  test("createSessions runs on memorystore: login with a new id, a Date, list, end all", async () => {
    const backend = new (require("memorystore")({ Store }))();
    const store = connectStore(backend, { onDiagnostic: () => undefined });
    const sessions = createSessions({ store, secret: "a secret of this test" });
    const { createServer } = await import("node:http");
    const server = createServer(
      nodeSessions(sessions, async (req, res) => {
        const session = await req.session();
        if (req.url === "/login") {
          session.set("at", new Date(5));
          await session.renew({ principal: "ada" });
        }
        res.end(JSON.stringify([session.principal, session.get("at") instanceof Date]));
      }),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    closing.push(async () => {
      server.closeAllConnections();
      server.close();
      await sessions.close();
      await store.close();
    });
    const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
    const login = await fetch(`${url}/login`);
    const headers = { cookie: login.headers.getSetCookie()[0]!.split(";")[0]! };
    const ask = async () => (await fetch(`${url}/`, { headers })).json();
    expect(await ask()).toEqual(["ada", true]);
    expect((await sessions.list({ principal: "ada" })).sessions).toHaveLength(1);
    expect(await sessions.endAll("ada")).toBe(1);
    expect(await ask()).toEqual([null, false]);
  });
});
