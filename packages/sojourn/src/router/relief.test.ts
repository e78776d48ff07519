/** Hot-spot relief over time: rates, windows and the memory of moves together, on a clock that only counts. */
import { expect, test } from "vitest";
import { decide, type ServerView } from "./decision.ts";
import { Rate } from "./rate.ts";
import { MoveMemory, RELIEF_WINDOW_MS } from "./relief.ts";
import { hash32 } from "./rendezvous.ts";

const STEP_MS = 100;
const RELIEF = { factor: 1.25, share: 0.1, requestsPerSMin: 10 };

interface Simulated {
  readonly loadOverMean: number[];
  readonly movesOf: Map<number, number>;
}

/** All sessions begin on one of three servers; each asks `perS` times a second and obeys the cookie it is given. */
function simulate(sessions: number, perS: number, seconds: number): Simulated {
  const rates = new Map(["a", "b", "c"].map((id) => [id, new Rate()]));
  const moves = new MoveMemory(600_000);
  const homes = new Map(Array.from({ length: sessions }, (_, i) => [hash32(`session ${i}`), "a"]));
  const movesOf = new Map<number, number>();
  const counts = new Map([...rates.keys()].map((id) => [id, 0]));
  for (let nowMs = 0; nowMs < seconds * 1_000; nowMs += STEP_MS) {
    let turn = 0;
    for (const [key, home] of homes) {
      // Spread over time: in each step another part of the sessions asks.
      if ((turn++ * 7 + nowMs / STEP_MS) % (1_000 / STEP_MS / perS) >= 1) continue;
      const servers = [...rates].map(
        ([id, rate]): ServerView => ({
          id,
          weight: 1,
          usable: "yes",
          leaving: false,
          inFlight: 0,
          requestsPerS: rate.perS,
        }),
      );
      const decision = decide(
        {
          servers,
          affinity: ["cookie"],
          balance: "least-loaded",
          turn: 0,
          relief: RELIEF,
          reliefWindow: Math.floor(nowMs / RELIEF_WINDOW_MS),
          moveOf: (keyHash) => moves.moveOf(keyHash, nowMs),
        },
        {
          hints: { cookie: { serverId: home, stale: false }, clone: null, sessionHash: key, addressHash: 1 },
          affinityOff: false,
          excluded: [],
        },
        () => 0.5,
      )!;
      if (decision.moved !== null) {
        moves.remember(key, decision.moved, nowMs);
        movesOf.set(key, (movesOf.get(key) ?? 0) + 1);
      }
      homes.set(key, decision.serverId);
      rates.get(decision.serverId)!.count();
      if (nowMs >= (seconds - 10) * 1_000) counts.set(decision.serverId, counts.get(decision.serverId)! + 1);
    }
    for (const rate of rates.values()) rate.tick(STEP_MS);
  }
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  return { loadOverMean: [...counts.values()].map((count) => (count * 3) / total), movesOf };
}

test("three servers with all sessions on one are even within three minutes, and no session moved twice", () => {
  for (const [sessions, perS] of [
    [300, 1],
    [60, 10],
    [1_000, 0.5],
  ] as const) {
    const { loadOverMean, movesOf } = simulate(sessions, perS, 180);
    expect(Math.max(...loadOverMean), `${sessions} × ${perS}/s`).toBeLessThan(1.3);
    expect(Math.min(...loadOverMean), `${sessions} × ${perS}/s`).toBeGreaterThan(0.75);
    expect(Math.max(...movesOf.values())).toBe(1);
  }
});

test("a handful of requests moves nobody", () => {
  expect(simulate(5, 1, 120).movesOf.size).toBe(0);
});
