/**
 * Where sessions can live, each with the same handles to harm it: memory, a session server, Redis. Server and Redis are
 * processes behind a proxy that can be slow or silent; memory cannot fail on its own, so a gate stands before it.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, redisServerPath, startRedis } from "@sojourn/testbed";
import { memoryStore, type SessionStore } from "sojourn";
import { redisStore } from "sojourn/redis";
import { sessionServers } from "sojourn/server";
import { FaultProxy } from "../chaos/fault-proxy.ts";
import { CLI, ended, listening, start } from "../chaos/processes.ts";
import { Gate, STORE_OPERATIONS } from "./gate.ts";

const SECRET = "a secret for the acceptance tests";
const DOMAIN = "acceptance";

export interface Place {
  /** As one application server sees it: with a connection of its own. */
  store(): SessionStore;
  /** Everything takes this much longer, there and back together. */
  delay(ms: number): void;
  /** Nothing answers, nothing hangs up. */
  freeze(): void;
  /** Ends `delay` and `freeze`. */
  heal(): void;
  kill(): Promise<void>;
  /** After `kill`: there again, with nothing in it. */
  restart(): Promise<void>;
  /** Store operations asked of it so far, by whomever. */
  requests(): Promise<number>;
  stop(): Promise<void>;
}

export interface PlaceKind {
  readonly name: string;
  readonly isHere: boolean;
  start(): Promise<Place>;
}

export const PLACES: readonly PlaceKind[] = [
  { name: "memory", isHere: true, start: inMemory },
  { name: "session server", isHere: true, start: onSessionServer },
  { name: "Redis", isHere: redisServerPath() !== undefined, start: onRedis },
];

async function inMemory(): Promise<Place> {
  const gate = new Gate(memoryStore);
  return {
    store: () => gate.store(),
    delay: (ms) => gate.delay(ms),
    freeze: () => gate.freeze(),
    heal: () => gate.heal(),
    kill: async () => gate.kill(),
    restart: async () => gate.restart(),
    requests: async () => gate.requests,
    stop: () => gate.close(),
  };
}

async function onSessionServer(): Promise<Place> {
  const folder = mkdtempSync(join(tmpdir(), "sojourn-acceptance-"));
  const secretFile = join(folder, "secret");
  writeFileSync(secretFile, SECRET, { mode: 0o600 });
  const port = await freePort();
  const launch = async () => {
    const child = start(CLI, { port: String(port), domain: DOMAIN, "secret-file": secretFile }, "server");
    await listening(port, child);
    return child;
  };
  let server = await launch();
  const proxy = await FaultProxy.start(port);
  const open = (at: number) =>
    sessionServers({ members: [`127.0.0.1:${at}`], domain: DOMAIN, secret: SECRET });
  const direct = open(port);
  return {
    ...harmedBy(proxy),
    store: () => open(proxy.port),
    kill: () => ended(server, "SIGKILL"),
    async restart() {
      server = await launch();
    },
    async requests() {
      const { operations } = await direct.serverStatus({ timeoutMs: 2_000 });
      return STORE_OPERATIONS.reduce((sum, name) => sum + (operations[name] ?? 0), 0);
    },
    async stop() {
      await direct.close();
      await ended(server, "SIGKILL");
      await proxy.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function onRedis(): Promise<Place> {
  const redis = await startRedis();
  const proxy = await FaultProxy.start(redis.port);
  return {
    ...harmedBy(proxy),
    store: () => redisStore({ url: `redis://127.0.0.1:${proxy.port}`, prefix: DOMAIN }),
    kill: () => redis.kill(),
    restart: () => redis.restart(),
    async requests() {
      const stats = await redis.command("INFO", "commandstats");
      const calls = [...stats.matchAll(/^cmdstat_evalsha:calls=(\d+)/gm)];
      return calls.reduce((sum, [, count]) => sum + Number(count), 0);
    },
    async stop() {
      await redis.stop();
      await proxy.close();
    },
  };
}

function harmedBy(proxy: FaultProxy): Pick<Place, "delay" | "freeze" | "heal"> {
  return {
    delay: (ms) => proxy.inject({ kind: "delay", delayMs: ms / 2 }),
    freeze: () => proxy.inject({ kind: "freeze" }),
    heal: () => proxy.inject({ kind: "none" }),
  };
}
