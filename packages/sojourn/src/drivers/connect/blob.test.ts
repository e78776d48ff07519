/** What lies in the store, and what becomes of it when express-session reads and writes the same sessions. */
import { describe, expect, test } from "vitest";
import { FakeClock } from "../../testing/fake-clock.ts";
import { FIELD } from "./blob-values.ts";
import {
  cookie,
  decoded,
  encoded,
  given,
  KEY,
  MINUTE,
  opened,
  PlainConnectStore,
} from "./connect-stores.test.support.ts";
import { expressSession } from "./express-session.test.support.ts";
import { connectStore } from "./listing-connect-store.ts";

const VALUES = {
  user: "ada",
  cart: { items: [{ sku: "a-1", n: 2 }], total: 3.5 },
  $set: { $t: "Date", v: 0 },
  at: new Date(1_700_000_000_123),
  seen: new Map([["a", new Date(5)]]),
  tags: new Set(["x"]),
  bytes: new Uint8Array([0, 255]),
  big: 12345678901234567890n,
  none: undefined,
  nan: Number.NaN,
  cookie: "our own attribute of this name",
  save: "no method",
  constructor: 1,
};

describe("what is stored", () => {
  test("is a session that express-session takes: its cookie, and attributes as JSON makes them", async () => {
    const { clock, store, blob } = opened();
    await store.create(given(clock, VALUES));
    const { [FIELD]: field, ...session } = blob();
    expect(field).toBeDefined();
    expect(session).toEqual({
      cookie: {
        originalMaxAge: 10 * MINUTE,
        expires: new Date(clock.nowMs() + 10 * MINUTE).toISOString(),
        httpOnly: true,
        path: "/",
      },
      ...JSON.parse(
        JSON.stringify({
          ...VALUES,
          big: undefined,
          cookie: undefined,
          save: undefined,
          constructor: undefined,
        }),
      ),
    });
    const theirs = new expressSession.Store().createSession({ sessionID: KEY }, blob());
    expect(theirs.cookie.expires).toEqual(new Date(clock.nowMs() + 10 * MINUTE));
    expect(theirs.user).toBe("ada");
    expect(typeof theirs.save).toBe("function");
  });

  test("gives every value back as it was, also one that another program has passed through its hands", async () => {
    const { clock, store, byExpress } = opened();
    await store.create(given(clock, VALUES));
    const before = await store.read(KEY);
    expect(decoded(before)).toEqual(VALUES);
    byExpress((session) => {
      // A store may order keys its own way.
      session.cart = Object.fromEntries(Object.entries(session.cart as object).reverse());
    });
    const after = await store.read(KEY);
    expect(decoded(after)).toEqual(VALUES);
    expect(after?.version).toEqual(before?.version);
  });

  test("is text when the codec is one that JSON cannot look into, and comes back", async () => {
    const { clock, store, blob } = opened();
    const secret = { ...given(clock, {}), attributes: new Map([["user", Buffer.from([7, 1, 2, 3])]]) };
    await store.create(secret);
    expect(Object.keys(blob())).toEqual(["cookie", FIELD]);
    expect((await store.read(KEY))?.attributes.get("user")?.value).toEqual(Buffer.from([7, 1, 2, 3]));
  });

  test("is refused when a newer release wrote it, or somebody spoilt our field", async () => {
    for (const field of [{ v: 2 }, { v: 1 }, { v: 1, packed: "AAAA", at: [1, 2, 3, 4], json: [] }]) {
      const { store, byExpress } = opened();
      byExpress((session) => {
        session[FIELD] = field;
      });
      await expect(store.read(KEY)).rejects.toMatchObject({ code: "STORED_DATA_UNREADABLE" });
    }
  });
});

describe("a session of express-session", () => {
  test("is read: attributes, deadline, and a version that stays while it does", async () => {
    const { clock, store, byExpress } = opened();
    byExpress((session) => Object.assign(session, { user: "ada", at: new Date(5), __lastAccess: 1 }));
    const record = await store.read(KEY);
    expect(decoded(record)).toEqual({ user: "ada", at: new Date(5).toISOString() });
    expect(record?.expiresAtMs).toBe(clock.nowMs() + 30 * MINUTE);
    expect(record?.principal).toBeNull();
    clock.advance(1_000);
    expect((await store.read(KEY))?.version).toEqual(record?.version);
    byExpress((session) => {
      session.user = "bob";
    });
    expect((await store.read(KEY))?.version).not.toEqual(record?.version);
  });

  test("is changed: its cookie keeps everything but the deadline, and express-session sees the change", async () => {
    const { clock, store, byExpress, blob } = opened();
    byExpress((session) => Object.assign(session, { user: "ada", left: 1 }));
    const version = (await store.read(KEY))!.attributes.get("user")!.version;
    const result = await store.apply(KEY, {
      expect: new Map([["user", version]]),
      set: encoded({ user: "bob", at: new Date(5) }),
      delete: ["left"],
      expiresAtMs: clock.nowMs() + 40 * MINUTE,
    });
    expect(result.status).toBe("applied");
    const { [FIELD]: _, ...session } = blob();
    const expires = new Date(clock.nowMs() + 40 * MINUTE).toISOString();
    expect(session).toEqual({
      cookie: { ...cookie(clock), expires },
      user: "bob",
      at: new Date(5).toISOString(),
    });
    expect(decoded(await store.read(KEY))).toEqual({ user: "bob", at: new Date(5) });
  });

  test("that ends with the browser keeps a cookie without deadline", async () => {
    const { clock, store, byExpress, blob } = opened();
    byExpress((session) => {
      session.cookie = { originalMaxAge: null, expires: null, path: "/" };
    });
    expect((await store.read(KEY))?.expiresAtMs).toBe(clock.nowMs() + 24 * 60 * MINUTE);
    expect(await store.touch(KEY, clock.nowMs() + 5 * MINUTE)).toBe(true);
    expect(blob().cookie).toEqual({ originalMaxAge: null, expires: null, path: "/" });
  });

  test("lives while its store answers it: a connect-redis that was only touched shows an old deadline", async () => {
    const clock = new FakeClock();
    const old = { ...cookie(clock), expires: new Date(clock.nowMs() - 1).toISOString() };
    const backend = new PlainConnectStore({ nowMs: () => 0 });
    backend.set(KEY, { cookie: old, user: "ada" });
    const store = connectStore(backend, { clock, onDiagnostic: () => undefined });
    expect((await store.read(KEY))?.expiresAtMs).toBe(clock.nowMs() + 30 * MINUTE);
  });

  test("is ended", async () => {
    const { store, byExpress, plain } = opened();
    byExpress((session) => Object.assign(session, { user: "ada" }));
    expect(await store.destroy(KEY)).toBe(true);
    expect(plain.texts.size).toBe(0);
  });
});

describe("what express-session changes in a session of ours", () => {
  test("is a commit of its own: set, deleted and new attributes, and what it left alone keeps its version", async () => {
    const { clock, store, byExpress } = opened();
    await store.create(given(clock, { a: 1, b: 1, c: 1, at: new Date(5) }));
    const before = (await store.read(KEY))!;
    byExpress((session) => {
      session.a = 2;
      session.at = "changed";
      session.d = 1;
      delete session.b;
    });
    const after = (await store.read(KEY))!;
    expect(decoded(after)).toEqual({ a: 2, c: 1, d: 1, at: "changed" });
    expect(after.attributes.get("c")?.version).toEqual(before.version);
    expect(after.attributes.get("a")?.version).toEqual(after.version);
    expect(after.version).not.toEqual(before.version);
    expect([...after.lineage]).toEqual([...before.lineage, [after.version.epoch, 1]]);
    const stale = { expect: new Map([["a", before.version]]), set: encoded({ a: 3 }) };
    expect((await store.apply(KEY, stale)).status).toBe("conflict");
    const fresh = { expect: new Map([["a", after.version]]), set: encoded({ a: 3 }) };
    expect((await store.apply(KEY, fresh)).status).toBe("applied");
    expect(decoded(await store.read(KEY))).toEqual({ a: 3, c: 1, d: 1, at: "changed" });
  });

  test("a deadline that it moved forward is the session's, up to the absolute one", async () => {
    const { clock, store, byExpress } = opened();
    await store.create(given(clock, {}));
    for (const [afterMs, expectedMs] of [
      [20 * MINUTE, 20 * MINUTE],
      [90 * MINUTE, 60 * MINUTE],
    ] as const) {
      byExpress((session) => {
        session.cookie.expires = new Date(clock.nowMs() + afterMs).toISOString();
      });
      expect((await store.read(KEY))?.expiresAtMs).toBe(clock.nowMs() + expectedMs);
    }
  });
});
