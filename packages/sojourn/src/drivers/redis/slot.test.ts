import { expect, test } from "vitest";
import { slotOf } from "./slot.ts";

test("slots are those of the cluster specification", () => {
  // CRC16 of "123456789" is 0x31c3, the specification's own check.
  expect(slotOf("123456789")).toBe(0x31c3);
  expect(slotOf("foo")).toBe(12_182);
});

test("only what stands in the first braces counts, if anything does", () => {
  expect(slotOf("sojourn:s:{foo}")).toBe(slotOf("foo"));
  expect(slotOf("sojourn:s:{foo}:f")).toBe(slotOf("foo"));
  expect(slotOf("{foo}{bar}")).toBe(slotOf("foo"));
  expect(slotOf("{}foo")).not.toBe(slotOf("foo"));
});
