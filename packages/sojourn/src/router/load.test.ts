/** What the router remembers between requests: rates, moves, retry credit. */
import { expect, test } from "vitest";
import { Rate } from "./rate.ts";
import { MoveMemory } from "./relief.ts";
import { RETRY_RESERVE, RetryBudget } from "./retry-budget.ts";

test("a steady rate is found within three time constants, and fades when traffic stops", () => {
  const rate = new Rate();
  for (let second = 0; second < 30; second++) {
    for (let i = 0; i < 50; i++) rate.count();
    rate.tick(1_000);
  }
  expect(rate.perS).toBeGreaterThan(47);
  expect(rate.perS).toBeLessThanOrEqual(50);
  for (let second = 0; second < 30; second++) rate.tick(1_000);
  expect(rate.perS).toBeLessThan(3);
});

test("requests of the current second count at once, so that a burst does not all go to one server", () => {
  const rate = new Rate();
  rate.count();
  expect(rate.perS).toBeGreaterThan(0);
});

test("how often the rate is looked at does not change it", () => {
  const often = new Rate();
  const seldom = new Rate();
  for (let tick = 0; tick < 100; tick++) {
    for (let i = 0; i < 5; i++) often.count();
    often.tick(100);
  }
  for (let tick = 0; tick < 10; tick++) {
    for (let i = 0; i < 50; i++) seldom.count();
    seldom.tick(1_000);
  }
  expect(often.perS).toBeCloseTo(seldom.perS, 6);
});

test("a move is remembered for the hold time and no longer", () => {
  const moves = new MoveMemory(600_000);
  moves.remember(1, { from: "a", to: "b" }, 1_000);
  expect(moves.moveOf(1, 600_999)).toMatchObject({ from: "a", to: "b" });
  expect(moves.moveOf(1, 601_000)).toBeUndefined();
});

test("the memory of moves is bounded: when full nothing moves, and what is over makes room", () => {
  const moves = new MoveMemory(1_000, 3);
  for (let key = 0; key < 3; key++) {
    expect(moves.hasRoom(key)).toBe(true);
    moves.remember(key, { from: "a", to: "b" }, key);
  }
  expect(moves.hasRoom(999)).toBe(false);
  expect(moves.size).toBe(3);
  expect(moves.hasRoom(1_000)).toBe(true);
  expect(moves.size).toBe(2);
});

test("retries are at most a fifth of the requests once the reserve is spent", () => {
  const budget = new RetryBudget();
  let spent = 0;
  while (budget.spend()) spent++;
  expect(spent).toBe(RETRY_RESERVE);
  let retries = 0;
  for (let i = 0; i < 1_000; i++) {
    budget.earn();
    if (budget.spend()) retries++;
  }
  expect(retries).toBeGreaterThan(190);
  expect(retries).toBeLessThanOrEqual(200);
});
