/** Reads the repository as text, for rules that are about the text. TypeScript 7 has no compiler API to ask instead. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT: string = fileURLToPath(new URL("..", import.meta.url));

export interface SourceFile {
  /** From the repository's root, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

const NOT_OURS = new Set(["node_modules", "dist", ".git", ".sojourn"]);

/** Every file under `folder` whose name ends in `ending`, in a stable order. */
export function filesUnder(folder: string, ending: string): SourceFile[] {
  const found: SourceFile[] = [];
  const visit = (path: string): void => {
    for (const name of readdirSync(path).sort()) {
      if (NOT_OURS.has(name)) continue;
      const full = join(path, name);
      if (statSync(full).isDirectory()) visit(full);
      else if (name.endsWith(ending)) {
        found.push({ path: relative(ROOT, full).split(sep).join("/"), text: readFileSync(full, "utf8") });
      }
    }
  };
  visit(join(ROOT, folder));
  return found;
}

export function isTest(file: SourceFile): boolean {
  return /\.test(\.support)?\.ts$/.test(file.path);
}

/** The text with comments blanked out, line numbers kept. Good enough for rules: strings that look like comments are rare. */
export function withoutComments(text: string): string {
  const blank = (match: string): string => match.replace(/[^\n]/g, " ");
  return text.replace(/\/\*[\s\S]*?\*\//g, blank).replace(/(^|[^:"'`\\])\/\/[^\n]*/g, blank);
}

/** Module names of all static and dynamic imports and re-exports. */
export function importsOf(file: SourceFile): string[] {
  const text = withoutComments(file.text);
  const patterns = [
    /\b(?:import|export)\s[^"';]*?\sfrom\s*["']([^"']+)["']/g,
    /\bimport\s*["']([^"']+)["']/g,
    /\bimport\(\s*["']([^"']+)["']/g,
  ];
  return patterns.flatMap((pattern) => [...text.matchAll(pattern)].map((match) => match[1] ?? ""));
}
