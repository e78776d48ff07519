/** Real `sojourn server` processes for tests, and callers that speak bytes to them. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type SessionServersStore, sessionServers } from "sojourn/server";

const MAIN = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

export type Key = Parameters<SessionServersStore["read"]>[0];

/** One attribute `a`, ten minutes to live. */
export type Created = Parameters<SessionServersStore["create"]>[0];

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command to its end. */
export async function sojourn(args: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  const child = spawn(process.execPath, [MAIN, ...args], { env: { ...process.env, ...env } });
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, stdout: stdout(), stderr: stderr() };
}

export interface SpawnedServer {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly port: number;
  readonly member: string;
  readonly args: readonly string[];
  /** Everything it has printed so far. */
  log(): string;
  signal(signal: NodeJS.Signals): void;
  /** Resolves with its exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
}

/** Resolves when it listens. Without `--port` the system chooses one. */
export async function spawnServer(...args: string[]): Promise<SpawnedServer> {
  const place = args.includes("--port") ? args : [...args, "--port", "0"];
  const child = spawn(process.execPath, [MAIN, "server", ...place]);
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const log = () => stdout() + stderr();
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? signal ?? 0));
  });
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.on("data", () => {
      const found = /session server for domain .* on [^,]*:(\d+),/.exec(stdout());
      if (found) resolve(Number(found[1]));
    });
    child.once("exit", () => reject(new Error(`sojourn server ended before it listened: ${log()}`)));
  });
  return {
    process: child,
    pid: child.pid as number,
    port,
    member: `127.0.0.1:${port}`,
    args: place,
    log,
    signal: (signal) => child.kill(signal),
    exited,
  };
}

/** A secret file that only its owner can read, gone with `remove`. */
export function secretFile(...secrets: string[]): { readonly path: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), "sojourn-secret-"));
  const path = join(folder, "secret");
  writeFileSync(path, secrets.map((secret) => `${secret}\n`).join(""), { mode: 0o600 });
  return { path, remove: () => rmSync(folder, { recursive: true }) };
}

export function newKey(): Key {
  return createHash("sha256").update(randomBytes(32)).digest("base64url") as Key;
}

export function newSession(value = "1", key: Key = newKey()): Created {
  const nowMs = Date.now();
  return {
    key,
    attributes: new Map([["a", Buffer.from(value)]]),
    expiresAtMs: nowMs + 600_000,
    absoluteExpiresAtMs: nowMs + 3_600_000,
  };
}

/** A hello written by hand: the server must take what docs/wire.md says, not only what our own encoder makes. */
export function hello(domain = "default", protocol = 1): Buffer {
  const text = (value: string) => Buffer.concat([u32(value.length), Buffer.from(value)]);
  return framed(
    Buffer.concat([
      Buffer.from([0x01]),
      Buffer.from("SJRN"),
      Buffer.from([protocol >> 8, protocol & 0xff, protocol >> 8, protocol & 0xff]),
      Buffer.from([1]),
      u32(0),
      randomBytes(8),
      text(domain),
      text("raw"),
      text("test"),
    ]),
  );
}

/** A read of `key` with a deadline far in the server's future. */
export function readFrame(id: number, key: Key): Buffer {
  const deadline = Buffer.alloc(8);
  deadline.writeDoubleBE(1e12);
  return framed(Buffer.concat([Buffer.from([0x10]), u32(id), deadline, Buffer.from(key, "base64url")]));
}

export function framed(payload: Buffer): Buffer {
  return Buffer.concat([u32(payload.length), payload]);
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export interface RawCaller {
  readonly socket: Socket;
  readonly received: () => Buffer;
  isClosed: boolean;
}

/** Connects and waits for nothing but the connection itself. */
export async function callRaw(port: number, ...bytes: Buffer[]): Promise<RawCaller> {
  const socket = connect(port, "127.0.0.1");
  const chunks: Buffer[] = [];
  const caller: RawCaller = { socket, received: () => Buffer.concat(chunks), isClosed: false };
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("error", () => undefined);
  socket.on("close", () => {
    caller.isClosed = true;
  });
  await new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
  for (const each of bytes) socket.write(each);
  return caller;
}

export interface Witness {
  /** Stops it and says how it fared. */
  stop(): Promise<{
    readonly operations: number;
    readonly failures: readonly string[];
    readonly slowestMs: number;
  }>;
}

/** A well-behaved client at work, one call after the other, while others misbehave. */
export async function witness(options: {
  readonly member: string;
  readonly secret?: string;
}): Promise<Witness> {
  const { member, ...security } = options;
  const store = sessionServers({ members: [member], ...security });
  const session = newSession();
  await store.create(session);
  let isStopped = false;
  let operations = 0;
  let slowestMs = 0;
  const failures: string[] = [];
  const work = async () => {
    while (!isStopped) {
      const startedMs = performance.now();
      try {
        const written = Buffer.from(String(operations));
        await store.apply(session.key, { set: new Map([["a", written]]) });
        const read = await store.read(session.key);
        if (!read?.attributes.get("a")?.value || !written.equals(read.attributes.get("a")!.value)) {
          failures.push("read something else than was written");
        }
      } catch (error) {
        failures.push((error as Error).message);
      }
      operations++;
      slowestMs = Math.max(slowestMs, performance.now() - startedMs);
    }
  };
  const working = work();
  return {
    async stop() {
      isStopped = true;
      await working;
      await store.close();
      return { operations, failures, slowestMs };
    },
  };
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  let text = "";
  stream?.on("data", (chunk: Buffer) => {
    text += chunk;
  });
  return () => text;
}
