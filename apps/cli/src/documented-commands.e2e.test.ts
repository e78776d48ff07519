/** Every `sojourn …` command that the documentation shows exists, with every option it is shown with. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { sojourn } from "./testing/spawned-server.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PAGES = ["README.md", ...readdirSync(join(ROOT, "docs")).map((name) => `docs/${name}`)].filter((path) =>
  path.endsWith(".md"),
);

interface Shown {
  readonly page: string;
  /** `["session", "list"]` */
  readonly words: readonly string[];
  readonly options: readonly string[];
}

function shownIn(page: string): Shown[] {
  const text = readFileSync(join(ROOT, page), "utf8");
  // In a table a bar is written \|; what follows a bar is another command.
  const commands = [...text.matchAll(/(?:^|`)(?:npx )?(sojourn (?:server|router|session)\b[^`\n|#]*)/gm)];
  return commands.map(([, command = ""]) => {
    const [, ...parts] = command.replace(/\\$/, "").trim().split(/\s+/);
    const firstOther = parts.findIndex((part) => !/^[a-z-]+$/.test(part) || part.startsWith("-"));
    const words = firstOther < 0 ? parts : parts.slice(0, firstOther);
    const options = parts.filter((part) => part.startsWith("--")).map((part) => part.split("=")[0] ?? part);
    return { page, words, options };
  });
}

const shown = PAGES.flatMap(shownIn);
const commands = [...new Set(shown.map(({ words }) => words.join(" ")))].sort();

test("the documentation shows commands at all, those of troubleshooting among them", () => {
  expect(commands).toContain("server status");
  expect(commands).toContain("session list");
  expect(shown.filter(({ page }) => page === "docs/troubleshooting.md").length).toBeGreaterThan(15);
});

test.each(commands)("sojourn %s exists, with the options it is shown with", async (command) => {
  const words = command.split(" ");
  const { code, stdout } = await sojourn([...words, "--help"]);
  expect(code).toBe(0);
  expect(stdout).toContain(`Usage: sojourn ${command}`);
  for (const { options, page } of shown.filter((each) => each.words.join(" ") === command)) {
    for (const option of options) expect(stdout, `${option} in ${page}`).toContain(`${option}`);
  }
});
