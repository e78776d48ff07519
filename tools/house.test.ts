/**
 * House rules, as tests: what may import what, who may look at a clock, and that every error code is explained.
 * A failure names the place and what to do instead.
 */
import { readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { expect, test } from "vitest";
import { ERROR_CODES } from "../packages/sojourn/src/core/errors.ts";
import { filesUnder, importsOf, isTest, ROOT, type SourceFile, withoutComments } from "./source.ts";

const LIBRARY = "packages/sojourn/src";

/** Folder → folders it may import besides itself. The picture in docs/architecture.md is this table. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  store: ["core"],
  drivers: ["core", "store"],
  sessions: ["core", "store"],
  http: ["core", "store", "drivers", "sessions"],
  cluster: ["core", "store"],
  router: ["core"],
  telemetry: ["core", "store", "sessions"],
  testing: ["core", "store"],
  "index.ts": ["core", "store", "sessions", "cluster"],
};

/** npm packages a folder may name; the rest of the library needs none. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  drivers: ["@redis/client", "ioredis"],
  http: ["express", "fastify", "koa", "hono", "@nestjs/common", "@nestjs/core", "ws"],
  router: ["undici"],
  telemetry: ["@opentelemetry/api"],
};

/** What `core` may use of Node: it stays pure. */
const CORE_BUILTINS = ["node:crypto", "node:buffer"];

/** Workspace → workspaces it may name. */
const WORKSPACES: Readonly<Record<string, readonly string[]>> = {
  "apps/cli": ["sojourn", "@sojourn/testbed"],
  "examples/quickstart": ["sojourn", "@sojourn/cli", "@sojourn/testbed"],
  "examples/express-redis": ["sojourn", "@sojourn/testbed"],
  "examples/fastify-session-server": ["sojourn", "@sojourn/cli", "@sojourn/testbed"],
  "examples/koa-admin": ["sojourn", "@sojourn/testbed"],
  lab: ["sojourn", "@sojourn/cli", "@sojourn/example-quickstart", "@sojourn/testbed"],
};

function folderOf(path: string): string {
  return path.slice(LIBRARY.length + 1).split("/")[0] ?? "";
}

function wrongImports(file: SourceFile): string[] {
  const from = folderOf(file.path);
  const wrong: string[] = [];
  for (const name of importsOf(file)) {
    if (name.startsWith(".")) {
      const target = posix.join(posix.dirname(file.path), name);
      const to = target.startsWith(`${LIBRARY}/`) ? folderOf(target) : target;
      if (to !== from && !MAY_IMPORT[from]?.includes(to)) wrong.push(`${file.path} imports ${to}/ (${name})`);
    } else if (name.startsWith("node:")) {
      if (from === "core" && !CORE_BUILTINS.includes(name))
        wrong.push(`${file.path} imports ${name}: core is pure`);
    } else if (!PACKAGES[from]?.includes(name)) {
      wrong.push(`${file.path} imports the package ${name}`);
    }
  }
  return wrong;
}

test("imports go one way: core ← store ← sessions ← http, and core, store ← cluster", () => {
  const files = filesUnder(LIBRARY, ".ts").filter((file) => !isTest(file));
  expect(files.length).toBeGreaterThan(10);
  expect(new Set(files.map((file) => folderOf(file.path)))).toEqual(new Set(Object.keys(MAY_IMPORT)));
  expect(files.flatMap(wrongImports)).toEqual([]);
});

test("the import rule catches an upward import, a package and a built-in in core", () => {
  const bad = (path: string, text: string) => wrongImports({ path: `${LIBRARY}/${path}`, text });
  expect(bad("core/a.ts", 'import { x } from "../store/store.ts";')).toHaveLength(1);
  expect(bad("core/a.ts", 'export * from "node:fs";')).toHaveLength(1);
  expect(bad("store/a.ts", 'import type {\n  Y,\n} from "../http/hold.ts";')).toHaveLength(1);
  expect(bad("sessions/a.ts", 'const m = await import("undici");')).toHaveLength(1);
  expect(bad("http/a.ts", 'import type { Request } from "express";')).toEqual([]);
});

test("apps and examples use the library through its entries, like any user", () => {
  const wrong: string[] = [];
  for (const [workspace, allowed] of Object.entries(WORKSPACES)) {
    for (const file of filesUnder(workspace, ".ts")) {
      for (const name of importsOf(file)) {
        const target = posix.join(posix.dirname(file.path), name);
        if (name.startsWith(".") && !target.startsWith(workspace))
          wrong.push(`${file.path} reaches into ${target}`);
        const owner = name.startsWith("@sojourn/")
          ? name.split("/").slice(0, 2).join("/")
          : name.split("/")[0];
        if (/^@?sojourn(\/|$)/.test(name) && !allowed.includes(owner ?? ""))
          wrong.push(`${file.path} imports ${name}`);
      }
    }
  }
  expect(wrong).toEqual([]);
});

const CLOCK_FILE = `${LIBRARY}/core/clock.ts`;
const CLOCK_WORDS =
  /\b(?:Date\.now\b|new Date\(\s*\)|performance\.now\b|hrtime\b|setTimeout\s*\(|setInterval\s*\(|setImmediate\s*\(|Math\.random\b|randomBytes\s*\(|randomUUID\s*\(|randomInt\s*\(|randomFill(?:Sync)?\s*\(|getRandomValues\b)|["']node:timers(?:\/promises)?["']/;

function clockUses(file: SourceFile): string[] {
  return withoutComments(file.text)
    .split("\n")
    .flatMap((line, index) => {
      // `clock.randomBytes(…)`, `socket.setTimeout(…)` are methods of something else; the bare names are the rule's.
      const bare = line.replace(/[\w)\]]\??\.(setTimeout|setInterval|randomBytes)\s*\(/g, "");
      const found = CLOCK_WORDS.exec(bare);
      const isDeclaration =
        /^\s*(?:readonly )?randomBytes\s*\(/.test(bare) || /^\s*randomBytes:\s/.test(bare);
      return found && !isDeclaration
        ? [`${file.path}:${index + 1} uses ${found[0]}: take a Clock instead`]
        : [];
    });
}

test("no wall clock, timer or randomness outside core/clock.ts", () => {
  const files = filesUnder(LIBRARY, ".ts").filter((file) => !isTest(file) && file.path !== CLOCK_FILE);
  expect(files.flatMap(clockUses)).toEqual([]);
});

test("the clock rule catches each way around it", () => {
  const bad = (text: string) => clockUses({ path: "x.ts", text });
  for (const text of [
    "const t = Date.now();",
    "const t = new Date();",
    "setTimeout(f, 5);",
    "const r = randomBytes(4);",
    'import { setTimeout } from "node:timers/promises";',
    "return Math.random();",
    "performance.now()",
  ]) {
    expect(bad(text), text).toHaveLength(1);
  }
  expect(bad("// Date.now() is not used\nclock.randomBytes(4); socket.setTimeout(5);")).toEqual([]);
});

test("every error code is explained in docs/errors.md, and nothing else is", () => {
  const page = readFileSync(join(ROOT, "docs/errors.md"), "utf8");
  const explained = [...page.matchAll(/^## `?([A-Z][A-Z_]+)`?$/gm)].map((match) => match[1]);
  expect([...explained].sort()).toEqual(Object.keys(ERROR_CODES).sort());
  expect(new Set(explained).size).toBe(explained.length);
});

test("every error code is thrown or answered somewhere: the table holds no dead row", () => {
  const sources = filesUnder("packages", ".ts")
    .concat(filesUnder("apps", ".ts"), filesUnder("examples", ".ts"))
    .filter((file) => !isTest(file) && !file.path.endsWith("core/errors.ts"));
  const inErrors = readFileSync(join(ROOT, LIBRARY, "core/errors.ts"), "utf8");
  const unused = Object.keys(ERROR_CODES).filter(
    (code) =>
      !sources.some((file) => file.text.includes(`"${code}"`)) && !inErrors.includes(`super("${code}"`),
  );
  expect(unused).toEqual([]);
});
