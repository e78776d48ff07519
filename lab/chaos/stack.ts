/**
 * A real system to harm: a session server, a fault proxy in front of it, and the three shops of the quickstart, each a
 * process of its own. Without the router, so that a test decides which server answers.
 */
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "@sojourn/testbed";
import { type ServerStatus, sessionServers } from "sojourn/server";
import { FaultProxy } from "./fault-proxy.ts";
import { CLI, ended, listening, start, waitUntil } from "./processes.ts";

const SHOP = new URL("./dist/shop/", import.meta.resolve("@sojourn/example-quickstart/package.json"));
const FRAMEWORKS = ["express", "fastify", "node"] as const;
const DOMAIN = "shop";

export interface StackOptions {
  /** Like `--max-memory` of `sojourn server`. */
  readonly maxMemory?: string;
}

export class Stack {
  readonly proxy: FaultProxy;
  /** One origin for each framework: Express, Fastify, node:http. */
  readonly origins: readonly [string, string, string];
  readonly secret: string;
  readonly #folder: string;
  readonly #serverPort: number;
  readonly #options: StackOptions;
  readonly #shops: readonly ChildProcess[];
  #server: ChildProcess;

  private constructor(parts: {
    proxy: FaultProxy;
    ports: readonly number[];
    secret: string;
    folder: string;
    serverPort: number;
    options: StackOptions;
    shops: readonly ChildProcess[];
    server: ChildProcess;
  }) {
    const [express, fastify, node] = parts.ports.map((port) => `http://127.0.0.1:${port}`);
    this.proxy = parts.proxy;
    this.origins = [express ?? "", fastify ?? "", node ?? ""];
    this.secret = parts.secret;
    this.#folder = parts.folder;
    this.#serverPort = parts.serverPort;
    this.#options = parts.options;
    this.#shops = parts.shops;
    this.#server = parts.server;
  }

  static async start(options: StackOptions = {}): Promise<Stack> {
    const folder = mkdtempSync(join(tmpdir(), "sojourn-chaos-"));
    const secret = "a secret for the chaos tests only";
    writeFileSync(join(folder, "secret"), secret, { mode: 0o600 });
    writeFileSync(join(folder, "control.json"), JSON.stringify({ port: 1, token: "none" }), { mode: 0o600 });
    const serverPort = await freePort();
    const server = startServer(folder, serverPort, options);
    await listening(serverPort, server);
    const proxy = await FaultProxy.start(serverPort);
    const ports = [await freePort(), await freePort(), await freePort()];
    const shops = FRAMEWORKS.map((name, index) =>
      start(fileURLToPath(new URL(`${name}.js`, SHOP)), {
        name,
        port: String(ports[index]),
        strategy: "session-server",
        domain: DOMAIN,
        "router-port": "1",
        member: `127.0.0.1:${proxy.port}`,
        "secret-file": join(folder, "secret"),
        "control-file": join(folder, "control.json"),
      }),
    );
    for (const [index, shop] of shops.entries()) await listening(ports[index] as number, shop);
    const stack = new Stack({ proxy, ports, secret, folder, serverPort, options, shops, server });
    // A first answer from each shop: its connection to the session server stands.
    for (const origin of stack.origins) await stack.until(origin, "it reaches the session server");
    return stack;
  }

  /** The process is gone, without a chance to say goodbye. */
  async killServer(): Promise<void> {
    await ended(this.#server, "SIGKILL");
  }

  freezeServer(): void {
    this.#server.kill("SIGSTOP");
  }

  thawServer(): void {
    this.#server.kill("SIGCONT");
  }

  /** On the same port, with nothing in it. */
  async restartServer(options: StackOptions = this.#options): Promise<void> {
    await ended(this.#server, "SIGKILL");
    this.#server = startServer(this.#folder, this.#serverPort, options);
    await listening(this.#serverPort, this.#server);
  }

  /** What the session server says of itself, asked past the proxy. */
  async status(): Promise<ServerStatus> {
    const members = [`127.0.0.1:${this.#serverPort}`];
    const store = sessionServers({ members, domain: DOMAIN, secret: this.secret });
    try {
      return await store.serverStatus({ timeoutMs: 2_000 });
    } finally {
      await store.close();
    }
  }

  /** True while every shop process lives. */
  get shopsAlive(): boolean {
    return this.#shops.every((shop) => shop.exitCode === null && shop.signalCode === null);
  }

  /** Waits until this shop can write a session again. */
  async until(origin: string, what: string, deadlineMs: number = 10_000): Promise<void> {
    await waitUntil(
      `${what} (${origin})`,
      async () => (await fetch(`${origin}/session/counters/ready`, { method: "POST" })).status === 200,
      deadlineMs,
    );
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#shops, this.#server].map((child) => ended(child, "SIGKILL")));
    await this.proxy.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function startServer(folder: string, port: number, { maxMemory }: StackOptions): ChildProcess {
  const memory: Record<string, string> = maxMemory === undefined ? {} : { "max-memory": maxMemory };
  return start(
    CLI,
    { port: String(port), domain: DOMAIN, "secret-file": join(folder, "secret"), ...memory },
    "server",
  );
}
