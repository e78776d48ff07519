/** What a run leaves behind: every round of every part, and where and when it was taken. `lab/results/bench.json`. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { dirname } from "node:path";
import { redisServerPath } from "@sojourn/testbed";
import type { Framework, SessionsKind } from "../servers/application.ts";
import type { LoopDelay } from "../servers/child.ts";

export interface Taken {
  readonly at: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryGb: number;
    readonly os: string;
  };
  readonly versions: Readonly<Record<string, string>>;
  /** Of the minute before: what else the machine was doing. */
  readonly loadAverage: number;
  readonly seconds: number;
}

export interface HttpRound {
  readonly requestsPerS: number;
  /** Of the application's process, user and system, per request. */
  readonly cpuMicros: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export type Workload = "read" | "mix";

export interface HttpSeries {
  readonly framework: Framework;
  readonly sessions: SessionsKind;
  readonly workload: Workload;
  readonly rounds: readonly HttpRound[];
}

export interface HttpPart {
  readonly taken: Taken;
  readonly connections: number;
  readonly secondsPerRound: number;
  readonly sessions: number;
  readonly sessionBytes: number;
  readonly series: readonly HttpSeries[];
}

export interface Cost {
  /** Redis commands for each request. */
  readonly commands: number;
  /** Application → store and back, per request. */
  readonly bytesUp: number;
  readonly bytesDown: number;
}

export interface RequestsRow {
  readonly framework: Framework;
  readonly sessions: SessionsKind;
  readonly anonymous: Cost;
  readonly read: Cost;
  /** Reads the session and changes one attribute. */
  readonly write: Cost;
}

export interface RequestsPart {
  readonly taken: Taken;
  readonly requests: number;
  /** Name and value of the attribute that a write changes. */
  readonly attributeBytes: number;
  readonly rows: readonly RequestsRow[];
}

export interface RouterPart {
  readonly taken: Taken;
  readonly connections: number;
  readonly secondsPerRound: number;
  readonly plain: readonly HttpRound[];
  readonly router: readonly HttpRound[];
}

export interface MemoryPart {
  readonly taken: Taken;
  readonly sessions: number;
  readonly attributes: number;
  readonly attributeBytes: number;
  readonly bytesPerSession: readonly number[];
}

export interface EngineRound {
  readonly perS: number;
  readonly clientCpuMicros: number;
}

export interface EngineSeries {
  readonly store: "session-server" | "redis" | "redis-commands";
  readonly operation: "read" | "write";
  readonly rounds: readonly EngineRound[];
}

export interface EnginePart {
  readonly taken: Taken;
  readonly callers: number;
  readonly msPerRound: number;
  readonly series: readonly EngineSeries[];
}

export interface SoakPart {
  readonly taken: Taken;
  readonly sessions: number;
  readonly requestsPerS: number;
  readonly seconds: number;
  readonly requests: number;
  readonly failed: number;
  readonly loop: LoopDelay;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly residentBytesBefore: number;
  readonly residentBytesAfter: number;
}

export type Anomaly = "lostUpdates" | "undoneLogouts" | "staleRedirects";

/** Of `npm run compare -- anomalies`. */
export interface AnomaliesPart {
  readonly taken: Taken;
  readonly tries: Readonly<Record<Anomaly, number>>;
  readonly rows: readonly {
    readonly name: string;
    readonly isOurs: boolean;
    readonly found: Readonly<Record<Anomaly, number>>;
  }[];
}

export interface Results {
  http?: HttpPart;
  requests?: RequestsPart;
  router?: RouterPart;
  memory?: MemoryPart;
  engine?: EnginePart;
  soak?: SoakPart;
  anomalies?: AnomaliesPart;
}

/** In the repository. */
export const RESULTS_FILE = "lab/results/bench.json";

export function readResults(path: string): Results {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Results;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw error;
  }
}

export function writeResults(path: string, results: Results): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(results, rounded, 1)}\n`);
}

/** Digits that mean nothing make differences that mean nothing. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

/** NaN of nothing. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The medians of the ratios of rounds that ran side by side. */
export function ratio(of: readonly number[], to: readonly number[]): number {
  return median(of.slice(0, to.length).map((value, round) => value / to[round]!));
}

export function taken(sinceMs: number, loadAverage: number): Taken {
  const processors = cpus();
  return {
    at: new Date().toISOString(),
    machine: {
      cpu: processors[0]?.model.trim() ?? "unknown",
      cores: processors.length,
      memoryGb: Math.round(totalmem() / 2 ** 30),
      os: `${type()} ${release()}`,
    },
    versions: versions(),
    loadAverage,
    seconds: Math.round((performance.now() - sinceMs) / 1_000),
  };
}

export function loadNow(): number {
  return Math.round((loadavg()[0] ?? 0) * 100) / 100;
}

const PACKAGES = "express fastify undici express-session connect-redis @fastify/session @redis/client".split(
  " ",
);

function versions(): Record<string, string> {
  const require = createRequire(import.meta.url);
  const found: Record<string, string> = { node: process.versions.node };
  const redis = redisServerPath();
  if (redis)
    found["redis-server"] =
      /v=([\d.]+)/.exec(execFileSync(redis, ["--version"], { encoding: "utf8" }))?.[1] ?? "";
  for (const name of PACKAGES) {
    const manifest = require.resolve.paths(name)?.map((folder) => `${folder}/${name}/package.json`) ?? [];
    for (const path of manifest) {
      try {
        found[name] ??= (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;
      } catch {}
    }
  }
  return found;
}
