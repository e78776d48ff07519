/**
 * What is compared: two application servers of one library that share a store. The first reaches the store through a
 * proxy that can be told to be far away, the second directly.
 */
import { type RedisServer, startRedis } from "@sojourn/testbed";
import { FaultProxy } from "../chaos/fault-proxy.ts";
import type { Framework, SessionsKind } from "../servers/application.ts";
import { type Started, start } from "../servers/started.ts";

export interface SideName {
  readonly name: string;
  readonly isOurs: boolean;
  readonly framework: Framework;
  readonly sessions: SessionsKind;
}

export const SIDES: readonly SideName[] = [
  { name: "express-session + connect-redis", isOurs: false, framework: "express", sessions: "connect-redis" },
  {
    name: "@fastify/session + connect-redis",
    isOurs: false,
    framework: "fastify",
    sessions: "connect-redis",
  },
  { name: "Sojourn, Redis", isOurs: true, framework: "express", sessions: "redis" },
  { name: "Sojourn, session server", isOurs: true, framework: "express", sessions: "session-server" },
];

export class Side {
  /** Its way to the store is as long as `setDistance` says. */
  readonly far: string;
  readonly near: string;
  readonly #redis: RedisServer;
  readonly #proxy: FaultProxy;
  readonly #processes: readonly Started[];

  private constructor(
    redis: RedisServer,
    proxy: FaultProxy,
    processes: readonly [Started, Started, ...Started[]],
  ) {
    this.#redis = redis;
    this.#proxy = proxy;
    this.#processes = processes;
    this.far = processes[0].origin;
    this.near = processes[1].origin;
  }

  static async start({ framework, sessions }: SideName): Promise<Side> {
    const redis = await startRedis();
    const server = await start("session-server");
    const isServer = sessions === "session-server";
    const proxy = await FaultProxy.start(isServer ? server.port : redis.port);
    const url = (port: number) => (isServer ? `127.0.0.1:${port}` : `redis://127.0.0.1:${port}`);
    const application = (port: number) => start("application", { framework, sessions, store: url(port) });
    const [far, near] = await Promise.all([
      application(proxy.port),
      application(isServer ? server.port : redis.port),
    ]);
    return new Side(redis, proxy, [far, near, server]);
  }

  /** @param oneWayMs  between the first application and the store; 0: none */
  setDistance(oneWayMs: number): void {
    this.#proxy.inject(oneWayMs > 0 ? { kind: "delay", delayMs: oneWayMs } : { kind: "none" });
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.stop()));
    await this.#proxy.close();
    await this.#redis.stop();
  }
}
