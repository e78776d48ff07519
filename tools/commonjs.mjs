// Makes the library loadable by `require`, types included: `packages/sojourn/dist/commonjs/` holds one thin module for each
// entry that requires the ES module itself (Node ≥ 20.19 can), so there is one copy of everything: a class imported is
// the class required. Beside them a copy of the declarations, because TypeScript takes a file's module kind from the
// nearest package.json.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGE = fileURLToPath(new URL("../packages/sojourn/", import.meta.url));
const DIST = join(PACKAGE, "dist");
const COMMONJS = join(DIST, "commonjs");

const { exports: entries } = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8"));

rmSync(COMMONJS, { recursive: true, force: true });
mkdirSync(COMMONJS, { recursive: true });
writeFileSync(join(COMMONJS, "package.json"), '{ "type": "commonjs" }\n');

for (const folder of readdirSync(DIST, { withFileTypes: true })) {
  if (folder.name === "commonjs") continue;
  cpSync(join(DIST, folder.name), join(COMMONJS, folder.name), {
    recursive: true,
    filter: (path) =>
      !/\.[a-z]+$/.test(path) || (path.endsWith(".d.ts") && !/\.test(\.support)?\.d\.ts$/.test(path)),
  });
}

for (const [name, conditions] of Object.entries(entries)) {
  if (typeof conditions === "string") continue;
  const source = join(PACKAGE, conditions.import.default);
  if (!existsSync(source))
    throw new Error(`Cannot make ${name} requirable: ${source} is missing; build first`);
  const target = join(PACKAGE, conditions.require.default);
  const specifier = relative(dirname(target), source).replaceAll("\\", "/");
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, `"use strict";\nmodule.exports = require("${specifier}");\n`);
  declareExportEquals(target.replace(/\.js$/, ".d.ts"));
}

/** An entry that names its "module.exports" is that one value when required, so its types say `export =`. */
function declareExportEquals(declaration) {
  const text = readFileSync(declaration, "utf8");
  const [, name] = /\b(\w+) as "module\.exports"/.exec(text) ?? [];
  if (name === undefined) return;
  const module = declaration.replace(/\.d\.ts$/, ".module.d.ts");
  renameSync(declaration, module);
  const specifier = `./${basename(module, ".d.ts")}.js`;
  writeFileSync(declaration, `import { ${name} } from "${specifier}";\nexport = ${name};\n`);
}
