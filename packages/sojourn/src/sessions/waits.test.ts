import { expect, test } from "vitest";
import { FakeClock } from "../testing/fake-clock.ts";
import { Waits } from "./waits.ts";

function given() {
  const clock = new FakeClock();
  const waits = new Waits(clock);
  const over: string[] = [];
  const wait = (name: string, ms: number) => {
    const nowMs = clock.monotonicMs();
    const one = { deadlineMs: nowMs + ms, overdue: () => void over.push(name) };
    waits.add(one, nowMs);
    return one;
  };
  return { clock, waits, over, wait };
}

test("each wait ends at its own moment, in whatever order they began", () => {
  const { clock, over, wait } = given();
  wait("500", 500);
  wait("20", 20);
  wait("120", 120);
  clock.advance(19);
  expect(over).toEqual([]);
  clock.advance(1);
  expect(over).toEqual(["20"]);
  clock.advance(99);
  expect(over).toEqual(["20"]);
  clock.advance(1);
  wait("30", 30);
  clock.advance(30);
  expect(over).toEqual(["20", "120", "30"]);
  clock.advance(349);
  expect(over).toHaveLength(3);
  clock.advance(1);
  expect(over).toEqual(["20", "120", "30", "500"]);
});

test("what has ended is never overdue, and says whether it ended in time", () => {
  const { clock, waits, over, wait } = given();
  const [early, late] = [wait("early", 100), wait("late", 50)];
  expect(waits.end(early)).toBe(true);
  clock.advance(200);
  expect(over).toEqual(["late"]);
  expect([waits.end(early), waits.end(late)]).toEqual([false, false]);
});

test("a wait that begins while another ends has its whole time", () => {
  const { clock, over, wait, waits } = given();
  const nowMs = clock.monotonicMs();
  waits.add({ deadlineMs: nowMs + 10, overdue: () => void wait("second", 60) }, nowMs);
  clock.advance(69);
  expect(over).toEqual([]);
  clock.advance(1);
  expect(over).toEqual(["second"]);
});
