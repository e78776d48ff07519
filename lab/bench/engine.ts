/**
 * One session server beside one redis-server: the same calls through the same contract, no HTTP. And, so that nobody takes
 * our driver's cost for Redis's, plain GET and SET of a whole session by the client library alone.
 */
import { startRedis } from "@sojourn/testbed";
import type { CallerConfig, CallsMade } from "../servers/caller.ts";
import { type Started, start } from "../servers/started.ts";
import { type EngineRound, type EngineSeries, median } from "./results.ts";
import { columns, type Part } from "./run.ts";

const CALLERS = 64;
const STORES: readonly EngineSeries["store"][] = ["session-server", "redis", "redis-commands"];
const OPERATIONS = ["read", "write"] as const;

export const enginePart: Part<"engine"> = {
  name: "engine",
  title: `one session server beside one redis-server, ${CALLERS} callers`,
  estimatedS: ({ rounds, seconds }) => 8 + rounds * STORES.length * OPERATIONS.length * seconds,
  async run({ rounds, seconds, sessions }, progress) {
    const redis = await startRedis();
    const server = await start("session-server");
    const callers: Partial<Record<EngineSeries["store"], Started>> = {};
    const series: (EngineSeries & { readonly rounds: EngineRound[] })[] = [];
    const msPerRound = seconds * 1_000;
    try {
      for (const store of STORES) {
        const url = store === "session-server" ? `127.0.0.1:${server.port}` : redis.url;
        const config: CallerConfig = { store, url, sessions };
        callers[store] = await start("caller", config);
        for (const operation of OPERATIONS) {
          series.push({ store, operation, rounds: [] });
          await callers[store].ask<CallsMade>("calls", { operation, callers: CALLERS, ms: 500 });
        }
      }
      for (let round = 0; round < rounds; round++) {
        for (const one of round % 2 === 0 ? series : [...series].reverse()) {
          const asked = { operation: one.operation, callers: CALLERS, ms: msPerRound };
          const { perS, cpuMicros } = await callers[one.store]!.ask<CallsMade>("calls", asked);
          one.rounds.push({ perS, clientCpuMicros: cpuMicros });
        }
        progress.step((round + 1) / rounds, `round ${round + 1} of ${rounds}`);
      }
    } finally {
      await Promise.all(Object.values(callers).map((caller) => caller.stop()));
      await server.stop();
      await redis.stop();
    }
    for (const { store, operation, rounds: found } of series) {
      const perS = median(found.map((round) => round.perS)).toFixed(0);
      const cpu = median(found.map((round) => round.clientCpuMicros)).toFixed(1);
      progress.row(columns([`${store}, ${operation}`, -32], [`${perS}/s`, 11], [`${cpu} µs`, 12]));
    }
    return { callers: CALLERS, msPerRound, series };
  },
};
