/**
 * A real redis-server on loopback, without persistence, for as long as a test needs it. Its data lives in a folder of
 * its own that goes with it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { freePort } from "./port.ts";

const START_TIMEOUT_MS = 10_000;

export interface RedisOptions {
  /** Default: a free one. */
  readonly port?: number;
  /** More of redis-server's arguments: `["--maxmemory", "8mb"]`. */
  readonly args?: readonly string[];
}

export interface RedisServer {
  readonly port: number;
  /** `redis://127.0.0.1:<port>` */
  readonly url: string;
  readonly pid: number;
  /** One command on a connection of its own: `command("INFO", "commandstats")`. Simple replies as text. */
  command(...args: readonly string[]): Promise<string>;
  /** Stops answering without hanging up: SIGSTOP. */
  freeze(): void;
  resume(): void;
  /** SIGKILL; what it held is lost. */
  kill(): Promise<void>;
  /** After `kill`: an empty server on the same port. */
  restart(): Promise<void>;
  /** Ends it and removes its folder. Idempotent. */
  stop(): Promise<void>;
}

/** Where redis-server (or valkey-server) is, or undefined: then the tests that need it are skipped and listed. */
export function redisServerPath(): string | undefined {
  const named = process.env.SOJOURN_REDIS_SERVER;
  if (named) return named;
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/bin"];
  for (const name of ["redis-server", "valkey-server"]) {
    for (const folder of folders) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch {}
    }
  }
  return undefined;
}

/** @throws when no server is installed, or when it does not answer within 10 s; the error holds what it printed */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const path = redisServerPath();
  if (path === undefined)
    throw new Error("Cannot start Redis: redis-server not found; apt install redis-server");
  const port = options.port ?? (await freePort());
  const folder = mkdtempSync(join(tmpdir(), "sojourn-redis-"));
  let child = await launch(path, port, folder, options.args ?? []);
  let isStopped = false;

  const endWithUs = () => child.kill("SIGKILL");
  process.once("exit", endWithUs);

  async function kill(): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }

  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    get pid() {
      return child.pid ?? 0;
    },
    command: (...args) => command(port, args),
    freeze: () => void child.kill("SIGSTOP"),
    resume: () => void child.kill("SIGCONT"),
    kill,
    async restart() {
      await kill();
      child = await launch(path, port, folder, options.args ?? []);
    },
    async stop() {
      if (isStopped) return;
      isStopped = true;
      process.removeListener("exit", endWithUs);
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function launch(
  path: string,
  port: number,
  folder: string,
  more: readonly string[],
): Promise<ChildProcess> {
  const args = [
    "--port",
    `${port}`,
    "--bind",
    "127.0.0.1",
    "--save",
    "",
    "--appendonly",
    "no",
    "--dir",
    folder,
  ];
  const child = spawn(path, [...args, ...more], { stdio: ["ignore", "pipe", "pipe"] });
  let printed = "";
  const hear = (chunk: Buffer) => {
    if (printed.length < 20_000) printed += chunk.toString();
  };
  child.stdout.on("data", hear);
  child.stderr.on("data", hear);
  let failure: Error | undefined;
  child.once("error", (error) => {
    failure = error;
  });
  const giveUpAtMs = Date.now() + START_TIMEOUT_MS;
  while (failure === undefined && child.exitCode === null && Date.now() < giveUpAtMs) {
    try {
      if ((await command(port, ["PING"])) === "PONG") return child;
    } catch {}
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  child.kill("SIGKILL");
  throw new Error(`Cannot start Redis on port ${port}: ${failure?.message ?? printed.slice(-2_000)}`);
}

/** Bulk, simple, integer and error replies; arrays are not needed here. */
export function command(port: number, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let received = Buffer.alloc(0);
    socket.setTimeout(5_000, () => socket.destroy(new Error(`redis-server on port ${port} did not answer`)));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error(`redis-server on port ${port} hung up`)));
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      const reply = parsed(received);
      if (reply === undefined) return;
      if (reply instanceof Error) reject(reply);
      else resolve(reply);
      socket.destroy();
    });
    const parts = args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`);
    socket.write(`*${args.length}\r\n${parts.join("")}`);
  });
}

function parsed(bytes: Buffer): string | Error | undefined {
  const end = bytes.indexOf("\r\n");
  if (end < 0) return undefined;
  const head = bytes.toString("utf8", 1, end);
  switch (String.fromCharCode(bytes[0] ?? 0)) {
    case "-":
      return new Error(head);
    case "$": {
      const length = Number(head);
      if (length < 0) return "";
      return bytes.length < end + 4 + length ? undefined : bytes.toString("utf8", end + 2, end + 2 + length);
    }
    case "*":
      return new Error("an array: ask for something simpler");
    default:
      return head;
  }
}
