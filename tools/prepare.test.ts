/**
 * `tools/prepare.mjs` in a small project of its own: what it takes for a reason to install, and what it says when it cannot
 * go on. npm and tsc are stood in for, because what is tested is when they are called and what follows from how they end.
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "./source.ts";

type Packages = Record<string, Record<string, unknown>>;

interface Project {
  readonly lock?: Packages;
  /** What npm says it installed; undefined: an installation that never ended. */
  readonly installed?: Packages;
  /** A shell script. */
  readonly npm?: string;
  /** JavaScript. */
  readonly tsc?: string;
}

const LOCK: Packages = {
  "": { name: "project" },
  "node_modules/a": { version: "1.0.0", integrity: "sha512-a" },
  "packages/own": { version: "0.1.0" },
  "node_modules/own": { resolved: "packages/own", link: true },
};
const { "": _, ...INSTALLED } = LOCK;
const elsewhere = { version: "1.0.0", optional: true, os: ["aix"], cpu: ["ppc64"] };
const here = { version: "1.0.0", optional: true, os: [process.platform], cpu: [process.arch] };

function prepare({ lock = LOCK, installed, npm = "exit 0", tsc = "" }: Project) {
  const root = mkdtempSync(join(tmpdir(), "prepare-"));
  const write = (path: string, text: string): string => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
    return join(root, path);
  };
  mkdirSync(join(root, "tools"));
  copyFileSync(join(ROOT, "tools/prepare.mjs"), join(root, "tools/prepare.mjs"));
  // There is no library here whose CommonJS side could be made.
  write("tools/commonjs.mjs", "");
  write("package-lock.json", JSON.stringify({ packages: lock }));
  if (installed) write("node_modules/.package-lock.json", JSON.stringify({ packages: installed }));
  for (const path of Object.keys(installed ?? {})) mkdirSync(join(root, path), { recursive: true });
  write("node_modules/typescript/bin/tsc", tsc);
  const called = join(root, "npm-was-called");
  chmodSync(write("bin/npm", `#!/bin/sh\necho "$@" > ${called}\n${npm}\n`), 0o755);
  const env: NodeJS.ProcessEnv = { ...process.env, PATH: `${join(root, "bin")}:${process.env.PATH}` };
  delete env.npm_execpath;
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, "tools/prepare.mjs")], {
    env,
    encoding: "utf8",
  });
  const words = existsSync(called) ? readFileSync(called, "utf8").trim() : null;
  rmSync(root, { recursive: true, force: true });
  return { status, stdout, stderr, npm: words };
}

test("nothing is installed when everything is there", () => {
  const { status, stdout, npm } = prepare({ installed: INSTALLED });
  expect([status, npm]).toEqual([0, null]);
  expect(stdout).toMatch(/build +\d+\.\d s\n$/);
});

test("an optional package for another machine may be absent, one for this machine may not", () => {
  const other = { ...LOCK, "node_modules/native": elsewhere };
  expect(prepare({ lock: other, installed: INSTALLED }).npm).toBe(null);
  const own = { ...LOCK, "node_modules/native": here };
  expect(prepare({ lock: own, installed: INSTALLED }).npm).toMatch(/^ci /);
});

test.each<[string, Project]>([
  ["nothing is installed", {}],
  [
    "a package is missing",
    { lock: { ...LOCK, "node_modules/b": { version: "1.0.0" } }, installed: INSTALLED },
  ],
  [
    "a version differs",
    { installed: { ...INSTALLED, "node_modules/a": { version: "1.0.1", integrity: "sha512-a" } } },
  ],
  [
    "contents differ",
    { installed: { ...INSTALLED, "node_modules/a": { version: "1.0.0", integrity: "sha512-x" } } },
  ],
])("npm ci runs when %s", (_name, project) => {
  const { status, npm, stdout } = prepare(project);
  expect(status).toBe(0);
  expect(npm).toMatch(/^ci /);
  expect(stdout).toContain("npm ci");
});

test("without a network and without packages it says so and how to go on", () => {
  const { status, stderr } = prepare({ npm: "echo 'npm error code ENOTFOUND' >&2; exit 1" });
  expect(status).toBe(1);
  expect(stderr).toContain("npm error code ENOTFOUND");
  expect(stderr).toContain("from then on it works offline");
});

test("when npm fails for another reason, its own words are shown", () => {
  const { status, stderr } = prepare({ npm: "echo 'npm error EUSAGE out of sync' >&2; exit 1" });
  expect(status).toBe(1);
  expect(stderr).toContain("out of sync");
  expect(stderr).not.toContain("offline");
});

test("a build that fails stops the command with the compiler's words", () => {
  const tsc = "console.log('src/a.ts(1,1): error TS1005'); process.exit(2)";
  const { status, stdout, stderr } = prepare({ installed: INSTALLED, tsc });
  expect(status).toBe(1);
  expect(stdout).toContain("failed");
  expect(stderr).toContain("error TS1005");
});

test("an older Node is refused in one sentence", () => {
  // The check reads what any Node says about itself, so a preload can make this one old.
  const root = mkdtempSync(join(tmpdir(), "prepare-"));
  const preload = join(root, "old.mjs");
  writeFileSync(preload, "Object.defineProperty(process.versions, 'node', { value: '18.20.4' });");
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--import", preload, join(ROOT, "tools/prepare.mjs")],
    { encoding: "utf8" },
  );
  expect([status, stdout]).toEqual([1, ""]);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr).toContain("needs Node 20.19 or newer, and this is Node 18.20.4");
});
