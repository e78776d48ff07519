/** Encryption changes nothing that the contract promises: the whole suite, over memory and over a session server. */
import { describe, test } from "vitest";
import { FakeClock } from "../testing/fake-clock.ts";
import { type OpenedStore, registerConformance } from "../testing/store-conformance.ts";
import { encryptedStore } from "./encrypted.ts";
import { memoryStore } from "./memory.ts";

async function open(maxBytes?: number): Promise<OpenedStore> {
  const clock = new FakeClock();
  const inner = memoryStore({ clock, ...(maxBytes === undefined ? {} : { maxBytes }) });
  const keys = [{ id: "2026-11", key: "a key for the conformance suite, long enough" }];
  return {
    store: encryptedStore(inner, { keys }),
    second: encryptedStore(inner, { keys }),
    clock: {
      nowMs: () => clock.nowMs(),
      advance: async (ms) => clock.advance(ms),
      stepWall: (ms) => clock.stepWall(ms),
    },
    close: () => inner.close(),
  };
}

registerConformance(
  { test, describe },
  { name: "encrypted memory", open: () => open(), openSmall: () => open(400_000), pagingSessions: 5_000 },
);
