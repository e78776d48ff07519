/** The suite as data: under any runner, and honest about what it does not run. */
import * as node from "node:test";
import { expect, test } from "vitest";
import { registerConformance, storeConformance } from "./store-conformance.ts";

const harness = {
  name: "nothing",
  open: () => Promise.reject(new Error("this harness opens nothing")),
  lacks: ["enumerable", "watchable", "small", "wall-step"] as const,
};

test("one call registers every case with the functions of any runner, skipped ones with their reason", () => {
  const registered: string[] = [];
  const runner = Object.assign((name: string) => registered.push(name), {
    skip: (name: string) => registered.push(`skip ${name}`),
  });
  registerConformance({ test: runner }, harness);
  const cases = storeConformance(harness);
  expect(registered).toHaveLength(cases.length);
  expect(registered.filter((name) => /^skip .* \(skipped: .+\)$/.test(name))).toHaveLength(
    cases.filter(({ skipped }) => skipped !== undefined).length,
  );
});

test("the functions of node:test and vitest fit as they are", () => {
  const runners: Parameters<typeof registerConformance>[0][] = [
    { test: node.test, describe: node.describe },
    { test, describe: (_name, register) => register() },
  ];
  expect(runners.every((runner) => typeof runner.test.skip === "function")).toBe(true);
});

test("names of cases are unique: a skip means one of them", () => {
  const names = storeConformance(harness).map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});

test("a case reports what its harness threw", async () => {
  await expect(storeConformance(harness)[0]?.run()).rejects.toThrow("opens nothing");
});
