/** What must be reached, and whether it was. Everything that is printed about a target comes from here. */
import type { Framework, SessionsKind } from "../servers/application.ts";
import {
  type Cost,
  type EngineSeries,
  type HttpPart,
  median,
  type RequestsRow,
  type Results,
  ratio,
  type Workload,
} from "./results.ts";

export interface Verdict {
  readonly name: string;
  readonly found: string;
  readonly target: string;
  readonly isReached: boolean;
}

export const FRAMEWORK_NAMES: Readonly<Record<Framework, string>> = {
  express: "Express 5",
  fastify: "Fastify 5",
  node: "node:http",
};

const MEMORY_MIN: Readonly<Record<Framework, number>> = { express: 0.85, fastify: 0.8, node: 0.75 };
const REDIS_MIN = { express: 1.5, fastify: 2 } as const;
const INCUMBENT = { express: "express-session", fastify: "@fastify/session" } as const;
const ROUTER_MIN = 0.95;
const WRITE_OVERHEAD_BYTES_MAX = 250;
const RESIDENT_BYTES_MAX = 2_600;
const ENGINE_AIM = 0.5;
const LOOP_P99_MS_MAX = 50;
const LOOP_MAX_MS_MAX = 500;
const NEVER_MORE = 0.005;

export function verdicts(results: Results): Verdict[] {
  return [
    ...httpVerdicts(results),
    ...requestVerdicts(results),
    ...routerVerdict(results),
    ...memoryVerdict(results),
    ...engineVerdicts(results),
    ...soakVerdicts(results),
  ].filter(({ found }) => !found.includes("NaN"));
}

/** Requests/s of one way to keep sessions ÷ of another, within each round. */
export function httpRatio(
  http: HttpPart,
  framework: Framework,
  workload: Workload,
  of: SessionsKind,
  to: SessionsKind,
): number {
  return ratio(perS(http, framework, workload, of), perS(http, framework, workload, to));
}

export function roundsOf(http: HttpPart, framework: Framework, workload: Workload, sessions: SessionsKind) {
  const found = http.series.find(
    (one) => one.framework === framework && one.workload === workload && one.sessions === sessions,
  );
  return found?.rounds ?? [];
}

export function engineRatio(
  series: readonly EngineSeries[],
  operation: "read" | "write",
  to: EngineSeries["store"],
) {
  const of = (store: EngineSeries["store"]) =>
    (series.find((one) => one.store === store && one.operation === operation)?.rounds ?? []).map(
      (round) => round.perS,
    );
  return ratio(of("session-server"), of(to));
}

function perS(http: HttpPart, framework: Framework, workload: Workload, sessions: SessionsKind): number[] {
  return roundsOf(http, framework, workload, sessions).map(({ requestsPerS }) => requestsPerS);
}

function httpVerdicts({ http }: Results): Verdict[] {
  if (http === undefined) return [];
  const memory = (Object.keys(MEMORY_MIN) as Framework[]).map((framework) =>
    atLeast(
      `${FRAMEWORK_NAMES[framework]}, reads: memory ÷ no sessions`,
      httpRatio(http, framework, "read", "memory", "none"),
      MEMORY_MIN[framework],
    ),
  );
  const redis = (["express", "fastify"] as const).map((framework) =>
    atLeast(
      `${FRAMEWORK_NAMES[framework]}, 90/10 on Redis: ours ÷ ${INCUMBENT[framework]} + connect-redis`,
      httpRatio(http, framework, "mix", "redis", "connect-redis"),
      REDIS_MIN[framework],
    ),
  );
  return [...memory, ...redis];
}

function requestVerdicts({ requests }: Results): Verdict[] {
  if (requests === undefined) return [];
  const ours = requests.rows.filter(({ sessions }) => sessions === "redis");
  if (ours.length === 0) return [];
  const worst = (of: (row: RequestsRow) => number) => Math.max(...ours.map(of));
  const added = (of: keyof Cost) => (row: RequestsRow) => row.write[of] - row.read[of];
  const bytesMax = requests.attributeBytes + WRITE_OVERHEAD_BYTES_MAX;
  return [
    atMost(
      "Redis commands for a request without a session",
      worst(({ anonymous }) => anonymous.commands),
      0,
    ),
    atMost(
      "Redis commands for reading the session",
      worst(({ read }) => read.commands),
      1,
    ),
    atMost("Redis commands for writing it", worst(added("commands")), 1),
    {
      name: `bytes to Redis for writing one attribute (${requests.attributeBytes} B)`,
      found: `${worst(added("bytesUp")).toFixed(0)} B`,
      target: `≤ ${bytesMax} B`,
      isReached: worst(added("bytesUp")) <= bytesMax,
    },
  ];
}

function routerVerdict({ router }: Results): Verdict[] {
  if (router === undefined) return [];
  const of = (rounds: typeof router.plain) => rounds.map(({ requestsPerS }) => requestsPerS);
  return [atLeast("router ÷ plain undici proxy", ratio(of(router.router), of(router.plain)), ROUTER_MIN)];
}

function memoryVerdict({ memory }: Results): Verdict[] {
  if (memory === undefined) return [];
  const bytes = median(memory.bytesPerSession);
  return [
    {
      name: `memory of a session (${memory.attributes} × ${memory.attributeBytes} B) at ${memory.sessions.toLocaleString("en")}`,
      found: `${bytes.toFixed(0)} B`,
      target: `≤ ${RESIDENT_BYTES_MAX} B`,
      isReached: bytes <= RESIDENT_BYTES_MAX,
    },
  ];
}

function engineVerdicts({ engine }: Results): Verdict[] {
  if (engine === undefined) return [];
  return (["read", "write"] as const).map((operation) =>
    atLeast(
      `session server ÷ redis-server, ${operation}s, ${engine.callers} callers`,
      engineRatio(engine.series, operation, "redis"),
      ENGINE_AIM,
    ),
  );
}

function soakVerdicts({ soak }: Results): Verdict[] {
  if (soak === undefined) return [];
  const what = `${soak.sessions.toLocaleString("en")} sessions, ${soak.requestsPerS.toLocaleString("en")} requests/s, ${soak.seconds} s`;
  const ms = (name: string, found: number, max: number): Verdict => ({
    name: `${what}: event loop ${name}`,
    found: `${found.toFixed(0)} ms`,
    target: `≤ ${max} ms`,
    isReached: found <= max,
  });
  return [
    ms("p99", soak.loop.p99Ms, LOOP_P99_MS_MAX),
    ms("max", soak.loop.maxMs, LOOP_MAX_MS_MAX),
    { name: `${what}: failed`, found: `${soak.failed}`, target: "0", isReached: soak.failed === 0 },
  ];
}

/** Judged as it is printed: 0.95 is 0.95. What was not measured is not judged. */
function atLeast(name: string, found: number, min: number): Verdict {
  const shown = found.toFixed(2);
  return { name, found: shown, target: `≥ ${min}`, isReached: Number(shown) >= min };
}

function atMost(name: string, found: number, max: number): Verdict {
  return { name, found: found.toFixed(2), target: `≤ ${max}`, isReached: found <= max + NEVER_MORE };
}
