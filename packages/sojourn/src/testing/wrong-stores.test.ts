/** The suite is tested too: each wrong store must fail, in the case that is there for it, and a right one must pass. */
import { AssertionError } from "node:assert";
import { describe, expect, test } from "vitest";
import { isSessionError } from "../core/errors.ts";
import { memoryStore } from "../store/memory.ts";
import type { SessionStore } from "../store/store.ts";
import { FakeClock } from "./fake-clock.ts";
import { MISTAKES, type Mistake } from "./mistakes.test.support.ts";
import {
  type ConformanceHarness,
  type OpenedStore,
  registerConformance,
  storeConformance,
} from "./store-conformance.ts";
import { WrongStore } from "./wrong-store.test.support.ts";

function harness(mistake?: Mistake): ConformanceHarness {
  const open = async (maxBytes?: number): Promise<OpenedStore> => {
    const clock = new FakeClock();
    const store = new WrongStore({
      clock,
      ...(mistake ? { mistake } : {}),
      ...(maxBytes ? { maxBytes } : {}),
    });
    return {
      store,
      clock: {
        nowMs: () => clock.nowMs(),
        advance: async (ms) => clock.advance(ms),
        stepWall: (ms) => clock.stepWall(ms),
      },
      close: async () => undefined,
    };
  };
  return {
    name: mistake ?? "plain",
    open: () => open(),
    openSmall: () => open(200_000),
    pagingSessions: 3_000,
    hangMs: 200,
  };
}

registerConformance({ test, describe }, harness());

describe("a wrong store fails the suite:", () => {
  for (const [mistake, caught] of Object.entries(MISTAKES)) {
    test(mistake, async () => {
      const found = storeConformance(harness(mistake as Mistake)).find(({ name }) => name === caught);
      expect(found, `there is no case "${caught}"`).toBeDefined();
      // An assertion, or the store's own refusal where the case needs an answer: nothing else is being caught.
      const failure: unknown = await found?.run().catch((error: unknown) => error);
      expect(failure instanceof AssertionError || isSessionError(failure), String(failure)).toBe(true);
    });
  }
});

test("a second handle that serves its own copies fails the suite", async () => {
  const stale = (store: SessionStore): SessionStore => {
    const copies = new Map<string, ReturnType<SessionStore["read"]>>();
    return new Proxy(store, {
      get(target, name) {
        if (name === "read") {
          return (key: Parameters<SessionStore["read"]>[0]) => {
            const copy = copies.get(key) ?? target.read(key);
            copies.set(key, copy);
            return copy;
          };
        }
        const member: unknown = Reflect.get(target, name);
        return typeof member === "function" ? member.bind(target) : member;
      },
    });
  };
  const clock = new FakeClock();
  const store = memoryStore({ clock });
  const open = async () => ({
    store,
    second: stale(store),
    clock: { nowMs: () => clock.nowMs(), advance: async (ms: number) => clock.advance(ms) },
    close: () => store.close(),
  });
  const found = storeConformance({ name: "stale", open }).find(
    ({ name }) => name === "what one handle wrote the other reads at once",
  );
  await expect(found?.run()).rejects.toBeInstanceOf(AssertionError);
});

test("what a harness lacks or skips shows with its reason, and a misspelt case is refused", () => {
  const name = "read() of an unknown key is null";
  const cases = storeConformance({
    ...harness(),
    lacks: ["watchable"],
    skip: [{ case: name, reason: "the backend is down on Mondays" }],
  });
  expect(cases.find((each) => each.name === name)?.skipped).toBe("the backend is down on Mondays");
  expect(cases.filter(({ skipped }) => skipped === "the store is not watchable").length).toBeGreaterThan(5);
  expect(() => storeConformance({ ...harness(), skip: [{ case: "reed", reason: "" }] })).toThrow(RangeError);
});

test("a store that is not enumerable, and whose harness does not say so, fails", async () => {
  const bare = { ...harness() };
  const open = async () => {
    const opened = await bare.open();
    const { store } = opened;
    const only: SessionStore = {
      name: store.name,
      read: (key) => store.read(key),
      create: (session) => store.create(session),
      apply: (key, delta) => store.apply(key, delta),
      touch: (key, expiresAtMs) => store.touch(key, expiresAtMs),
      supersede: (key, options) => store.supersede(key, options),
      destroy: (key) => store.destroy(key),
      close: () => store.close(),
    };
    return { ...opened, store: only };
  };
  const listed = storeConformance({ ...bare, open }).find(({ name }) => name.startsWith("list() gives"));
  await expect(listed?.run()).rejects.toThrow(/lacks/);
});
