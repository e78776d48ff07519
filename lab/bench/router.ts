/**
 * Router ÷ plain proxy: what affinity, fail-over, health and limits cost on top of forwarding. Both in front of the same
 * server, by turns.
 */
import type { Usage } from "../servers/child.ts";
import { type Started, start } from "../servers/started.ts";
import { type HttpRound, median, ratio } from "./results.ts";
import { columns, type Part } from "./run.ts";
import { drive } from "./wrk.ts";

const CONNECTIONS = 64;
/** Two by two they take less time than the applications, and the differences are smaller. */
const ROUNDS_TIMES = 2;

export const routerPart: Part<"router"> = {
  name: "router",
  title: "the router and a plain proxy",
  estimatedS: ({ rounds, seconds }) => 5 + rounds * ROUNDS_TIMES * 2 * (seconds + 0.1),
  async run(scale, progress) {
    const rounds = { plain: [] as HttpRound[], router: [] as HttpRound[] };
    const backend = await start("backend");
    const proxies = {
      plain: await start("plain-proxy", { upstream: backend.origin }),
      router: await start("router", { upstream: backend.origin }),
    };
    try {
      // A visitor with a session, and the router's cookie once it has been given.
      const given = await fetch(proxies.router.origin);
      await given.text();
      const affinity = given.headers.get("set-cookie")?.split(";", 1)[0];
      const cookies = [`sid=abcdefghijklmnop; ${affinity}`];
      for (const proxy of Object.values(proxies)) await load(proxy, cookies, 1);
      const count = scale.rounds * ROUNDS_TIMES;
      for (let round = 0; round < count; round++) {
        const order = round % 2 === 0 ? (["plain", "router"] as const) : (["router", "plain"] as const);
        for (const name of order) rounds[name].push(await load(proxies[name], cookies, scale.seconds));
        progress.step((round + 1) / count, `round ${round + 1} of ${count}`);
      }
    } finally {
      await Promise.all([backend, ...Object.values(proxies)].map((process) => process.stop()));
    }
    const perS = (of: readonly HttpRound[]) => of.map(({ requestsPerS }) => requestsPerS);
    for (const [name, of] of Object.entries(rounds)) {
      const cpu = median(of.map(({ cpuMicros }) => cpuMicros));
      progress.row(
        columns(
          [name, -32],
          [median(perS(of)).toFixed(0), 11],
          [cpu.toFixed(1), 8],
          [ratio(perS(of), perS(rounds.plain)).toFixed(2), 7],
        ),
      );
    }
    return { connections: CONNECTIONS, secondsPerRound: scale.seconds, ...rounds };
  },
};

async function load(proxy: Started, cookies: readonly string[], seconds: number): Promise<HttpRound> {
  const before = await proxy.ask<Usage>("usage");
  const { origin } = proxy;
  const found = await drive({ origin, connections: CONNECTIONS, seconds, cookies, writeEach: 0 });
  const after = await proxy.ask<Usage>("usage");
  const { requestsPerS, p50Ms, p99Ms } = found;
  return { requestsPerS, cpuMicros: (after.cpuMicros - before.cpuMicros) / found.requests, p50Ms, p99Ms };
}
