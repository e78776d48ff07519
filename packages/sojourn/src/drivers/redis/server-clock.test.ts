import { expect, test } from "vitest";
import { ServerClock } from "./server-clock.ts";

/** Our wall clock is an hour behind the server's. */
const HOUR_MS = 3_600_000;
const far = () => new ServerClock(() => -HOUR_MS);

test("a deadline is never ahead of the server's clock, however slow the replies were", () => {
  const clock = far();
  // The server's clock shows our monotonic one and 1,000; replies take 3 to 40 ms, on either way.
  const ways = [
    [20, 20],
    [1, 39],
    [39, 1],
    [2, 1],
    [10, 5],
  ] as const;
  let nowMs = 50_000;
  for (const [there, back] of ways) {
    clock.observe(nowMs, nowMs + there + back, Math.floor(nowMs + there + 1_000));
    expect(clock.deadline(nowMs)).toBeLessThanOrEqual(nowMs + 1_000);
    nowMs += 300;
  }
  // The quickest way back decides.
  expect(clock.deadline(nowMs)).toBeGreaterThanOrEqual(nowMs + 1_000 - 3);
});

test("a moment reads the same after any number of replies that contradict nothing", () => {
  const clock = far();
  clock.observe(1_000, 1_004, 2_002);
  const firstMs = clock.toMonotonic(9_000);
  for (let nowMs = 1_100; nowMs < 3_000; nowMs += 37) clock.observe(nowMs, nowMs + 2, nowMs + 1_001);
  expect(clock.toMonotonic(9_000)).toBe(firstMs);
  expect(clock.toServer(firstMs)).toBe(9_000);
});

test("a server's clock that was set is believed at once, in both directions", () => {
  for (const stepMs of [60_000, -60_000]) {
    const clock = far();
    clock.observe(1_000, 1_002, 2_001);
    clock.observe(1_100, 1_102, 2_101 + stepMs);
    expect(Math.abs(clock.toServer(1_101) - (2_101 + stepMs))).toBeLessThanOrEqual(5);
    expect(clock.deadline(1_101)).toBeLessThanOrEqual(2_101 + stepMs);
  }
});

test("where our wall clock may be the server's, it is taken for it: each process shows the same time", () => {
  const slow = new ServerClock(() => 1_000);
  slow.observe(5_000, 5_030, 6_001);
  const quick = new ServerClock(() => 1_000);
  quick.observe(5_000, 5_001, 6_000);
  expect(slow.toMonotonic(9_000)).toBe(quick.toMonotonic(9_000));
});
