/** What is the memory store's own; the contract is in memory.conformance.test.ts. */
import { expect, test } from "vitest";
import { systemClock, type Timer } from "../core/clock.ts";
import { newOperationId, newSessionId, type SessionKey, sessionKeyOf } from "../core/ids.ts";
import type { NewSession } from "../core/record.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { memoryStore } from "./memory.ts";

const HOUR_MS = 3_600_000;

function given(options: { maxBytes?: number; sweepIntervalMs?: number } = {}) {
  const clock = new FakeClock();
  const store = memoryStore({ clock, ...options });
  const key = (): SessionKey => sessionKeyOf(newSessionId(clock));
  const session = (bytes = 10, more: Partial<NewSession> = {}): NewSession => ({
    key: key(),
    attributes: new Map([["bulk", Buffer.alloc(bytes, 1)]]),
    expiresAtMs: clock.nowMs() + 60_000,
    absoluteExpiresAtMs: clock.nowMs() + HOUR_MS,
    ...more,
  });
  /** Creates until the store is full. */
  const fill = async () => {
    const keys: SessionKey[] = [];
    for (;;) {
      const next = session(1_000);
      try {
        await store.create(next);
      } catch (error) {
        expect(error).toMatchObject({ code: "STORE_FULL" });
        return keys;
      }
      keys.push(next.key);
    }
  };
  return { clock, store, key, session, fill };
}

test("the sweep frees what has expired without anybody looking, in slices, and never keeps a process alive", async () => {
  const { clock, store, session } = given();
  for (let made = 0; made < 5_000; made++) await store.create(session());
  expect(store.stats()).toMatchObject({ sessions: 5_000, expired: 0 });
  clock.advance(59_999);
  expect(store.stats().sessions).toBe(5_000);
  let slices = 0;
  for (let left = 5_000; left > 0; slices++) {
    clock.advance(1);
    const { sessions } = store.stats();
    expect(left - sessions).toBeLessThan(2_100);
    left = sessions;
    expect(slices).toBeLessThan(2_000);
  }
  expect(store.stats()).toMatchObject({
    sessions: 0,
    sessionBytes: 0,
    expired: 5_000,
    ended: 0,
    tombstones: 0,
  });
  await store.close();
  expect(clock.pendingTimers).toBe(0);

  const keepAlives: unknown[] = [];
  const watched = {
    ...systemClock,
    setTimer(callback: () => void, delayMs: number, keepAlive?: "keep-alive"): Timer {
      keepAlives.push(keepAlive);
      return systemClock.setTimer(callback, delayMs, keepAlive);
    },
  };
  await memoryStore({ clock: watched }).close();
  expect(keepAlives).toEqual([undefined]);
});

test("everything counted is given back: bytes are 0 when the last tombstone is over", async () => {
  const { clock, store, key, session } = given({ sweepIntervalMs: 60_000 });
  for (let made = 0; made < 200; made++) {
    const principal = { principal: `user-${made % 7}`, ageMs: 0 };
    const one = session(100, { principal });
    await store.create(one, { operationId: newOperationId(clock) });
    const set = new Map([["more", Buffer.alloc(made)]]);
    await store.apply(one.key, { set, principal: { principal: "ada", ageMs: 0 } });
    if (made % 3 === 0) await store.destroy(one.key);
    if (made % 5 === 0) await store.supersede(one.key, { successor: key() });
  }
  const { bytes, sessionBytes, operationBytes, tombstoneBytes } = store.stats();
  expect(bytes).toBe(sessionBytes + operationBytes + tombstoneBytes);
  await store.endAll("ada");
  expect(store.stats()).toMatchObject({ sessions: 0, sessionBytes: 0 });
  expect(store.stats().tombstones).toBeGreaterThanOrEqual(200);
  clock.advance(14 * HOUR_MS);
  expect(store.stats()).toMatchObject({ tombstones: 0, tombstoneBytes: 0, operations: 0, bytes: 0 });
  await store.close();
});

test("a full store makes room from what has expired before it refuses", async () => {
  const { clock, store, session, fill } = given({ maxBytes: 200_000, sweepIntervalMs: 1e9 });
  const keys = await fill();
  expect(keys.length).toBeGreaterThan(50);
  expect(store.stats()).toMatchObject({ sessions: keys.length, refused: 1, expired: 0 });
  expect(store.stats().bytes).toBeLessThanOrEqual(200_000);
  clock.advance(60_000);
  expect(await store.create(session())).toMatchObject({ status: "created" });
  expect(store.stats()).toMatchObject({ sessions: 1, expired: keys.length });
});

test("ending unknown keys stops before tombstones crowd out sessions, and says so; real sessions still end", async () => {
  const { clock, store, key, fill } = given({ maxBytes: 400_000, sweepIntervalMs: 60_000 });
  const keys = await fill();
  let remembered = 0;
  let refusal: unknown;
  while (refusal === undefined && remembered < 100_000) {
    await store.destroy(key()).then(
      () => remembered++,
      (error: unknown) => {
        refusal = error;
      },
    );
  }
  expect(refusal).toMatchObject({ code: "STORE_FULL" });
  expect(remembered).toBeGreaterThan(200);
  expect(store.stats()).toMatchObject({ tombstones: remembered, tombstonesRefused: 1 });
  const before = store.stats().bytes;
  for (const each of keys) expect(await store.destroy(each)).toBe(true);
  expect(store.stats().bytes).toBeLessThan(before);
  // None was dropped to make room.
  expect(store.stats().tombstones).toBe(remembered + keys.length);
  clock.advance(14 * HOUR_MS);
  expect(store.stats().tombstones).toBe(0);
});

test("a write of equal size is taken when full, even as its packed form grows with its counters", async () => {
  const { store, fill } = given({ maxBytes: 200_000 });
  const [key] = await fill();
  for (let round = 0; round < 300; round++) {
    const set = new Map([["bulk", Buffer.alloc(1_000, round)]]);
    expect(await store.apply(key!, { set })).toMatchObject({ status: "applied" });
  }
  expect(store.stats().refused).toBe(1);
});

test("a tombstone is kept for the absolute deadline and an hour, of an unknown key for 13 hours", async () => {
  const { clock, store, key, session } = given({ sweepIntervalMs: 60_000 });
  const known = session();
  await store.create(known);
  await store.destroy(known.key);
  const unknown = key();
  await store.destroy(unknown);
  const again = (at: SessionKey) => store.create(session(10, { key: at }));
  clock.advance(2 * HOUR_MS - 1);
  expect(await again(known.key)).toEqual({ status: "taken" });
  clock.advance(2_001);
  expect(await again(known.key)).toMatchObject({ status: "created" });
  clock.advance(11 * HOUR_MS - 2_001);
  expect(await again(unknown)).toEqual({ status: "taken" });
  clock.advance(2_001);
  expect(await again(unknown)).toMatchObject({ status: "created" });
});

test("a listener that throws loses its lease, and others are told", async () => {
  const { store, session } = given();
  const told: SessionKey[] = [];
  const broken = await store.watch({
    invalidated() {
      throw new Error("a bug in somebody's cache");
    },
  });
  const sound = await store.watch({ invalidated: (keys) => told.push(...(keys as SessionKey[])) });
  const one = session();
  expect(broken.leaseUntilMs()).toBe(Number.POSITIVE_INFINITY);
  await store.create(one);
  expect(broken.leaseUntilMs()).toBe(0);
  expect(sound.leaseUntilMs()).toBe(Number.POSITIVE_INFINITY);
  expect(told).toEqual([one.key]);
  expect(store.stats().watches).toBe(1);
  await store.close();
  expect(sound.leaseUntilMs()).toBe(0);
});

test("what a caller gets wrong is refused by name: options, keys, deadlines, a shared operation id", async () => {
  const { clock, store, key, session } = given();
  const wrong = { code: "INVALID_OPTION" };
  for (const maxBytes of [0, -1, Number.NaN]) expect(() => memoryStore({ maxBytes })).toThrow(/maxBytes/);
  await expect(store.create(session(1, { key: "short" as SessionKey }))).rejects.toMatchObject(wrong);
  await expect(store.destroy("../../etc" as SessionKey)).rejects.toMatchObject(wrong);
  expect(await store.read("nothing" as SessionKey)).toBe(null);
  await expect(store.create(session(1, { expiresAtMs: Number.NaN }))).rejects.toMatchObject(wrong);
  await expect(store.create(session(1, { absoluteExpiresAtMs: Infinity }))).rejects.toMatchObject(wrong);
  await expect(store.touch(key(), Number.NaN)).rejects.toMatchObject(wrong);
  const one = session();
  await store.create(one);
  await expect(store.supersede(one.key, { successor: one.key })).rejects.toMatchObject(wrong);
  await expect(store.list({ cursor: "forged" })).rejects.toMatchObject(wrong);
  const operationId = newOperationId(clock);
  await store.apply(one.key, {}, { operationId });
  await expect(store.touch(one.key, 0, { operationId })).rejects.toMatchObject(wrong);
  await expect(store.apply(key(), {}, { operationId })).rejects.toMatchObject(wrong);
});

test("a login of unknown or immense age is refused, never waved through", async () => {
  const { store, session } = given();
  await store.endAll("ada");
  for (const ageMs of [Number.NaN, Number.POSITIVE_INFINITY, 14 * HOUR_MS]) {
    const login = session(1, { principal: { principal: "ada", ageMs } });
    expect(await store.create(login)).toEqual({ status: "gone" });
  }
});

test("a chain of renewals of any length ends with its last id", async () => {
  const { store, key, session } = given();
  const first = session();
  await store.create(first);
  let last = first.key;
  for (let renewals = 0; renewals < 20_000; renewals++) {
    const successor = key();
    await store.supersede(last, { successor });
    await store.create(session(1, { key: successor }));
    last = successor;
  }
  await store.destroy(last);
  expect(await store.read(first.key)).toBe(null);
  expect(store.stats().sessions).toBe(0);
});

test("no message of a refusal holds a key or a value", async () => {
  const { store, session, fill } = given({ maxBytes: 50_000 });
  const keys = await fill();
  const secret = session(1, { attributes: new Map([["name-x", Buffer.alloc(60_000, "secret-y")]]) });
  const messages = await Promise.all(
    [store.create(secret), store.apply(keys[0]!, { set: secret.attributes }), store.list({ limit: 0 })].map(
      (call) => call.catch((error: Error) => error.message),
    ),
  );
  expect(messages.every((message) => typeof message === "string")).toBe(true);
  for (const part of ["secret-y", "name-x", secret.key, keys[0]!]) {
    expect(messages.some((message) => String(message).includes(part))).toBe(false);
  }
});

test("a renewed id keeps its own grace, whether or not the sweep finds the id it leads to over", async () => {
  const { clock, store, session } = given();
  const first = session();
  const second = session(10, { expiresAtMs: clock.nowMs() + 5_000 });
  await store.create(first);
  await store.supersede(first.key, { successor: second.key });
  await store.create(second);
  await store.supersede(second.key, { successor: sessionKeyOf(newSessionId(clock)) });
  clock.advance(6_000);
  expect(await store.read(second.key)).toBeNull();
  expect(await store.read(first.key)).toMatchObject({ state: "superseded" });
  clock.advance(4_000);
  expect(await store.read(first.key)).toBeNull();
});

test("readNow() answers what read() does: live, changed, superseded, ended, expired, unknown, closed", async () => {
  const { clock, store, key, session } = given();
  const alike = async (of: SessionKey) => {
    const record = store.readNow(of);
    const read = await store.read(of);
    if (record === null || read === null) {
      expect(record).toBe(read);
      return;
    }
    const { birth, lineage, stamp } = record;
    expect({ ...record, birth, lineage, stamp, attributes: new Map(record.attributes) }).toEqual(read);
  };
  const live = session(10, { principal: { principal: "ada", ageMs: 0 } });
  await store.create(live);
  await alike(live.key);
  const before = store.readNow(live.key)!;
  await store.apply(live.key, { set: new Map([["name", Buffer.from("new")]]), delete: ["bulk"] });
  await alike(live.key);
  // What somebody is looking at does not change under them.
  expect(before.attributes.has("bulk")).toBe(true);
  clock.advance(1_000);
  await store.touch(live.key, clock.nowMs() + 60_000);
  await alike(live.key);
  const successor = key();
  await store.supersede(live.key, { successor });
  await alike(live.key);
  expect(store.readNow(live.key)).toMatchObject({ state: "superseded" });
  await store.destroy(live.key);
  await alike(live.key);
  const expiring = session();
  await store.create(expiring);
  clock.advance(60_000);
  await alike(expiring.key);
  await alike(key());
  await store.close();
  expect(() => store.readNow(key())).toThrow(expect.objectContaining({ code: "STORE_CLOSED" }));
});
