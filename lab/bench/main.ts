/** `npm run bench`: runs the parts that were asked for, shows tables as it goes, keeps every round. */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { redisServerPath } from "@sojourn/testbed";
import { enginePart } from "./engine.ts";
import { httpPart } from "./http.ts";
import { memoryPart } from "./memory.ts";
import { type BenchOptions, HELP, parseOptions } from "./options.ts";
import { render } from "./render.ts";
import { requestsPart } from "./requests.ts";
import { loadNow, RESULTS_FILE, readResults, taken, writeResults } from "./results.ts";
import { routerPart } from "./router.ts";
import { type Part, Progress } from "./run.ts";
import { soakPart } from "./soak.ts";
import { verdicts } from "./targets.ts";
import { wrkPath } from "./wrk.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const PARTS: readonly Part[] = [httpPart, requestsPart, routerPart, memoryPart, enginePart, soakPart];

try {
  process.exitCode = await main(parseOptions(process.argv.slice(2)));
} catch (error) {
  process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

async function main(options: BenchOptions): Promise<number> {
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const committed = `${ROOT}/${RESULTS_FILE}`;
  if (options.render) {
    render(ROOT, readResults(committed));
    return 0;
  }
  requireProgram("wrk", wrkPath());
  requireProgram("redis-server", redisServerPath());
  const path = options.out === undefined ? (options.quick ? undefined : committed) : resolve(options.out);
  const results = path === undefined ? {} : readResults(path);
  await measure(options, (name, part) => {
    Object.assign(results, { [name]: part });
    // After each part: an interruption loses one.
    if (path !== undefined) writeResults(path, results);
  });
  for (const { name, found, target, isReached } of verdicts(results)) {
    process.stdout.write(`${isReached ? "  " : "✗ "}${name.padEnd(64)}${found.padStart(14)}  ${target}\n`);
  }
  if (path === committed) render(ROOT, results);
  return 0;
}

async function measure({ only, scale }: BenchOptions, keep: (name: string, part: object) => void) {
  const progress = new Progress((line) => process.stdout.write(line));
  const parts = PARTS.filter(({ name }) => only.includes(name));
  for (const [index, part] of parts.entries()) {
    const laterS = parts.slice(index + 1).reduce((sum, each) => sum + each.estimatedS(scale), 0);
    progress.begin(part.title, part.estimatedS(scale), laterS);
    const [beganMs, load] = [performance.now(), loadNow()];
    const found = await part.run(scale, progress);
    keep(part.name, { taken: taken(beganMs, load), ...found });
  }
  process.stdout.write("\n");
}

function requireProgram(name: string, path: string | undefined): void {
  if (path === undefined) throw new Error(`Cannot run the benchmark: ${name} not found; apt install ${name}`);
}
