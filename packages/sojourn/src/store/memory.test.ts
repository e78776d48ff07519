import { expect, test } from "vitest";
import type { SessionKey } from "../core/ids.ts";
import { newSessionId, sessionKeyOf } from "../core/ids.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { memoryStore } from "./memory.ts";

function given(options: { maxBytes?: number } = {}) {
  const clock = new FakeClock();
  const store = memoryStore({ clock, ...options });
  const key = (): SessionKey => sessionKeyOf(newSessionId(clock));
  const session = (attributes: Record<string, string> = {}, at = key()) => ({
    key: at,
    attributes: new Map(Object.entries(attributes).map(([name, value]) => [name, Buffer.from(value)])),
    expiresAtMs: clock.nowMs() + 60_000,
    absoluteExpiresAtMs: clock.nowMs() + 3_600_000,
  });
  return { clock, store, key, session };
}

test("what was created is read, changed and ended", async () => {
  const { store, session } = given();
  const created = session({ a: "1" });
  const { key } = created;
  expect(await store.create(created)).toMatchObject({ status: "created" });
  expect(await store.apply(key, { set: new Map([["b", Buffer.from("2")]]) })).toMatchObject({
    status: "applied",
  });
  const record = await store.read(key);
  expect([...(record?.attributes ?? [])].map(([name, { value }]) => [name, String(value)])).toEqual([
    ["a", "1"],
    ["b", "2"],
  ]);
  expect(await store.destroy(key)).toBe(true);
  expect(await store.read(key)).toBe(null);
  expect(await store.create(created)).toEqual({ status: "taken" });
});
