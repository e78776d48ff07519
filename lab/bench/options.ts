/** The command line of `npm run bench`. */
import { parseArgs } from "node:util";
import type { Results } from "./results.ts";
import { FULL, QUICK, type Scale } from "./run.ts";

/** Anomalies are counted by another command. */
export type PartName = Exclude<keyof Results, "anomalies">;

export interface BenchOptions {
  readonly help: boolean;
  /** Measures nothing: writes page, chart and README from the results there are. */
  readonly render: boolean;
  readonly quick: boolean;
  readonly only: readonly PartName[];
  readonly out: string | undefined;
  readonly scale: Scale;
}

/** The soak takes ten minutes and wants to be asked for. */
export const BY_DEFAULT: readonly PartName[] = ["http", "requests", "router", "memory", "engine"];
export const PARTS: readonly PartName[] = [...BY_DEFAULT, "soak"];

export const HELP = `npm run bench -- [options]

Measures Sojourn beside the same application without sessions and beside the libraries it replaces, on this machine.
Needs wrk and redis-server on the PATH (or SOJOURN_WRK, SOJOURN_REDIS_SERVER). Leave the machine alone meanwhile.

  --only <parts>   some of: ${PARTS.join(", ")}; with commas. Default: all but soak
  --rounds <n>     rounds of each comparison, default ${FULL.rounds}; medians are shown
  --quick          a second each and few sessions: proves that it runs, its figures mean nothing
  --out <file>     where results go. Default lab/results/bench.json, with page, chart and README; with --quick nowhere
  --render         measures nothing, writes page, chart and README from the results there are
  --help

About nine minutes; the soak (--only soak) takes twelve more. A part that is measured replaces that part of the results.
`;

/** @throws {Error} with a sentence for the user */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      help: { type: "boolean", default: false },
      render: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      rounds: { type: "string" },
      out: { type: "string" },
    },
  });
  const only = (values.only?.split(",") ?? BY_DEFAULT) as PartName[];
  for (const name of only) {
    if (!PARTS.includes(name)) throw new Error(`--only ${name}: expected some of ${PARTS.join(", ")}`);
  }
  const base = values.quick ? QUICK : FULL;
  const rounds = values.rounds === undefined ? base.rounds : Number(values.rounds);
  if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= 100)) {
    throw new Error(`--rounds ${values.rounds}: expected 1..100`);
  }
  const { help, render, quick, out } = values;
  return { help, render, quick, only, out, scale: { ...base, rounds } };
}
