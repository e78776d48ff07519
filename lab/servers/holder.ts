/** Fills a memory store and tells what a session costs as the operating system counts it. Needs `--expose-gc`. */
import { createHash } from "node:crypto";
import { memoryStore } from "sojourn";
import type { NewSession, SessionKey } from "sojourn/store";
import { beChild } from "./child.ts";

export interface HolderConfig {
  readonly sessions: number;
  readonly attributes: number;
  readonly attributeBytes: number;
}

export interface Held {
  readonly bytesPerSession: number;
}

let held: Held;

beChild<HolderConfig>(
  async (config) => {
    // Code and its first garbage are not the sessions'.
    await filled(3_000, config);
    await settled();
    const before = process.memoryUsage.rss();
    const store = await filled(config.sessions, config);
    await settled();
    held = { bytesPerSession: (process.memoryUsage.rss() - before) / store.stats().sessions };
    return 0;
  },
  { held: () => held },
);

async function filled(sessions: number, { attributes, attributeBytes }: HolderConfig) {
  const store = memoryStore({ maxBytes: 4e9 });
  for (let index = 0; index < sessions; index++) {
    const session: NewSession = {
      key: createHash("sha256").update(`${sessions}-${index}`).digest("base64url") as SessionKey,
      attributes: new Map(
        Array.from({ length: attributes }, (_, n) => [
          `attribute${n}`,
          Buffer.alloc(attributeBytes, index + n),
        ]),
      ),
      // Every second visitor has logged in.
      ...(index % 2 === 0 ? { principal: { principal: `user-${index}`, ageMs: 0 } } : {}),
      expiresAtMs: Date.now() + 1_800_000,
      absoluteExpiresAtMs: Date.now() + 43_200_000,
    };
    await store.create(session);
  }
  return store;
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 6; turn++) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
