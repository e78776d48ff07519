/**
 * What the pages of docs/ show compiles. A snippet may leave out what surrounds it in the reader's program: names that it
 * uses and does not declare are those of the table below. One that begins with the path of a recipe is a part of that file.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { compilePrograms, type Snippet, snippetsOf } from "./snippets.ts";
import { ROOT } from "./source.ts";

const PAGES = readdirSync(join(ROOT, "docs"))
  .filter((name) => name.endsWith(".md"))
  .map((name) => `docs/${name}`);

/** What a reader's program has: name → its declaration. */
const AROUND: Readonly<Record<string, string>> = {
  sessions: 'declare const sessions: import("sojourn").Sessions;',
  session: 'declare const session: import("sojourn").Session;',
  store: 'declare const store: import("sojourn").SessionStore;',
  app: 'declare const app: import("express").Express;',
  req: 'declare const req: import("express").Request;',
  secret: "declare const secret: string;",
  startBackend: "declare function startBackend(): Promise<{ url: string; stop(): Promise<void> }>;",
  myStore: 'declare function myStore(url: string): import("sojourn").SessionStore;',
  res: 'declare const res: import("express").Response;',
};

/** Packages that come without types. */
const UNTYPED = 'declare module "express-session";\n';

const RECIPE = /^\/\/ (recipes\/\S+)\n/;

/** The snippet with what surrounds it. */
function program({ text }: Snippet): string {
  const missing = Object.entries(AROUND).filter(([name]) => uses(text, name) && !declares(text, name));
  return `${missing.map(([, declaration]) => `${declaration}\n`).join("")}${text}\nexport {};\n`;
}

function uses(text: string, name: string): boolean {
  return new RegExp(`(?<![.\\w"'/-])${name}\\b(?!["':])`).test(text.replace(/\/\/.*|\/\*[\s\S]*?\*\//g, ""));
}

function declares(text: string, name: string): boolean {
  const asParameter = `\\([^()]*\\b${name}\\b[^()]*\\)\\s*=>`;
  return new RegExp(`(?:const|let|function|import)\\s[^=;()]*\\b${name}\\b|${asParameter}`).test(text);
}

test.each(PAGES.filter((page) => snippetsOf(page).length > 0))(
  "every TypeScript snippet of %s compiles",
  (page) => {
    const snippets = snippetsOf(page).filter(({ text }) => !RECIPE.test(text));
    const programs = new Map(snippets.map((snippet) => [snippet.name, program(snippet)]));
    programs.set("untyped.d", UNTYPED);
    expect(compilePrograms(`docs-${basename(page, ".md")}`, programs).found).toBe("");
  },
);

test("what docs/ shows of a recipe is in it", () => {
  const shown = PAGES.flatMap(snippetsOf).flatMap(({ text }) => {
    const path = RECIPE.exec(text)?.[1];
    return path === undefined ? [] : [{ path, part: text.replace(RECIPE, "") }];
  });
  expect(shown.length).toBeGreaterThan(0);
  for (const { path, part } of shown) expect(readFileSync(join(ROOT, path), "utf8"), path).toContain(part);
});
