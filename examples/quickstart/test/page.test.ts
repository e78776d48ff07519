/** The page as text: both languages say the same things, and what the page promises about itself holds. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
// @ts-expect-error plain JavaScript of the page
import { wordKeys } from "../page/words.js";

const FOLDER = fileURLToPath(new URL("../page", import.meta.url));
const files = readdirSync(FOLDER).map((name) => ({ name, text: readFileSync(join(FOLDER, name), "utf8") }));
const html = files.find(({ name }) => name === "index.html")?.text ?? "";

test("Korean and English have the same words", () => {
  const { en, ko } = wordKeys() as Record<string, string[]>;
  expect(en?.length).toBeGreaterThan(50);
  expect(ko).toEqual(en);
});

test("every word that the page asks for exists", () => {
  const { en = [] } = wordKeys() as Record<string, string[]>;
  const asked = files.flatMap(({ text }) => [
    ...[...text.matchAll(/data-i18n(?:-label)?="([^"]+)"/g)].map((match) => match[1]),
    ...[...text.matchAll(/\b(?:say|label)\((?:[^,"`]+, )?"([^"]+)"/g)].map((match) => match[1]),
  ]);
  expect(asked.length).toBeGreaterThan(40);
  expect(asked.filter((key) => !en.includes(key ?? ""))).toEqual([]);
});

test("the words that stand in the page itself are the English ones", async () => {
  Object.assign(globalThis, { document: { documentElement: { lang: "en" } } });
  const { say } = (await import("../page/words.js" as string)) as { say: (key: string) => string };
  const written = [...html.matchAll(/data-i18n="([^"]+)"[^>]*>([^<]+)</g)];
  expect(written.length).toBeGreaterThan(25);
  for (const [, key = "", text = ""] of written) expect(text.replace(/\s+/g, " ").trim()).toBe(say(key));
});

test("nothing comes from the network, and no script or style stands in the page itself", () => {
  for (const { name, text } of files) {
    const elsewhere = [...text.matchAll(/\b(?:https?:)?\/\/[a-z0-9.-]+\.[a-z]{2,}/g)].map(
      (match) => match[0],
    );
    expect(
      elsewhere.filter((address) => address !== "http://www.w3.org"),
      name,
    ).toEqual([]);
  }
  expect(html).not.toMatch(/\son\w+=/);
  expect(html).not.toMatch(/\sstyle=/);
  expect(html).not.toMatch(/<script(?![^>]*\bsrc=)/);
});
