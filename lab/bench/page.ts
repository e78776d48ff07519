/** The generated halves of docs/benchmarks.md and README.md: every figure comes from the results, none from a hand. */
import { ANOMALIES } from "../compare/anomalies.ts";
import type { Framework } from "../servers/application.ts";
import { nameOf } from "./chart.ts";
import { APPLICATIONS } from "./http.ts";
import {
  type AnomaliesPart,
  type Anomaly,
  type Cost,
  type HttpPart,
  median,
  type RequestsRow,
  type Results,
  ratio,
  type Taken,
  type Workload,
} from "./results.ts";
import { engineRatio, FRAMEWORK_NAMES, httpRatio, roundsOf, verdicts } from "./targets.ts";

export function pageBlock(results: Results): string {
  const { http, requests, router, memory, engine, soak, anomalies } = results;
  return [
    targets(results),
    http && httpSection(http),
    requests && requestsSection(results),
    router && routerSection(results),
    memory && memorySection(results),
    engine && engineSection(results),
    soak && soakSection(results),
    anomalies && anomaliesSection(anomalies),
  ]
    .filter((section) => section !== undefined)
    .join("\n\n");
}

/** A few lines for somebody who will not read the page. */
export function readmeBlock({ http, memory, requests }: Results): string {
  if (http === undefined) return "";
  const cell = (framework: Framework, of: "memory" | "redis", to: "none" | "connect-redis") => {
    const found = httpRatio(http, framework, to === "none" ? "read" : "mix", of, to);
    // Nothing to compare with: node:http has no session library of its own.
    return Number.isNaN(found) ? "" : `${found.toFixed(2)} ×`;
  };
  const rows = (Object.keys(APPLICATIONS) as Framework[]).map((framework) => [
    FRAMEWORK_NAMES[framework],
    cell(framework, "memory", "none"),
    cell(framework, "redis", "connect-redis"),
  ]);
  const more = [
    requests?.rows.some(isOurs) &&
      `A write sends one attribute (${addedBytes(requests)} bytes), not the session.`,
    memory &&
      `A session of ${memory.attributes} × ${memory.attributeBytes} B takes ${kb(median(memory.bytesPerSession))} KB of memory.`,
    "[How each figure was taken](docs/benchmarks.md); `npm run bench` takes them on your machine.",
  ];
  return [
    table(
      ["requests/s", "in memory ÷ no sessions (reads)", "on Redis ÷ the library it replaces (90/10)"],
      rows,
    ),
    "",
    more.filter(Boolean).join("\n"),
  ].join("\n");
}

function targets(results: Results): string {
  const rows = verdicts(results).map(({ name, found, target, isReached }) => [
    name,
    found,
    target,
    isReached ? "yes" : "**no**",
  ]);
  return `## What had to be reached\n\n${table(["", "found", "target", "reached"], rows)}`;
}

function httpSection(http: HttpPart): string {
  const { taken, connections, secondsPerRound, sessions, sessionBytes } = http;
  const rounds = http.series[0]?.rounds.length ?? 0;
  const tables = (Object.keys(APPLICATIONS) as Framework[]).map((framework) => {
    const rows = APPLICATIONS[framework].map((kind) => [
      nameOf(framework, kind),
      ...(["read", "mix"] as const).flatMap((workload) => cells(http, framework, workload, kind)),
    ]);
    return table(
      [FRAMEWORK_NAMES[framework], "reads/s", "CPU µs", "÷ none", "90/10 /s", "CPU µs", "÷ none", "p99 ms"],
      rows,
    );
  });
  return `## The same application with and without sessions

![requests per second with and without sessions](benchmarks.svg)

Each request reads two small attributes and answers them as JSON; in *90/10* every tenth changes one. ${connections} connections,
${sessions.toLocaleString("en")} visitors drawn at random (N), ${sessionBytes.toLocaleString("en")} bytes a session, ${secondsPerRound} s a load, ${rounds} rounds.
*CPU µs* is user and system time of the application's process per request, the steadier figure; *÷ none* compares
requests/s with the application without sessions in the same round, and is the median of the rounds.

${tables.join("\n\n")}

${where(taken)}`;
}

function cells(
  http: HttpPart,
  framework: Framework,
  workload: Workload,
  kind: Parameters<typeof roundsOf>[3],
) {
  const rounds = roundsOf(http, framework, workload, kind);
  return [
    number(median(rounds.map(({ requestsPerS }) => requestsPerS))),
    median(rounds.map(({ cpuMicros }) => cpuMicros)).toFixed(0),
    httpRatio(http, framework, workload, kind, "none").toFixed(2),
    ...(workload === "mix" ? [median(rounds.map(({ p99Ms }) => p99Ms)).toFixed(1)] : []),
  ];
}

function requestsSection({ requests }: Results): string {
  const { rows, attributeBytes, taken, requests: counted } = requests!;
  const cost = ({ commands, bytesUp, bytesDown }: Cost) =>
    `${commands.toFixed(2)}: ${bytesUp.toFixed(0)} ↑ ${bytesDown.toFixed(0)} ↓`;
  return `## What a request costs Redis

Commands, and bytes to Redis (↑) and back (↓), for each request: counted by a proxy between application and Redis that knows
commands by their framing, ${number(counted)} requests of each kind, one after another. *Write* reads the session and changes one attribute
of ${attributeBytes} bytes, so the write itself is the difference to *read*. Not counted: logins, heartbeats, the first return of a session
(which confirms it), and the touch that at most once a minute moves a session's idle deadline.

${table(
  ["", "no session", "read", "write"],
  rows.map(({ framework, sessions, anonymous, read, write }) => [
    `${FRAMEWORK_NAMES[framework]}, ${nameOf(framework, sessions)}`,
    cost(anonymous),
    cost(read),
    cost(write),
  ]),
)}

With \`rolling: false\` @fastify/session never moves a deadline: its sessions end while they are being read, which is why it needs
one command where express-session needs two.

${where(taken)}`;
}

function routerSection({ router }: Results): string {
  const { plain, router: ours, connections, taken } = router!;
  const row = (name: string, rounds: typeof plain) => [
    name,
    number(median(rounds.map(({ requestsPerS }) => requestsPerS))),
    median(rounds.map(({ cpuMicros }) => cpuMicros)).toFixed(0),
    median(rounds.map(({ p99Ms }) => p99Ms)).toFixed(1),
  ];
  const cpu = (rounds: typeof plain) => rounds.map(({ cpuMicros }) => cpuMicros);
  return `## The router

Beside a proxy of \`node:http\` and undici's \`Pool.dispatch\` that does hop-by-hop and forwarding fields right and nothing else. Both before
the same server, ${connections} connections, ${plain.length} rounds by turns. By CPU per request the ratio is ${ratio(cpu(plain), cpu(ours)).toFixed(2)}.

${table(["", "requests/s", "CPU µs", "p99 ms"], [row("plain proxy", plain), row("router", ours)])}

${where(taken)}`;
}

function memorySection({ memory }: Results): string {
  const { sessions, attributes, attributeBytes, bytesPerSession, taken } = memory!;
  return `## Memory

(Resident set with ${number(sessions)} sessions − empty) ÷ sessions, after collecting garbage, each round in a fresh process: ${bytesPerSession.map((bytes) => bytes.toFixed(0)).join(", ")} bytes
for ${attributes} attributes of ${attributeBytes} bytes each; every second session belongs to a principal of its own.

${where(taken)}`;
}

function engineSection({ engine }: Results): string {
  const { series, callers, taken } = engine!;
  const NAMES = {
    "session-server": "session server",
    redis: "redis-server through our driver",
    "redis-commands": "redis-server, plain GET and SET of the whole session",
  };
  const rows = series.map(({ store, operation, rounds }) => [
    NAMES[store],
    operation,
    number(median(rounds.map(({ perS }) => perS))),
    median(rounds.map(({ clientCpuMicros }) => clientCpuMicros)).toFixed(1),
    store === "session-server" ? "" : engineRatio(series, operation, store).toFixed(2),
  ]);
  return `## One session server beside one redis-server

${callers} callers in one process that each wait for one answer before they ask again; no HTTP, no TLS on either side. Reads fetch a session,
writes change one attribute of it. The plain commands are the least that any library can do; they merge nothing and know no deadlines.

${table(["", "", "calls/s", "client CPU µs", "session server ÷ it"], rows)}

${where(taken)}`;
}

function soakSection({ soak }: Results): string {
  const { sessions, requestsPerS, seconds, requests, loop, p50Ms, p99Ms, taken } = soak!;
  const mb = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MB`;
  return `## A long time

${number(sessions)} sessions in one process that also answers for them (node:http), ${number(requestsPerS)} requests/s for ${number(seconds)} s whether or not answers come in time:
89 % reads, 10 % writes, ½ % logouts, ½ % logins. ${number(requests)} requests, ${number(soak!.failed)} failed. Event-loop delay (sampled every 10 ms,
which it contains): median ${loop.p50Ms.toFixed(1)} ms, p99 ${loop.p99Ms.toFixed(1)} ms, max ${loop.maxMs.toFixed(0)} ms. Answers, from the moment a request was due: median ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms.
Resident memory ${mb(soak!.residentBytesBefore)} before, ${mb(soak!.residentBytesAfter)} after.

${where(taken)}`;
}

function anomaliesSection({ tries, rows, taken }: AnomaliesPart): string {
  const kinds = Object.keys(ANOMALIES) as Anomaly[];
  const explained = kinds.map((kind) => `- **${ANOMALIES[kind].title}**: ${ANOMALIES[kind].how}`);
  const counts = rows.map(({ name, found }) => [
    name,
    ...kinds.map((kind) => `${found[kind]} of ${tries[kind]}`),
  ]);
  return `## What visitors of two servers see

\`npm run compare -- anomalies\`: two application servers and one store for each library, the same requests for all, one run.

${explained.join("\n")}

${table(["", ...kinds.map((kind) => ANOMALIES[kind].title)], counts)}

${where(taken)}`;
}

function where({ at, machine, versions, loadAverage, seconds }: Taken): string {
  const packages = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `<sub>Taken ${at.slice(0, 10)} in ${seconds} s on ${machine.cores} cores (${machine.cpu}), ${machine.memoryGb} GB, ${machine.os}; load average at the beginning ${loadAverage}. ${packages.join(", ")}.</sub>`;
}

/** Name and value of one attribute, and all that is sent around them. */
function addedBytes({ rows }: NonNullable<Results["requests"]>): string {
  const ours = rows.filter(isOurs);
  return Math.max(...ours.map(({ read, write }) => write.bytesUp - read.bytesUp)).toFixed(0);
}

function isOurs({ sessions }: RequestsRow): boolean {
  return sessions === "redis";
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const align = head.map((_, index) => (index === 0 ? "---" : "---:"));
  return [line(head), line(align), ...rows.map(line)].join("\n");
}

function number(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function kb(bytes: number): string {
  return (bytes / 1_000).toFixed(1);
}
