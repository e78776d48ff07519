import fc from "fast-check";
import { expect, test } from "vitest";
import { Bag } from "./bag.ts";

test("a bag holds what a set would hold, whatever comes and goes", () => {
  const step = fc.record({ item: fc.nat(7), add: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const items = Array.from({ length: 8 }, (_, name) => ({ name, bagIndex: -1 }));
      const bag = new Bag<(typeof items)[number]>();
      const set = new Set<(typeof items)[number]>();
      for (const { item, add } of steps) {
        const each = items[item]!;
        if (add) bag.add(each);
        else bag.delete(each);
        if (add) set.add(each);
        else set.delete(each);
        expect(bag.size).toBe(set.size);
        expect(new Set(bag)).toEqual(set);
      }
    }),
  );
});

test("a bag may be emptied while it is gone through", () => {
  const bag = new Bag<{ bagIndex: number }>();
  for (let i = 0; i < 5; i++) bag.add({ bagIndex: -1 });
  let seen = 0;
  for (const item of bag) {
    bag.delete(item);
    seen++;
  }
  expect([seen, bag.size]).toEqual([5, 0]);
});
