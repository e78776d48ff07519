/** A client of one store, without HTTP: callers that each wait for one answer before they ask again. */
import { createHash } from "node:crypto";
import { createClient } from "@redis/client";
import type { SessionKey, SessionStore } from "sojourn/store";
import { beChild } from "./child.ts";
import { CONTENTS_BYTES, newContents } from "./contents.ts";
import { type SojournKind, storeOf } from "./sojourn.ts";

export interface CallerConfig {
  /** "redis-commands": GET and SET of the whole session, the least that any Redis library can do. */
  readonly store: SojournKind | "redis-commands";
  readonly url: string;
  readonly sessions: number;
}

export interface CallsAsked {
  readonly operation: "read" | "write";
  readonly callers: number;
  readonly ms: number;
}

export interface CallsMade {
  readonly perS: number;
  /** Of this process. */
  readonly cpuMicros: number;
}

interface Target {
  read(index: number): Promise<unknown>;
  write(index: number): Promise<unknown>;
}

let target: Target;
let count: number;

beChild<CallerConfig>(
  async ({ store, url, sessions }) => {
    count = sessions;
    target =
      store === "redis-commands"
        ? await commands(url, sessions)
        : await calls(await storeOf(store, url), sessions);
    return 0;
  },
  { calls: run },
);

async function run({ operation, callers, ms }: CallsAsked): Promise<CallsMade> {
  let made = 0;
  const before = process.cpuUsage();
  const startedMs = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      for (let turn = 0; performance.now() - startedMs < ms; turn++, made++) {
        await target[operation]((caller * 7919 + turn) % count);
      }
    }),
  );
  const elapsedMs = performance.now() - startedMs;
  const { user, system } = process.cpuUsage(before);
  return { perS: (made * 1_000) / elapsedMs, cpuMicros: (user + system) / made };
}

async function calls(store: SessionStore, sessions: number): Promise<Target> {
  const keys = Array.from(
    { length: sessions },
    (_, index) => createHash("sha256").update(`caller-${index}`).digest("base64url") as SessionKey,
  );
  const attributes = new Map(
    Object.entries(newContents()).map(([name, value]) => [
      name,
      Buffer.from(`\u0001${JSON.stringify(value)}`),
    ]),
  );
  for (const key of keys) {
    const expiresAtMs = Date.now() + 1_800_000;
    await store.create({ key, attributes, expiresAtMs, absoluteExpiresAtMs: Date.now() + 43_200_000 });
  }
  let writes = 0;
  return {
    async read(index) {
      if ((await store.read(keys[index]!)) === null) throw new Error("A session of the benchmark is gone");
    },
    async write(index) {
      const set = new Map([["visits", Buffer.from(`\u0001${++writes}`)]]);
      const result = await store.apply(keys[index]!, { set, expiresAtMs: Date.now() + 1_800_000 });
      if (result.status !== "applied") throw new Error(`A write of the benchmark was ${result.status}`);
    },
  };
}

async function commands(url: string, sessions: number): Promise<Target> {
  const client = createClient({ url });
  client.on("error", (error) => process.stderr.write(`redis: ${error.message}\n`));
  await client.connect();
  const text = "x".repeat(CONTENTS_BYTES);
  for (let index = 0; index < sessions; index++) await client.set(`plain:${index}`, text);
  return {
    read: (index) => client.get(`plain:${index}`),
    write: (index) => client.set(`plain:${index}`, text, { expiration: { type: "EX", value: 1_800 } }),
  };
}
