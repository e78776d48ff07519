import { expect, test } from "vitest";
import { delay, systemClock } from "./clock.ts";

test("monotonic time never goes back", () => {
  let last = systemClock.monotonicMs();
  for (let at = 0; at < 10_000; at++) {
    const next = systemClock.monotonicMs();
    expect(next).toBeGreaterThanOrEqual(last);
    last = next;
  }
});

test("wall time is in milliseconds since 1970", () => {
  expect(Math.abs(systemClock.nowMs() - Date.now())).toBeLessThan(1_000);
});

test("random bytes are as many as asked for, never change after, and never overlap", () => {
  const drawn: { bytes: Buffer; copy: string }[] = [];
  for (const count of [0, 1, 32, 18, 8, 4_095, 4_096, 4_097, 10_000]) {
    for (let time = 0; time < 20; time++) {
      const bytes = systemClock.randomBytes(count);
      expect(bytes).toHaveLength(count);
      drawn.push({ bytes, copy: bytes.toString("hex") });
    }
  }
  for (const { bytes, copy } of drawn) expect(bytes.toString("hex")).toBe(copy);
  const long = drawn.filter(({ bytes }) => bytes.length >= 8).map(({ copy }) => copy);
  expect(new Set(long).size).toBe(long.length);
  const places = drawn
    .map(({ bytes }) => ({
      memory: bytes.buffer,
      begin: bytes.byteOffset,
      end: bytes.byteOffset + bytes.length,
    }))
    .filter(({ begin, end }) => end > begin);
  for (const [at, a] of places.entries()) {
    for (const b of places.slice(at + 1)) {
      expect(a.memory === b.memory && a.begin < b.end && b.begin < a.end).toBe(false);
    }
  }
});

test("a timer runs once and not before its time; a cancelled one never", async () => {
  const startedAtMs = systemClock.monotonicMs();
  let runs = 0;
  let cancelledRuns = 0;
  const cancelled = systemClock.setTimer(() => cancelledRuns++, 1);
  cancelled.cancel();
  cancelled.cancel();
  await new Promise<void>((resolve) => {
    systemClock.setTimer(
      () => {
        runs++;
        resolve();
      },
      20,
      "keep-alive",
    );
  });
  // Timers count whole milliseconds from the start of the loop's turn.
  expect(systemClock.monotonicMs() - startedAtMs).toBeGreaterThanOrEqual(18);
  await delay(systemClock, 5);
  expect([runs, cancelledRuns]).toEqual([1, 0]);
});

test("a timer keeps the process alive only when it says so", () => {
  // Node lists the timers that keep a process alive, and only those.
  const keeping = () => process.getActiveResourcesInfo().filter((each) => each === "Timeout").length;
  const before = keeping();
  const quiet = systemClock.setTimer(() => {}, 60_000);
  expect(keeping()).toBe(before);
  const loud = systemClock.setTimer(() => {}, 60_000, "keep-alive");
  expect(keeping()).toBe(before + 1);
  loud.cancel();
  quiet.cancel();
  expect(keeping()).toBe(before);
});
