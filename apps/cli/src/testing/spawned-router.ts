/** A real `sojourn router` and real application servers behind it, each a process of its own, for tests that kill them. */
import { type ChildProcess, spawn } from "node:child_process";
import { Agent, request } from "node:http";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

/**
 * Answers with its name. `?wait=ms` answers later; POST remembers its `op` when it *begins*, so that a repeated one shows.
 * `GET /ops` lists them.
 */
const SERVER_PROGRAM = `
import { createServer } from "node:http";
const [name, port] = process.argv.slice(1);
const ops = [];
const server = createServer((request, response) => {
  const url = new URL(request.url, "http://x");
  if (url.pathname === "/health") return response.end("ok");
  if (url.pathname === "/ops") return response.end(JSON.stringify(ops));
  if (request.method === "POST") ops.push(url.searchParams.get("op"));
  request.resume();
  setTimeout(() => response.end(name), Number(url.searchParams.get("wait") ?? 0));
});
server.keepAliveTimeout = 65_000;
server.listen(Number(port), "127.0.0.1", () => console.log("listening " + server.address().port));
`;

export interface Spawned {
  readonly pid: number;
  readonly port: number;
  signal(signal: NodeJS.Signals): void;
  /** Resolves with the exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
  /** Everything it has printed so far. */
  log(): string;
}

export function spawnAppServer(name: string, port = 0): Promise<Spawned> {
  const args = ["--input-type=module", "-e", SERVER_PROGRAM, name, String(port)];
  return listening(spawn(process.execPath, args), /listening (\d+)/);
}

/** @param args  all but `--port`, which the system chooses */
export function spawnRouter(...args: string[]): Promise<Spawned> {
  const child = spawn(process.execPath, [MAIN, "router", "--port", "0", ...args]);
  return listening(child, /router on http:\/\/127\.0\.0\.1:(\d+) /);
}

async function listening(child: ChildProcess, said: RegExp): Promise<Spawned> {
  let text = "";
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? signal ?? 0));
  });
  const port = await new Promise<number>((resolve, reject) => {
    const collect = (chunk: Buffer) => {
      text += chunk.toString();
      const found = said.exec(text)?.[1];
      if (found !== undefined) resolve(Number(found));
    };
    child.stdout?.on("data", collect);
    child.stderr?.on("data", collect);
    child.once("exit", () => reject(new Error(`ended before it listened: ${text}`)));
  });
  return { pid: child.pid!, port, signal: (signal) => child.kill(signal), exited, log: () => text };
}

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: NodeJS.Dict<string | string[]>;
}

/** A browser that keeps the cookies it is given and one connection. */
export class Visitor {
  readonly #port: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #cookies = new Map<string, string>();

  constructor(port: number) {
    this.#port = port;
  }

  ask(method: string, path: string, fields: Record<string, string> = {}, body = ""): Promise<Answer> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const headers = { ...(cookie === "" ? {} : { cookie }), ...fields };
    return new Promise((resolve, reject) => {
      const outgoing = request(
        { host: "127.0.0.1", port: this.#port, agent: this.#agent, method, path, headers },
        (incoming) => {
          let text = "";
          incoming.on("data", (chunk: Buffer) => {
            text += chunk.toString();
          });
          incoming.on("error", reject);
          incoming.on("end", () => {
            for (const set of incoming.headers["set-cookie"] ?? []) {
              const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(set) ?? [];
              this.#cookies.set(name, value);
            }
            resolve({ status: incoming.statusCode!, body: text, headers: incoming.headers });
          });
        },
      );
      outgoing.on("error", reject);
      outgoing.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
