/** What the README shows compiles as it stands, and the page keeps its promise of length. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "./source.ts";

const README = readFileSync(join(ROOT, "README.md"), "utf8");
const LINES_MAX = 150;

/** What surrounds a snippet in the reader's program. The first snippet itself makes `sessions`. */
const AROUND: Readonly<Record<string, string>> = {
  "sojourn/express": 'import express from "express";\nconst app = express();\n',
  "sojourn/fastify": 'import fastify from "fastify";\nconst app = fastify();\n',
  "sojourn/node": 'import { createServer } from "node:http";\n',
};

test(`the README has at most ${LINES_MAX} lines`, () => {
  expect(README.split("\n").length - 1).toBeLessThanOrEqual(LINES_MAX);
});

test("every TypeScript snippet of the README compiles", () => {
  const snippets = [...README.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? "");
  const [opening = "", ...others] = snippets;
  expect(others).toHaveLength(Object.keys(AROUND).length);
  // Inside the workspace, so that packages are found as a reader's program finds them.
  const folder = join(ROOT, "node_modules/.cache/readme");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({
      extends: join(ROOT, "tsconfig.base.json"),
      compilerOptions: {
        noEmit: true,
        composite: false,
        incremental: false,
        declaration: false,
        declarationMap: false,
      },
      include: ["*.ts"],
    }),
  );
  writeFileSync(join(folder, "opening.ts"), opening);
  for (const [index, snippet] of others.entries()) {
    const entry = Object.keys(AROUND).find((name) => snippet.includes(`"${name}"`));
    expect(entry, `snippet ${index + 2} imports an adapter`).toBeDefined();
    writeFileSync(join(folder, `snippet-${index}.ts`), `${opening}${AROUND[entry as string]}${snippet}`);
  }
  const compiler = join(ROOT, "node_modules/typescript/bin/tsc");
  let found = "";
  try {
    execFileSync(process.execPath, [compiler, "-p", folder], { encoding: "utf8" });
  } catch (error) {
    found = (error as { stdout: string }).stdout;
  }
  expect(found).toBe("");
});
