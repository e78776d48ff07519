import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FakeClock } from "../testing/fake-clock.ts";
import { compareStamps, type Stamp, StampClock } from "./stamp.ts";

const stamp: fc.Arbitrary<Stamp> = fc.record({
  physicalMs: fc.integer({ min: 0, max: 3 }),
  logical: fc.integer({ min: 0, max: 2 }),
  member: fc.constantFrom("a", "b", "B"),
});

describe("stamps are totally ordered", () => {
  test("of two stamps one is older unless they are equal, and the order is passed on", () => {
    fc.assert(
      fc.property(stamp, stamp, stamp, (a, b, c) => {
        expect(Math.sign(compareStamps(a, b))).toBe(0 - Math.sign(compareStamps(b, a)));
        expect(compareStamps(a, b) === 0).toBe(JSON.stringify(a) === JSON.stringify(b));
        if (compareStamps(a, b) < 0 && compareStamps(b, c) < 0) expect(compareStamps(a, c)).toBeLessThan(0);
      }),
      { numRuns: 1_000 },
    );
  });

  test("time decides before the logical part, and that before the member", () => {
    const ordered: Stamp[] = [
      { physicalMs: 1, logical: 9, member: "z" },
      { physicalMs: 2, logical: 0, member: "z" },
      { physicalMs: 2, logical: 1, member: "a" },
      { physicalMs: 2, logical: 1, member: "b" },
    ];
    expect([...ordered].reverse().sort(compareStamps)).toEqual(ordered);
  });
});

describe("StampClock", () => {
  const step = fc.oneof(
    fc.record({ passMs: fc.integer({ min: 0, max: 5 }) }),
    fc.record({ stepWallMs: fc.integer({ min: -1e10, max: 1e10 }) }),
    fc.record({
      seen: fc.record({ aheadMs: fc.integer({ min: -10, max: 10 }), logical: fc.nat({ max: 3 }) }),
    }),
  );

  test("each stamp is greater than all before and than the greatest of the record, whatever the wall clock does", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const clock = new FakeClock();
        const stamps = new StampClock(clock, "m");
        let last = stamps.next();
        for (const each of steps) {
          if ("passMs" in each) clock.advance(each.passMs);
          if ("stepWallMs" in each) clock.stepWall(each.stepWallMs);
          const seen: Stamp | undefined =
            "seen" in each
              ? { physicalMs: last.physicalMs + each.seen.aheadMs, logical: each.seen.logical, member: "zz" }
              : undefined;
          const next = stamps.next(seen);
          expect(compareStamps(next, last)).toBeGreaterThan(0);
          if (seen) expect(compareStamps(next, seen)).toBeGreaterThan(0);
          expect(next.member).toBe("m");
          last = next;
        }
      }),
    );
  });

  test("stepping the wall clock moves no stamp: only time that passed does", () => {
    const clock = new FakeClock();
    const stamps = new StampClock(clock, "m");
    const first = stamps.next();
    clock.stepWall(-86_400_000);
    clock.advance(7);
    expect(stamps.next()).toEqual({ physicalMs: first.physicalMs + 7, logical: 0, member: "m" });
    clock.stepWall(10 * 86_400_000);
    clock.advance(7);
    expect(stamps.next()).toEqual({ physicalMs: first.physicalMs + 14, logical: 0, member: "m" });
  });

  test("within one millisecond the logical part counts", () => {
    const stamps = new StampClock(new FakeClock(), "m");
    expect([stamps.next(), stamps.next(), stamps.next()].map(({ logical }) => logical)).toEqual([0, 1, 2]);
  });
});
