/**
 * The public surface, from the emitted declarations: what each entry exports, and the shape of everything the main entry
 * names. Growing it is a decision: run `npx vitest run tools/api.test.ts -u` and let a reviewer see the difference.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { ROOT, withoutComments } from "./source.ts";

const PACKAGE = join(ROOT, "packages/sojourn");

interface Exported {
  readonly name: string;
  readonly kind: "type" | "value";
  /** The declaration file it comes from. */
  readonly from: string;
}

/** Follows re-exports, `export *` included. */
function exportsOf(file: string): Exported[] {
  const text = withoutComments(readFileSync(file, "utf8"));
  const found: Exported[] = [];
  for (const [, typeOnly, names, from] of text.matchAll(/export (type )?\{([^}]*)\}(?: from "([^"]+)")?;/g)) {
    for (const entry of (names ?? "").split(",")) {
      const [, isType, original, alias] = /^\s*(type )?([\w$]+)(?: as ([\w$]+))?\s*$/.exec(entry) ?? [];
      if (!original) continue;
      const kind = typeOnly || isType ? "type" : "value";
      found.push({ name: alias ?? original, kind, from: from ? resolve(file, from) : file });
    }
  }
  for (const [, from] of text.matchAll(/export \* from "([^"]+)";/g))
    found.push(...exportsOf(resolve(file, from ?? "")));
  for (const [, keyword, name] of text.matchAll(
    /export (?:declare )?(?:default )?(?:abstract )?(function|const|class|interface|type) ([\w$]+)/g,
  )) {
    found.push({
      name: name ?? "",
      kind: keyword === "interface" || keyword === "type" ? "type" : "value",
      from: file,
    });
  }
  return [...new Map(found.map((each) => [each.name, each])).values()].sort((a, b) =>
    a.name < b.name ? -1 : 1,
  );
}

function resolve(file: string, specifier: string): string {
  return join(dirname(file), specifier.replace(/\.(js|ts)$/, ".d.ts"));
}

/** The text of one declaration without comments: what a caller compiles against. */
function declarationOf({ name, from }: Exported): string {
  const text = withoutComments(readFileSync(from, "utf8")).replace(/\n\s*\n+/g, "\n");
  const start = text.search(
    new RegExp(
      `export (?:declare )?(?:abstract )?(?:function|const|class|interface|type) ${name.replace("$", "\\$")}\\b`,
    ),
  );
  if (start < 0) {
    const further = exportsOf(from).find((each) => each.name === name && each.from !== from);
    expect(further, `${name} is declared somewhere`).toBeDefined();
    return declarationOf(further as Exported);
  }
  let depth = 0;
  for (let end = start; end < text.length; end++) {
    const char = text[end];
    if (char === "{" || char === "(") depth++;
    if (char === "}" || char === ")") depth--;
    const closesBlock = char === "}" && depth === 0 && /interface|class/.test(text.slice(start, start + 40));
    if ((char === ";" && depth === 0) || closesBlock)
      return text.slice(start, end + 1).replace(/[ \t]+$/gm, "");
  }
  return text.slice(start);
}

const entries = Object.entries(
  JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8")).exports as Record<
    string,
    { import: { types: string } } | string
  >,
).filter((entry): entry is [string, { import: { types: string } }] => typeof entry[1] === "object");

test("each entry of the export map exports exactly these names", () => {
  const surface = entries.map(([entry, conditions]) => {
    const { types } = conditions.import;
    const file = join(PACKAGE, types);
    expect(existsSync(file), `${types} is not built: run npm run build`).toBe(true);
    const names = exportsOf(file).map(({ name, kind }) => (kind === "type" ? `type ${name}` : name));
    return `${entry.replace(".", "sojourn")}\n${names.map((name) => `  ${name}\n`).join("")}`;
  });
  expect(surface.join("\n")).toMatchSnapshot();
});

test("the main entry stays small: about a dozen values and the types they need", () => {
  const main = exportsOf(join(PACKAGE, "dist/index.d.ts"));
  expect(main.filter(({ kind }) => kind === "value").length).toBeLessThanOrEqual(12);
  expect(main.map(declarationOf).join("\n\n")).toMatchSnapshot();
});
