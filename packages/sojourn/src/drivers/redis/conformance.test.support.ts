/**
 * The store contract against real servers. Redis runs on real time, so cases wait; each has a prefix of its own in one
 * server, which is as good as an empty one.
 */
import { randomBytes } from "node:crypto";
import { systemClock } from "../../core/clock.ts";
import type { ConformanceHarness, OpenedStore } from "../../testing/store-conformance.ts";
import { type RedisStoreOptions, redisStore } from "./index.ts";

/** The caller's wall clock can be stepped; the server's cannot, and need not: only it decides what has expired. */
class SteppedClock {
  stepMs = 0;
  readonly nowMs = () => systemClock.nowMs() + this.stepMs;
  readonly monotonicMs = systemClock.monotonicMs;
  readonly setTimer = systemClock.setTimer;
  readonly randomBytes = systemClock.randomBytes;
}

/** @param target  makes what two stores of one case connect with */
export async function openStores(
  target: () => Promise<{
    readonly options: RedisStoreOptions;
    readonly second?: RedisStoreOptions;
    readonly close?: () => Promise<void>;
  }>,
): Promise<OpenedStore> {
  const { options, second = options, close } = await target();
  const clock = new SteppedClock();
  const shared = { clock, timeoutMs: 10_000, prefix: `t${randomBytes(6).toString("hex")}` };
  const stores = [options, second].map((each) =>
    redisStore({ onDiagnostic: () => undefined, ...each, ...shared }),
  );
  return {
    store: stores[0]!,
    second: stores[1]!,
    clock: {
      nowMs: clock.nowMs,
      advance: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      stepWall: (ms) => {
        clock.stepMs += ms;
      },
    },
    async close() {
      await Promise.all(stores.map((store) => store.close()));
      await close?.();
    },
  };
}

/** What every real-time harness has in common. On two busy cores a timer was 127 ms late. */
export const REAL_TIME: Pick<ConformanceHarness, "toleranceMs" | "pagingSessions" | "hangMs"> = {
  toleranceMs: 150,
  pagingSessions: 5_000,
  hangMs: 20_000,
};
