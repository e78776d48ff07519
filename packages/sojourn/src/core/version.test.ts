import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FakeClock } from "../testing/fake-clock.ts";
import {
  advance,
  covers,
  type Epoch,
  formatVersion,
  includes,
  join,
  LINEAGE_EPOCHS_MAX,
  type Lineage,
  newEpoch,
  sameVersion,
} from "./version.ts";

const epoch = fc.constantFrom("a", "b", "c", "d") as fc.Arbitrary<Epoch>;
const version = fc.record({ epoch, counter: fc.integer({ min: 1, max: 6 }) });
const lineage: fc.Arbitrary<Lineage> = fc
  .uniqueArray(fc.tuple(epoch, fc.integer({ min: 1, max: 6 })), { selector: ([each]) => each })
  .map((entries) => new Map(entries));
/** As a set: the order of writing aside. */
const content = (each: Lineage) => [...each].sort();

describe("covering", () => {
  test("a copy covers exactly the writes up to its counter of their epoch", () => {
    fc.assert(
      fc.property(lineage, version, (copy, write) => {
        const highest = copy.get(write.epoch);
        expect(covers(copy, write)).toBe(highest !== undefined && highest >= write.counter);
      }),
    );
  });

  test("a copy includes another exactly when it covers every write of it", () => {
    fc.assert(
      fc.property(lineage, lineage, (a, b) => {
        const writes = [...b].flatMap(([each, counter]) =>
          Array.from({ length: counter }, (_, at) => ({ epoch: each, counter: at + 1 })),
        );
        expect(includes(a, b)).toBe(writes.every((write) => covers(a, write)));
      }),
    );
  });

  test("including is an order: of itself, both ways only when equal, and passed on", () => {
    fc.assert(
      fc.property(lineage, lineage, lineage, (a, b, c) => {
        expect(includes(a, a)).toBe(true);
        if (includes(a, b) && includes(b, a)) expect(content(a)).toEqual(content(b));
        if (includes(a, b) && includes(b, c)) expect(includes(a, c)).toBe(true);
      }),
    );
  });
});

describe("advance", () => {
  test("the lineage after a write contains the write and all before it, and the lineage before is unchanged", () => {
    fc.assert(
      fc.property(lineage, version, (before, write) => {
        const kept = content(before);
        const after = advance(before, write);
        expect(covers(after, write)).toBe(true);
        expect(includes(after, before)).toBe(true);
        expect(content(before)).toEqual(kept);
        // And nothing else.
        expect(includes(join(before, new Map([[write.epoch, write.counter]])), after)).toBe(true);
      }),
    );
  });

  test("the epoch written to last stands last, and what is pruned was written to longest ago", () => {
    const many = Array.from({ length: 12 }, (_, at) => `epoch-${at}` as Epoch);
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...many), { minLength: 1, maxLength: 60 }), (writes) => {
        let copy: Lineage = new Map();
        const counters = new Map<Epoch, number>();
        for (const each of writes) {
          const counter = (counters.get(each) ?? 0) + 1;
          counters.set(each, counter);
          copy = advance(copy, { epoch: each, counter });
        }
        const latest = [...new Set([...writes].reverse())].slice(0, LINEAGE_EPOCHS_MAX).reverse();
        expect([...copy.keys()]).toEqual(latest);
        for (const [each, counter] of copy) expect(counter).toBe(counters.get(each));
      }),
    );
  });

  test("a late write of an epoch never takes its counter back", () => {
    const copy = advance(new Map([["a" as Epoch, 5]]), { epoch: "a" as Epoch, counter: 3 });
    expect(copy.get("a" as Epoch)).toBe(5);
  });
});

describe("join", () => {
  test("a merged copy contains both sides and is contained in all that do", () => {
    fc.assert(
      fc.property(lineage, lineage, lineage, (a, b, c) => {
        const joined = join(a, b);
        expect(includes(joined, a) && includes(joined, b)).toBe(true);
        if (includes(c, a) && includes(c, b)) expect(includes(c, joined)).toBe(true);
      }),
    );
  });

  test("merging does not depend on who merges with whom first, or how often", () => {
    fc.assert(
      fc.property(lineage, lineage, lineage, (a, b, c) => {
        expect(content(join(a, b))).toEqual(content(join(b, a)));
        expect(content(join(join(a, b), c))).toEqual(content(join(a, join(b, c))));
        expect(content(join(a, a))).toEqual(content(a));
      }),
    );
  });
});

test("versions are the same only with the same epoch and counter; absent is the same as absent", () => {
  const optional = fc.option(version, { nil: undefined });
  fc.assert(
    fc.property(optional, optional, (a, b) => {
      expect(sameVersion(a, b)).toBe(JSON.stringify(a) === JSON.stringify(b));
    }),
  );
  expect(sameVersion(null, undefined)).toBe(true);
});

test("the text form tells versions apart", () => {
  expect(formatVersion({ epoch: "0123456789abcdef" as Epoch, counter: 12 })).toBe("0123456789abcdef.12");
});

test("an epoch is 16 hex characters of 64 random bits", () => {
  const clock = new FakeClock();
  const epochs = Array.from({ length: 1_000 }, () => newEpoch(clock));
  expect(new Set(epochs).size).toBe(1_000);
  for (const each of epochs) expect(each).toMatch(/^[0-9a-f]{16}$/);
});
