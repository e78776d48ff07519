/**
 * One process of the quickstart. Started on request, killed on request, and never restarted by itself: a dead server
 * stays dead, because seeing what that means is what this example is for.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { answers } from "./ports.ts";
import type { Role } from "./state-dir.ts";

export type ChildState = "starting" | "running" | "stopped";

export interface ChildPlan {
  readonly name: string;
  readonly role: Role;
  readonly port: number;
  /** Script and its arguments. No secret among them: every user of the machine can read these. */
  readonly args: readonly string[];
  readonly logFile: string;
}

/** What a shop reports about itself over the channel, every second. */
export interface Report {
  /** Requests for sessions so far; pages and health checks are not counted. */
  readonly requests: number;
  /** In its own memory; null when sessions live elsewhere. */
  readonly sessions: number | null;
}

const LEASH = new URL("./leash.js", import.meta.url).href;
const READY_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 2_500;
const POLL_MS = 20;
const LOG_LINES_SHOWN = 12;

export class Child {
  readonly plan: ChildPlan;
  /** Called after every change of `state`. */
  readonly #changed: () => void;
  #process: ChildProcess | undefined;
  #state: ChildState = "stopped";
  #report: Report | undefined;
  #exited: Promise<void> = Promise.resolve();
  #starting: Promise<void> | undefined;

  constructor(plan: ChildPlan, changed: () => void) {
    this.plan = plan;
    this.#changed = changed;
  }

  get state(): ChildState {
    return this.#state;
  }

  /** Undefined unless the process lives. */
  get pid(): number | undefined {
    return this.#state === "stopped" ? undefined : this.#process?.pid;
  }

  get report(): Report | undefined {
    return this.#report;
  }

  /** Resolves when it accepts connections; called twice it starts once. @throws {Error} with the end of its log */
  start(): Promise<void> {
    if (this.#state === "running") return Promise.resolve();
    this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async #start(): Promise<void> {
    const { args, logFile, port, name } = this.plan;
    const log = openSync(logFile, "w");
    const child = spawn(process.execPath, ["--import", LEASH, ...args], {
      // A group of its own: Ctrl-C reaches the launcher only, and it decides the order in which things stop.
      detached: true,
      stdio: ["ignore", log, log, "ipc"],
    });
    closeSync(log);
    this.#process = child;
    this.#report = undefined;
    this.#exited = new Promise((resolve) => {
      const gone = (): void => {
        this.#set("stopped");
        resolve();
      };
      child.once("exit", gone);
      child.once("error", gone);
    });
    child.on("message", (message) => {
      this.#report = message as Report;
    });
    this.#set("starting");
    const deadlineMs = performance.now() + READY_TIMEOUT_MS;
    while (!(await answers(port))) {
      if (this.#state === "stopped") throw new Error(`${name} ended while starting:\n${this.#logEnd()}`);
      if (performance.now() > deadlineMs) {
        throw new Error(`${name} does not listen on port ${port} after ${READY_TIMEOUT_MS / 1000} s`);
      }
      await wait(POLL_MS);
    }
    if (this.#state === "starting") this.#set("running");
  }

  /** Ends it at once, without a chance to say goodbye; resolves when it is gone. */
  async kill(): Promise<void> {
    if (this.#state !== "stopped") this.#process?.kill("SIGKILL");
    await this.#exited;
  }

  /** Ends it in good order, and by force when that takes too long. */
  async stop(): Promise<void> {
    if (this.#state === "stopped") return;
    this.#process?.kill("SIGTERM");
    const force = setTimeout(() => this.#process?.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(force);
  }

  #set(state: ChildState): void {
    this.#state = state;
    this.#changed();
  }

  #logEnd(): string {
    const lines = readFileSync(this.plan.logFile, "utf8").trimEnd().split("\n");
    return lines.slice(-LOG_LINES_SHOWN).join("\n");
  }
}
