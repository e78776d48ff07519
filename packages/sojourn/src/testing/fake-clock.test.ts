import { expect, test } from "vitest";
import { FakeClock } from "./fake-clock.ts";

test("timers run in order of their moment, then of their setting, each at its own moment", () => {
  const clock = new FakeClock();
  const start = clock.monotonicMs();
  const ran: [string, number][] = [];
  const note = (name: string) => () => ran.push([name, clock.monotonicMs() - start]);
  clock.setTimer(note("b"), 20);
  clock.setTimer(note("a"), 10);
  clock.setTimer(note("c"), 20);
  clock.setTimer(note("late"), 31);
  clock.advance(30);
  expect(ran).toEqual([
    ["a", 10],
    ["b", 20],
    ["c", 20],
  ]);
  expect(clock.monotonicMs() - start).toBe(30);
  expect(clock.pendingTimers).toBe(1);
});

test("a timer set by a timer runs within the same advance when it is due", () => {
  const clock = new FakeClock();
  let ran = 0;
  const again = () => {
    ran++;
    clock.setTimer(again, 10);
  };
  clock.setTimer(again, 10);
  clock.advance(100);
  expect(ran).toBe(10);
});

test("a cancelled timer does not run, and cancelling twice is harmless", () => {
  const clock = new FakeClock();
  const timer = clock.setTimer(() => expect.unreachable(), 5);
  timer.cancel();
  timer.cancel();
  clock.advance(10);
  expect(clock.pendingTimers).toBe(0);
});

test("advanceAsync lets promises continue between timers", async () => {
  const clock = new FakeClock();
  const ran: string[] = [];
  const pause = (ms: number) => new Promise<void>((resolve) => clock.setTimer(resolve, ms));
  const work = async () => {
    await pause(10);
    ran.push("first");
    await pause(10);
    ran.push("second");
  };
  void work();
  await clock.advanceAsync(20);
  expect(ran).toEqual(["first", "second"]);
});

test("stepping the wall clock does not move the monotonic one, nor any timer", () => {
  const clock = new FakeClock();
  const [wall, monotonic] = [clock.nowMs(), clock.monotonicMs()];
  clock.setTimer(() => expect.unreachable(), 10);
  clock.stepWall(3_600_000);
  expect(clock.nowMs()).toBe(wall + 3_600_000);
  expect(clock.monotonicMs()).toBe(monotonic);
  clock.advance(9);
});

test("equal seeds draw equal bytes, other seeds others", () => {
  const draw = (seed: number) => new FakeClock({ seed }).randomBytes(32).toString("hex");
  expect(draw(7)).toBe(draw(7));
  expect(new Set([1, 2, 3, 4, 5].map(draw)).size).toBe(5);
});
