/** Starts the quickstart as its user does, looks at its processes from outside, and visits it with a browser's jar. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const LAUNCHER = fileURLToPath(new URL("../dist/launch.js", import.meta.url));

const READY_TIMEOUT_MS = 30_000;
const POLL_MS = 25;
const HOST = "127.0.0.1";
/** Below the ports that the system gives to outgoing connections. */
const BASE_MIN = 14_000;
const BASE_COUNT = 150;
const BASE_STEP = 100;

export interface UpEntry {
  name: string;
  role: string;
  pid: number;
  port: number;
}

/** Waits until `condition` holds. @throws with `what` when it does not in time */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  withinMs = 10_000,
): Promise<void> {
  const deadlineMs = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await wait(POLL_MS);
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A killed child of a killed parent stays visible until somebody collects it; it runs no more.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch (error) {
    // No /proc: the signal went through, so it lives.
    return (error as NodeJS.ErrnoException).code === "ENOENT" && process.platform !== "linux";
  }
}

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: HOST, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

export function portsOf(base: number) {
  return { router: base + 80, shops: [base + 1, base + 2, base + 3], sessionServer: base + 701 };
}

export async function freeBase(): Promise<number> {
  for (;;) {
    const base = BASE_MIN + BASE_STEP * Math.floor(Math.random() * BASE_COUNT);
    const { router, shops, sessionServer } = portsOf(base);
    const free = await Promise.all([router, ...shops, sessionServer].map(isFree));
    if (free.every(Boolean)) return base;
  }
}

export class Quickstart implements AsyncDisposable {
  readonly base: number;
  readonly stateDir: string;
  readonly process: ChildProcess;
  /** Everything it has written so far. */
  output = "";
  readonly #exit: Promise<number | null>;

  constructor(base: number, stateDir: string, args: readonly string[], viaShell: boolean) {
    this.base = base;
    this.stateDir = stateDir;
    const words = [LAUNCHER, "--port-base", String(base), "--state-dir", stateDir, ...args];
    const env = { ...process.env, npm_lifecycle_event: viaShell ? "start" : undefined };
    this.process = viaShell
      ? spawn("sh", ["-c", `true && "$@"; true`, "sh", process.execPath, ...words], { env })
      : spawn(process.execPath, words, { env });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.output += chunk.toString();
      });
    }
    this.#exit = new Promise((resolve) => this.process.once("close", (code) => resolve(code)));
  }

  /** @param strategy  undefined: none is named on the command line */
  static async start(strategy?: string, viaShell = false): Promise<Quickstart> {
    const it = await Quickstart.begin(strategy === undefined ? [] : ["--strategy", strategy], {}, viaShell);
    await it.ready();
    return it;
  }

  static async begin(
    args: readonly string[],
    place: { base?: number; stateDir?: string } = {},
    viaShell = false,
  ): Promise<Quickstart> {
    const stateDir = place.stateDir ?? mkdtempSync(join(tmpdir(), "quickstart-"));
    return new Quickstart(place.base ?? (await freeBase()), stateDir, args, viaShell);
  }

  async ready(): Promise<void> {
    await until(
      () => {
        if (this.process.exitCode !== null) throw new Error(`ended while starting:\n${this.output}`);
        return this.output.includes("Sojourn is up");
      },
      "the quickstart is up",
      READY_TIMEOUT_MS,
    );
  }

  get url(): string {
    return `http://${HOST}:${portsOf(this.base).router}`;
  }

  shopUrl(name: string): string {
    return `http://${HOST}:${this.entry(name).port}`;
  }

  up(): UpEntry[] {
    return JSON.parse(readFileSync(join(this.stateDir, "up.json"), "utf8"));
  }

  entry(name: string): UpEntry {
    const found = this.up().find((entry) => entry.name === name);
    if (found === undefined) throw new Error(`up.json has no "${name}"`);
    return found;
  }

  ended(): Promise<number | null> {
    return this.#exit;
  }

  /** Stops it and cleans up, however far it came. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.process.kill("SIGTERM");
      await this.#exit;
    }
    rmSync(this.stateDir, { recursive: true, force: true });
  }

  /** Asks for a kill or a start as the page does: again, when the router has just lost the servers it tried. */
  async control(name: string, verb: "kill" | "start"): Promise<Answer> {
    let answer: Answer | undefined;
    await until(async () => {
      answer = await send(this.url, "POST", `/control/servers/${name}/${verb}`, {
        headers: { origin: this.url },
      });
      return answer.json !== null;
    }, `a shop passes on: ${verb} ${name}`);
    return answer as Answer;
  }
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers are compared, not used
  readonly json: any;
}

export interface Sending {
  readonly body?: unknown;
  /** Sent as it is. */
  readonly rawBody?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One request on a connection of its own: a killed server must not be noticed through an older socket. */
export function send(origin: string, method: string, path: string, sending: Sending = {}): Promise<Answer> {
  const payload = sending.rawBody ?? (sending.body === undefined ? undefined : JSON.stringify(sending.body));
  return new Promise((resolve, reject) => {
    const { hostname: host, port } = new URL(origin);
    const length = payload === undefined ? {} : { "content-length": Buffer.byteLength(payload) };
    const headers = { ...length, ...sending.headers };
    const request = httpRequest({ host, port, method, path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        const isJson = text !== "" && (response.headers["content-type"]?.includes("json") ?? false);
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          json: isJson ? JSON.parse(text) : null,
        });
      });
    });
    request.on("error", reject);
    request.end(payload);
  });
}

/** A visitor: keeps cookies, goes wherever it is sent, follows nothing by itself. */
export class Visitor {
  readonly jar = new Map<string, string>();
  readonly #origin: string;

  constructor(origin: string) {
    this.#origin = origin;
  }

  /** The same visitor, from a copied jar: what another tab or a slower request would send. */
  twin(origin = this.#origin): Visitor {
    const twin = new Visitor(origin);
    for (const [name, value] of this.jar) twin.jar.set(name, value);
    return twin;
  }

  async send(method: string, path: string, body?: unknown, origin = this.#origin): Promise<Answer> {
    const cookie = [...this.jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const headers = cookie === "" ? {} : { cookie };
    const answer = await send(origin, method, path, { body, headers });
    for (const line of answer.headers["set-cookie"] ?? []) this.#keep(line);
    return answer;
  }

  // biome-ignore lint/suspicious/noExplicitAny: answers are compared, not used
  async view(origin = this.#origin): Promise<any> {
    const answer = await this.send("GET", "/session", undefined, origin);
    if (answer.status !== 200) throw new Error(`GET /session answered ${answer.status}: ${answer.text}`);
    return answer.json;
  }

  #keep(line: string): void {
    const [pair = "", ...attributes] = line.split(";").map((part) => part.trim());
    const name = pair.slice(0, pair.indexOf("="));
    const over = attributes.some(
      (attribute) => /^max-age=0$/i.test(attribute) || /^expires=.*\b1970\b/i.test(attribute),
    );
    if (over) this.jar.delete(name);
    else this.jar.set(name, pair.slice(name.length + 1));
  }
}

/** Resolves once the router takes this shop for "up" or "down": it looks by itself, a moment after the fact. */
export async function routerSees(url: string, shop: string, health: "up" | "down"): Promise<void> {
  await until(async () => {
    const { servers } = (await (await fetch(`${url}/-/health`)).json()) as {
      servers: { name: string; health: string }[];
    };
    return servers.find(({ name }) => name === shop)?.health === health;
  }, `the router takes ${shop} for ${health}`);
}
