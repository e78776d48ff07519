/** `npm run compare -- anomalies`: what happens to visitors of two servers, library by library, counted in one run. */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { redisServerPath } from "@sojourn/testbed";
import { render } from "../bench/render.ts";
import {
  type AnomaliesPart,
  type Anomaly,
  loadNow,
  RESULTS_FILE,
  readResults,
  taken,
  writeResults,
} from "../bench/results.ts";
import { ANOMALIES, provoke, TRIES, TRIES_QUICK, type Tries } from "./anomalies.ts";
import { SIDES, Side } from "./sides.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

const HELP = `npm run compare -- anomalies [options]

Two application servers and their store, for each library; the same requests for all. Needs redis-server.

${Object.values(ANOMALIES)
  .map(({ title, how }) => `  ${title.padEnd(18)}${how}\n`)
  .join("")}
  --quick       a few tries each; results go nowhere unless --out says so
  --out <file>  where the counts go. Default lab/results/bench.json, beside those of \`npm run bench\`, and the page
  --help

About a minute.
`;

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: "boolean", default: false },
      out: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help || positionals.length === 0) {
    process.stdout.write(HELP);
    return;
  }
  if (positionals.join() !== "anomalies")
    throw new Error(`Cannot compare ${positionals.join(" ")}: only anomalies`);
  if (redisServerPath() === undefined) {
    throw new Error("Cannot compare: redis-server not found; apt install redis-server");
  }
  const tries = values.quick ? TRIES_QUICK : TRIES;
  const [beganMs, load] = [performance.now(), loadNow()];
  const rows: Row[] = [];
  for (const side of SIDES) {
    rows.push({ name: side.name, isOurs: side.isOurs, found: await counted(side, tries) });
  }
  process.stdout.write(`\n${table(rows, tries)}`);
  const committed = `${ROOT}/${RESULTS_FILE}`;
  const path = values.out === undefined ? (values.quick ? undefined : committed) : resolve(values.out);
  if (path === undefined) return;
  const results = { ...readResults(path), anomalies: { taken: taken(beganMs, load), tries, rows } };
  writeResults(path, results);
  if (path === committed) render(ROOT, results);
}

type Row = AnomaliesPart["rows"][number];

async function counted(name: (typeof SIDES)[number], tries: Tries): Promise<Record<Anomaly, number>> {
  const side = await Side.start(name);
  const counts = { lostUpdates: 0, undoneLogouts: 0, staleRedirects: 0 };
  try {
    for (const anomaly of Object.keys(ANOMALIES) as Anomaly[]) {
      const show = (done: number) =>
        process.stdout.write(
          `\r${`${name.name}: ${ANOMALIES[anomaly].title} ${done}/${tries[anomaly]}`.padEnd(72)}`,
        );
      let done = 0;
      counts[anomaly] = await provoke(side, anomaly, tries[anomaly], () => {
        if (process.stdout.isTTY) show(++done);
      });
    }
  } finally {
    await side.stop();
  }
  if (process.stdout.isTTY) process.stdout.write(`\r${"".padEnd(72)}\r`);
  return counts;
}

function table(rows: readonly Row[], tries: Tries): string {
  const anomalies = Object.keys(ANOMALIES) as Anomaly[];
  const line = (name: string, cells: readonly string[]) =>
    `${name.padEnd(36)}${cells.map((cell) => cell.padStart(18)).join("")}\n`;
  return [
    line(
      "",
      anomalies.map((anomaly) => ANOMALIES[anomaly].title),
    ),
    ...rows.map(({ name, found }) =>
      line(
        name,
        anomalies.map((anomaly) => `${found[anomaly]} of ${tries[anomaly]}`),
      ),
    ),
  ].join("");
}
