import { describe, test } from "vitest";
import { FakeClock } from "../testing/fake-clock.ts";
import { type OpenedStore, registerConformance } from "../testing/store-conformance.ts";
import { type MemoryStoreOptions, memoryStore } from "./memory.ts";

async function open(options: MemoryStoreOptions = {}): Promise<OpenedStore> {
  const clock = new FakeClock();
  const store = memoryStore({ clock, ...options });
  return {
    store,
    clock: {
      nowMs: () => clock.nowMs(),
      advance: async (ms) => clock.advance(ms),
      stepWall: (ms) => clock.stepWall(ms),
    },
    close: () => store.close(),
  };
}

registerConformance(
  { test, describe },
  { name: "memory", open: () => open(), openSmall: () => open({ maxBytes: 400_000 }) },
);
