import fc from "fast-check";
import { expect, test } from "vitest";
import type { OperationId } from "../core/ids.ts";
import { OPERATION_BYTES, OperationLog } from "./operation-log.ts";

const KEPT_MS = 10_000;
const given = () => new OperationLog(KEPT_MS, 0, () => 0);

test("an answer is kept for at least the period, whatever else is written when", () => {
  const writes = fc.array(fc.integer({ min: 0, max: 12_000 }), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(writes, (pausesMs) => {
      const log = given();
      const answeredAtMs: number[] = [];
      let nowMs = 0;
      for (const [index, pauseMs] of pausesMs.entries()) {
        nowMs += pauseMs;
        log.once(`operation-${index}` as OperationId, "apply", "key", nowMs, () => index);
        answeredAtMs.push(nowMs);
        for (const [earlier, atMs] of answeredAtMs.entries()) {
          if (nowMs - atMs > KEPT_MS) continue;
          const id = `operation-${earlier}` as OperationId;
          expect(log.once(id, "apply", "key", nowMs, () => "ran again")).toBe(earlier);
        }
      }
    }),
  );
});

test("what is over is forgotten, and its bytes are given back", () => {
  const log = given();
  for (let index = 0; index < 100; index++)
    log.once(`${index}` as OperationId, "touch", "key", 0, () => true);
  expect(log.bytes).toBe(100 * OPERATION_BYTES);
  log.rotate(KEPT_MS);
  expect(log.size).toBe(100);
  log.rotate(KEPT_MS + 1);
  expect(log.size).toBe(100);
  log.rotate(2 * KEPT_MS + 2);
  expect([log.size, log.bytes]).toEqual([0, 0]);
});

test("an id used for something else is refused loudly, and a call that throws is not remembered", () => {
  const log = given();
  const id = "one" as OperationId;
  expect(() =>
    log.once(id, "apply", "a", 0, () => {
      throw new Error("full");
    }),
  ).toThrow("full");
  expect(log.once(id, "apply", "a", 0, () => 1)).toBe(1);
  expect(() => log.once(id, "touch", "a", 0, () => true)).toThrow(/used for apply/);
  expect(() => log.once(id, "apply", "b", 0, () => 2)).toThrow(/used for another apply/);
});
