/**
 * The same application with and without sessions: requests/s and CPU per request. For each framework its applications
 * run side by side, one load at a time, their order turning from round to round, so that whatever else the machine does
 * hits all alike; what is compared is compared within its round.
 */
import { startRedis } from "@sojourn/testbed";
import type { Framework, SessionsKind } from "../servers/application.ts";
import type { Usage } from "../servers/child.ts";
import { CONTENTS_BYTES } from "../servers/contents.ts";
import { type Started, start } from "../servers/started.ts";
import { type HttpRound, type HttpSeries, median, ratio, type Workload } from "./results.ts";
import { columns, type Part, type Progress, type Scale } from "./run.ts";
import { Visitors } from "./visitors.ts";
import { drive } from "./wrk.ts";

const CONNECTIONS = 32;

export const APPLICATIONS: Readonly<Record<Framework, readonly SessionsKind[]>> = {
  express: ["none", "memory", "session-server", "redis", "express-session-memory", "connect-redis"],
  fastify: ["none", "memory", "session-server", "redis", "connect-redis"],
  node: ["none", "memory", "session-server", "redis"],
};
/** Of ten requests one changes its session. */
const WRITE_EACH: Readonly<Record<Workload, number>> = { read: 0, mix: 10 };
const WORKLOADS: readonly Workload[] = ["read", "mix"];
/** An application without sessions is sent a cookie of the same length, too. */
const IGNORED = `sid=${"A".repeat(43)}.${"B".repeat(43)}`;
/** Starting, logging in and warming up one application. */
const PREPARING_S = 4;

interface Entry {
  readonly framework: Framework;
  readonly sessions: SessionsKind;
  readonly process: Started;
  readonly cookies: readonly string[];
  readonly rounds: Readonly<Record<Workload, HttpRound[]>>;
}

export const httpPart: Part<"http"> = {
  name: "http",
  title: "the same application with and without sessions",
  estimatedS({ rounds, seconds }) {
    const applications = Object.values(APPLICATIONS).flat().length;
    return applications * (PREPARING_S + rounds * WORKLOADS.length * (seconds + 0.1));
  },
  async run(scale, progress) {
    const frameworks = Object.keys(APPLICATIONS) as Framework[];
    const series: HttpSeries[] = [];
    for (const [index, framework] of frameworks.entries()) {
      series.push(...(await measured(framework, scale, progress, index / frameworks.length)));
    }
    return {
      connections: CONNECTIONS,
      secondsPerRound: scale.seconds,
      sessions: scale.sessions,
      sessionBytes: CONTENTS_BYTES,
      series,
    };
  },
};

async function measured(
  framework: Framework,
  scale: Scale,
  progress: Progress,
  done: number,
): Promise<HttpSeries[]> {
  const redis = await startRedis();
  const server = await start("session-server");
  const entries: Entry[] = [];
  try {
    for (const sessions of APPLICATIONS[framework]) {
      const store = sessions === "session-server" ? `127.0.0.1:${server.port}` : redis.url;
      const process = await start("application", { framework, sessions, store });
      const cookies =
        sessions === "none" ? [IGNORED] : (await Visitors.of(process.origin, scale.sessions)).cookies;
      const entry = { framework, sessions, process, cookies, rounds: { read: [], mix: [] } };
      entries.push(entry);
      // Compilers, too, need a while.
      await load(entry, "mix", scale.seconds);
      progress.step(done, `${framework}, ${sessions}: warm`);
    }
    for (let round = 0; round < scale.rounds; round++) {
      for (const workload of WORKLOADS) {
        for (const entry of turned(entries, round)) {
          entry.rounds[workload].push(await load(entry, workload, scale.seconds));
        }
      }
      const ofPart = (0.2 + (0.8 * (round + 1)) / scale.rounds) / Object.keys(APPLICATIONS).length;
      progress.step(done + ofPart, `${framework}: round ${round + 1} of ${scale.rounds}`);
    }
    for (const workload of WORKLOADS) table(entries, workload, progress);
  } finally {
    await Promise.all(entries.map(({ process }) => process.stop()));
    await server.stop();
    await redis.stop();
  }
  return entries.flatMap(({ sessions, rounds }) =>
    WORKLOADS.map((workload) => ({ framework, sessions, workload, rounds: rounds[workload] })),
  );
}

async function load({ process, cookies }: Entry, workload: Workload, seconds: number): Promise<HttpRound> {
  const before = await process.ask<Usage>("usage");
  const { origin } = process;
  const found = await drive({
    origin,
    connections: CONNECTIONS,
    seconds,
    cookies,
    writeEach: WRITE_EACH[workload],
  });
  const after = await process.ask<Usage>("usage");
  return {
    requestsPerS: found.requestsPerS,
    cpuMicros: (after.cpuMicros - before.cpuMicros) / found.requests,
    p50Ms: found.p50Ms,
    p99Ms: found.p99Ms,
  };
}

/** Everybody begins, ends and follows everybody: the place in a round must not decide. */
function turned(entries: readonly Entry[], round: number): readonly Entry[] {
  const at = (round >> 1) % entries.length;
  const turned = [...entries.slice(at), ...entries.slice(0, at)];
  return round % 2 === 0 ? turned : turned.reverse();
}

function table(entries: readonly Entry[], workload: Workload, progress: Progress): void {
  const title = workload === "read" ? "reads" : "90/10";
  progress.row(
    columns([`${entries[0]!.framework}, ${title}`, -32], ["requests/s", 11], ["CPU µs", 8], ["÷ none", 7]),
  );
  const base = entries[0]!.rounds[workload].map(({ requestsPerS }) => requestsPerS);
  for (const { sessions, rounds } of entries) {
    const perS = rounds[workload].map(({ requestsPerS }) => requestsPerS);
    progress.row(
      columns(
        [`  ${sessions}`, -32],
        [median(perS).toFixed(0), 11],
        [median(rounds[workload].map(({ cpuMicros }) => cpuMicros)).toFixed(1), 8],
        [ratio(perS, base).toFixed(2), 7],
      ),
    );
  }
}
