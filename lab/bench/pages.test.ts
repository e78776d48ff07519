/** The pages say what the results say: nobody edits a figure, and nobody commits results without their pages. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { chart } from "./chart.ts";
import { CHART, PAGES, withBlock } from "./render.ts";
import { readResults } from "./results.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const results = readResults(join(ROOT, "lab/results/bench.json"));

test.each(Object.keys(PAGES))("%s shows the committed results", (page) => {
  const text = readFileSync(join(ROOT, page), "utf8");
  expect(text).toBe(withBlock(text, PAGES[page]!(results), page));
});

test("the chart shows the committed results", () => {
  expect(results.http).toBeDefined();
  expect(readFileSync(join(ROOT, CHART), "utf8")).toBe(chart(results.http!));
});

test("a page without its markers is refused, not overwritten", () => {
  expect(() => withBlock("# Nothing here\n", "figures", "a.md")).toThrow(/Cannot write into a\.md/);
});
