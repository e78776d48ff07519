/** All processes of one run: what they are started with, which of them live, and how busy they are. */
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { type SessionServersStore, sessionServers } from "sojourn/server";
import { Child, type ChildPlan, type ChildState, type Report } from "./child.ts";
import { FRAMEWORKS, type LaunchOptions, type Strategy } from "./options.ts";
import { HOST } from "./ports.ts";
import type { Redis } from "./redis.ts";
import type { Role, StateDir, UpEntry } from "./state-dir.ts";

export const DOMAIN = "shop";
/** The router balances a request round robin when this cookie is `none`; the page's switch sets it. */
export const AFFINITY_OVERRIDE_COOKIE = "sojourn-affinity";

const SAMPLE_MS = 1_000;
const PROBE_TIMEOUT_MS = 900;
const SECRET_BYTES = 32;

const CLI = fileURLToPath(new URL("./dist/main.js", import.meta.resolve("@sojourn/cli/package.json")));

export interface ServerStatus {
  readonly name: string;
  readonly role: Role | "store";
  readonly state: ChildState;
  readonly pid: number | null;
  readonly port: number;
  /** Null when unknown or not counted. */
  readonly requestsPerS: number | null;
  readonly sessions: number | null;
}

interface Sample {
  readonly takenMs: number;
  readonly requests: number;
}

interface Busy {
  readonly requestsPerS: number | null;
  readonly sessions: number | null;
}

const UNKNOWN: Busy = { requestsPerS: null, sessions: null };

export class System {
  readonly strategy: Strategy;
  readonly url: string;
  /** Where sessions live, unless in processes of ours. */
  readonly redis: Redis | undefined;
  readonly #children: readonly Child[];
  readonly #stateDir: StateDir;
  readonly #changed: () => void;
  readonly #before = new Map<string, Sample>();
  readonly #busy = new Map<string, Busy>();
  #store: SessionServersStore | undefined;
  /** Sessions in Redis; undefined while it does not answer. */
  #inRedis: number | undefined;
  #sampling: NodeJS.Timeout | undefined;
  #stopping = false;

  /** @param changed  called when a process starts or ends, and after every sample */
  constructor(options: LaunchOptions, stateDir: StateDir, changed: () => void, redis?: Redis) {
    this.strategy = options.strategy;
    this.redis = redis;
    this.url = `http://${HOST}:${options.ports.router}`;
    this.#stateDir = stateDir;
    this.#changed = changed;
    const secret = randomBytes(SECRET_BYTES).toString("base64url");
    stateDir.writePrivate(stateDir.secretFile, `${secret}\n`);
    if (redis) stateDir.writePrivate(stateDir.storeFile, `${redis.url}\n`);
    this.#children = plans(options, stateDir).map((plan) => new Child(plan, () => this.#childChanged()));
    if (this.strategy === "session-server") {
      const members = [`${HOST}:${options.ports.sessionServer}`];
      this.#store = sessionServers({ members, domain: DOMAIN, secret, memberId: "launcher" });
    }
  }

  /** Servers first, the router when there is something to route to. */
  async start(): Promise<void> {
    const isRouter = (child: Child): boolean => child.plan.role === "router";
    await Promise.all(this.#children.filter((child) => !isRouter(child)).map((child) => child.start()));
    await Promise.all(this.#children.filter(isRouter).map((child) => child.start()));
    this.#sampling = setInterval(() => void this.#sample(), SAMPLE_MS);
    await this.#sample();
  }

  /** Stops the router first, so that no visitor sees the servers go. Safe to call again. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#sampling);
    await Promise.all([this.#store?.close(), this.redis?.close()]);
    for (const role of ["router", "shop", "session-server"]) {
      await Promise.all(this.#children.filter(({ plan }) => plan.role === role).map((child) => child.stop()));
    }
  }

  find(name: string): Child | undefined {
    return this.#children.find(({ plan }) => plan.name === name);
  }

  /** True when without it no shop would be left to show the page that brings others back. */
  isLastShop(child: Child): boolean {
    const shops = this.#children.filter(({ plan, state }) => plan.role === "shop" && state !== "stopped");
    return shops.length === 1 && shops[0] === child;
  }

  async startStopped(): Promise<void> {
    const stopped = this.#children.filter(({ state }) => state === "stopped");
    await Promise.allSettled(stopped.map((child) => child.start()));
  }

  status(): ServerStatus[] {
    return [...this.#storeStatus(), ...this.#children.map((child) => this.#statusOf(child))];
  }

  #statusOf({ plan: { name, role, port }, state, pid }: Child): ServerStatus {
    return {
      name,
      role,
      state,
      pid: pid ?? null,
      port,
      ...(state === "running" ? (this.#busy.get(name) ?? UNKNOWN) : UNKNOWN),
    };
  }

  #storeStatus(): ServerStatus[] {
    if (!this.redis) return [];
    const sessions = this.#inRedis ?? null;
    const state = this.#inRedis === undefined ? "stopped" : "running";
    return [
      { name: "redis", role: "store", state, pid: null, port: this.redis.port, requestsPerS: null, sessions },
    ];
  }

  #childChanged(): void {
    if (this.#stopping) return;
    const up = this.#children.flatMap(({ plan: { name, role, port }, state, pid }): UpEntry[] =>
      state === "running" && pid !== undefined ? [{ name, role, pid, port }] : [],
    );
    this.#stateDir.writeUp(up);
    this.#changed();
  }

  async #sample(): Promise<void> {
    const inRedis = this.redis?.count().catch(() => undefined);
    await Promise.all(this.#children.map((child) => this.#measure(child)));
    this.#inRedis = await inRedis;
    if (!this.#stopping) this.#changed();
  }

  async #measure(child: Child): Promise<void> {
    const { name, role } = child.plan;
    if (child.state !== "running") {
      this.#before.delete(name);
      this.#busy.delete(name);
    } else if (role === "session-server") {
      const status = await this.#store?.serverStatus({ timeoutMs: PROBE_TIMEOUT_MS }).catch(() => undefined);
      if (status === undefined) this.#busy.delete(name);
      else this.#busy.set(name, { requestsPerS: status.operationsPerSecond, sessions: status.sessions });
    } else if (role === "shop") {
      const { report } = child;
      if (report !== undefined) this.#busy.set(name, this.#rate(name, report));
    } else {
      this.#busy.set(name, UNKNOWN);
    }
  }

  #rate(name: string, { requests, sessions }: Report): Busy {
    const before = this.#before.get(name);
    const takenMs = performance.now();
    this.#before.set(name, { takenMs, requests });
    const requestsPerS =
      before === undefined ? 0 : ((requests - before.requests) * 1000) / (takenMs - before.takenMs);
    return { requestsPerS, sessions };
  }
}

function plans({ strategy, ports }: LaunchOptions, stateDir: StateDir): ChildPlan[] {
  const { secretFile, controlFile } = stateDir;
  const shops = FRAMEWORKS.map((name): ChildPlan => {
    const words: Record<string, string | number> = {
      name,
      port: ports.shops[name],
      strategy,
      domain: DOMAIN,
      "router-port": ports.router,
    };
    const files = { "secret-file": secretFile, "control-file": controlFile };
    if (strategy === "redis") words["store-file"] = stateDir.storeFile;
    if (strategy === "session-server") words.member = `${HOST}:${ports.sessionServer}`;
    const script = fileURLToPath(new URL(`../shop/${name}.js`, import.meta.url));
    const args = [script, ...flags({ ...words, ...files })];
    return { name, role: "shop", port: ports.shops[name], args, logFile: stateDir.logFile(name) };
  });
  const servers = shops.flatMap(({ name, port }) => ["--server", `${name}=http://${HOST}:${port}`]);
  const affinity = strategy === "none" ? "none" : "cookie";
  const router: ChildPlan = {
    name: "router",
    role: "router",
    port: ports.router,
    args: [
      ...[CLI, "router", ...servers],
      ...flags({ port: ports.router, affinity, "affinity-override-cookie": AFFINITY_OVERRIDE_COOKIE }),
    ],
    logFile: stateDir.logFile("router"),
  };
  const sessionServer: ChildPlan = {
    name: "session-server",
    role: "session-server",
    port: ports.sessionServer,
    args: [
      ...[CLI, "server"],
      ...flags({ port: ports.sessionServer, domain: DOMAIN, "secret-file": secretFile }),
    ],
    logFile: stateDir.logFile("session-server"),
  };
  // Without a shared store nobody would talk to the session server, and it would only suggest otherwise.
  return [...(strategy === "session-server" ? [sessionServer] : []), ...shops, router];
}

function flags(values: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => [`--${name}`, String(value)]);
}
