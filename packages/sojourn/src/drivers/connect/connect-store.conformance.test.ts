/** One process keeps the whole contract; what two cannot keep is listed, and must really fail. */
import { AssertionError } from "node:assert";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { registerConformance, storeConformance } from "../../testing/store-conformance.ts";
import { fakeTimeHarness, PlainConnectStore } from "./connect-stores.test.support.ts";
import { LOST_BETWEEN_PROCESSES } from "./known-limits.test.support.ts";
import { CONNECT_LIMITS } from "./limits.ts";

registerConformance(
  { test, describe },
  fakeTimeHarness((clock) => new PlainConnectStore(clock)),
);

const two = fakeTimeHarness((clock) => new PlainConnectStore(clock), 2);
const skip = Object.entries(LOST_BETWEEN_PROCESSES).map(([name, limit]) => ({
  case: name,
  reason: CONNECT_LIMITS[limit],
}));
registerConformance({ test, describe }, { ...two, skip });

describe("what two processes cannot keep, they do not:", () => {
  for (const { name, run } of storeConformance(two)) {
    if (!Object.hasOwn(LOST_BETWEEN_PROCESSES, name)) continue;
    test(name, async () => {
      await expect(run()).rejects.toBeInstanceOf(AssertionError);
    });
  }
});

test("docs/connect-stores.md names every case that is lost between processes, under its limit", () => {
  const page = readFileSync(new URL("../../../../../docs/connect-stores.md", import.meta.url), "utf8");
  const list = page.slice(page.indexOf("| limit | case |"));
  const rows = [...list.matchAll(/^\| `([A-Z_]+)` \| (.+) \|$/gm)].map(([, limit, name]) => [name, limit]);
  expect(Object.fromEntries(rows)).toEqual(LOST_BETWEEN_PROCESSES);
});
