/**
 * The package as npm would deliver it: packed, installed in an empty project, loaded by `import` and by `require`, and
 * compiled against from both, with nothing of the workspace's sources in reach.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { ROOT } from "./source.ts";

const PACKAGE = join(ROOT, "packages/sojourn");
/** Below the workspace's node_modules, so that optional peers (express, …) are found, and `sojourn` in its own first. */
const PROJECT = join(ROOT, "node_modules/.cache/package");
const BIN = join(ROOT, "node_modules/.bin");

const { exports: entries } = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8")) as {
  exports: Record<string, string | object>;
};
const names = Object.entries(entries)
  .filter(([, conditions]) => typeof conditions === "object")
  .map(([name]) => `sojourn${name.slice(1)}`);

function run(command: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${command} ${args.join(" ")} failed:\n${stdout}${stderr}`);
  }
}

beforeAll(() => {
  rmSync(PROJECT, { recursive: true, force: true });
  mkdirSync(PROJECT, { recursive: true });
  writeFileSync(join(PROJECT, "package.json"), '{ "name": "empty", "private": true }');
  run("npm", ["pack", "--silent", "--pack-destination", PROJECT], PACKAGE);
  const tarball = readdirSync(PROJECT).find((file) => file.endsWith(".tgz")) ?? "none";
  run("npm", ["install", "--no-audit", "--no-fund", "--omit=peer", `./${tarball}`], PROJECT);
});

test("an empty project gets one package and no dependency", () => {
  const installed = readdirSync(join(PROJECT, "node_modules")).filter((name) => !name.startsWith("."));
  expect(installed).toEqual(["sojourn"]);
});

test("the package holds no test, no source map and no source", () => {
  const files = readdirSync(join(PROJECT, "node_modules/sojourn"), { recursive: true }) as string[];
  expect(files.length).toBeGreaterThan(100);
  expect(files.filter((file) => /\.test\.|\.map$|(^|\/)src\/|tsbuildinfo/.test(file))).toEqual([]);
});

test("every entry loads by import and by require, and both are the same objects", () => {
  const script = `
    const names = ${JSON.stringify(names)};
    (async () => {
      for (const name of names) {
        const required = require(name);
        const imported = await import(name);
        const keys = Object.keys(imported).filter((key) => key !== "default" && key !== "module.exports");
        // An entry of types alone has nothing at run time.
        if (keys.length === 0 && typeof required !== "function" && !name.endsWith("/types")) throw new Error(name + " exports nothing");
        for (const key of keys) if (required[key] !== imported[key]) throw new Error(name + ": " + key + " differs");
        if (imported["module.exports"] && required !== imported["module.exports"]) throw new Error(name);
      }
      console.log(names.length + " entries");
    })();`;
  writeFileSync(join(PROJECT, "load.cjs"), script);
  const printed = run(process.execPath, ["--throw-deprecation", "load.cjs"], PROJECT);
  expect(printed.trim()).toBe(`${names.length} entries`);
});

test("every entry's types compile from an ES module and from CommonJS, as a strict program's", () => {
  const uses = names
    .map((name, index) => `import * as entry${index} from "${name}";\nvoid entry${index};\n`)
    .join("");
  writeFileSync(join(PROJECT, "esm.mts"), uses);
  writeFileSync(join(PROJECT, "commonjs.cts"), uses);
  writeFileSync(
    join(PROJECT, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        target: "es2022",
        module: "nodenext",
        strict: true,
        noEmit: true,
        types: ["node"],
        skipLibCheck: true,
      },
      files: ["esm.mts", "commonjs.cts"],
    }),
  );
  expect(run(join(BIN, "tsc"), ["-p", "."], PROJECT)).toBe("");
});

test("publint finds nothing", () => {
  expect(run(join(BIN, "publint"), ["--strict"], PACKAGE)).toContain("All good!");
});

test("arethetypeswrong finds nothing wrong for Node's module kinds and bundlers", () => {
  const tarball = readdirSync(PROJECT).find((file) => file.endsWith(".tgz")) ?? "none";
  // Node 10 and its resolution know no export maps; this library needs Node 20.19.
  const report = run(join(BIN, "attw"), [tarball, "--profile", "node16", "--format", "ascii"], PROJECT);
  for (const kind of ["node16 (from CJS): 🟢", "node16 (from ESM): 🟢", "bundler: 🟢"]) {
    expect(report.split(kind).length - 1, kind).toBe(names.length + 1);
  }
});
