import fc from "fast-check";
import { expect, test } from "vitest";
import { newSessionId, type SessionKey, sessionKeyOf } from "../core/ids.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { BUCKETS, bucketOf } from "./buckets.ts";
import { Tombstones } from "./tombstones.ts";

const clock = new FakeClock();
const keys: readonly SessionKey[] = Array.from({ length: 300 }, () => sessionKeyOf(newSessionId(clock)));

test("bucketOf() is the first 10 bits of the key, and fills all buckets evenly", () => {
  const counts = new Uint32Array(BUCKETS);
  for (let drawn = 0; drawn < 50 * BUCKETS; drawn++) {
    const key = sessionKeyOf(newSessionId(clock));
    const bucket = bucketOf(key);
    expect(bucket).toBe(Buffer.from(key, "base64url").readUInt16BE(0) >> 6);
    counts[bucket]!++;
  }
  // 50 expected in each, standard deviation 7.
  expect(Math.min(...counts)).toBeGreaterThan(10);
  expect(Math.max(...counts)).toBeLessThan(110);
});

test("a key is remembered until its moment, never less and at most a second more, for any history", () => {
  const step = fc.record({
    key: fc.integer({ min: 0, max: keys.length - 1 }),
    keptMs: fc.integer({ min: 0, max: 100_000 }),
    passMs: fc.integer({ min: 0, max: 5_000 }),
    sweep: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      let nowMs = 5_000;
      const tombstones = new Tombstones(nowMs);
      const untilMs = new Map<SessionKey, number>();
      for (const { key: index, keptMs, passMs, sweep } of steps) {
        const key = keys[index]!;
        tombstones.add(key, nowMs + keptMs);
        untilMs.set(key, Math.max(untilMs.get(key) ?? 0, nowMs + keptMs));
        nowMs += passMs;
        if (sweep) for (let bucket = 0; bucket < BUCKETS; bucket++) tombstones.sweep(bucket, nowMs);
        for (const [each, moment] of untilMs) {
          if (nowMs < moment) expect(tombstones.has(each, nowMs)).toBe(true);
          if (nowMs >= moment + 1_000) expect(tombstones.has(each, nowMs)).toBe(false);
        }
      }
      for (let bucket = 0; bucket < BUCKETS; bucket++) tombstones.sweep(bucket, nowMs + 200_000);
      expect(tombstones.size).toBe(0);
      expect(tombstones.bytes).toBe(0);
    }),
    { numRuns: 60 },
  );
});

test("a hundred thousand tombstones cost at most 64 bytes each, and none is lost", () => {
  const tombstones = new Tombstones(0);
  const many = Array.from({ length: 100_000 }, () => sessionKeyOf(newSessionId(clock)));
  for (const key of many) tombstones.add(key, 1_000_000);
  expect(tombstones.size).toBe(many.length);
  expect(tombstones.bytes / many.length).toBeLessThan(64);
  expect(many.every((key) => tombstones.has(key, 999_999))).toBe(true);
  expect(keys.some((key) => tombstones.has(key, 0))).toBe(false);
});
