/** Writes what the results say into the pages that show them, between their markers. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chart } from "./chart.ts";
import { pageBlock, readmeBlock } from "./page.ts";
import type { Results } from "./results.ts";

export const BEGIN = "<!-- bench: written by `npm run bench`, not by hand -->";
export const END = "<!-- /bench -->";

export const PAGES: Readonly<Record<string, (results: Results) => string>> = {
  "docs/benchmarks.md": pageBlock,
  "README.md": readmeBlock,
};
export const CHART = "docs/benchmarks.svg";

/** @param root  of the repository */
export function render(root: string, results: Results): void {
  for (const [page, block] of Object.entries(PAGES)) {
    const path = join(root, page);
    writeFileSync(path, withBlock(readFileSync(path, "utf8"), block(results), page));
  }
  if (results.http) writeFileSync(join(root, CHART), chart(results.http));
}

/** @throws {Error} when the page has no place for it */
export function withBlock(page: string, block: string, name: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END, begin);
  if (begin < 0 || end < 0)
    throw new Error(`Cannot write into ${name}: its markers ${BEGIN} … ${END} are missing`);
  return `${page.slice(0, begin + BEGIN.length)}\n\n${block}\n\n${page.slice(end)}`;
}
