/**
 * The folder `.sojourn/`: what runs here, so that a second start, a test or an operator can find it.
 *
 *   up.json        what is up, [{ name, role, pid, port }], replaced whole at every change
 *   launcher.pid   who may write here; taken exclusively, so two starts cannot both win
 *   shop.secret    the session domain's secret, and control.json, where shops find the control port: for this run only,
 *                  readable by this user only
 *   store.url      where Redis is, when sessions live there; readable by this user only
 *   <name>.log     what each process said
 *
 * A run that was killed leaves all of it behind. That is noticed by asking whether those pids live and are ours: a pid
 * alone means nothing after a reboot.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { commandOf } from "./who.ts";

export type Role = "session-server" | "shop" | "router";

export interface UpEntry {
  readonly name: string;
  readonly role: Role;
  readonly pid: number;
  readonly port: number;
}

/** In the command line of the launcher and, through the preloaded leash, of every process it starts. */
const MARK = /quickstart[/\\]dist[/\\]launch/;
const PRIVATE = 0o600;
/** Children of a killed launcher notice and end; this is how long we wait for them. */
const LEFTOVER_TIMEOUT_MS = 5_000;
const POLL_MS = 50;

export class StateDirTaken extends Error {}

export class StateDir {
  readonly path: string;

  constructor(path: string) {
    this.path = resolve(path);
  }

  get secretFile(): string {
    return join(this.path, "shop.secret");
  }

  get controlFile(): string {
    return join(this.path, "control.json");
  }

  get storeFile(): string {
    return join(this.path, "store.url");
  }

  logFile(name: string): string {
    return join(this.path, `${name}.log`);
  }

  /**
   * Makes this process the only one that may write here.
   *
   * @returns what a former run left behind, as a sentence, or undefined
   * @throws {StateDirTaken} when a run lives here; the message says where
   */
  async claim(): Promise<string | undefined> {
    mkdirSync(this.path, { recursive: true });
    const up = this.#readUp();
    const launcher = this.#readLauncher();
    if (launcher !== undefined && isOurs(launcher)) throw new StateDirTaken(alreadyRunning(launcher, up));
    const left = up.filter(({ pid }) => isOurs(pid));
    const deadlineMs = performance.now() + LEFTOVER_TIMEOUT_MS;
    while (left.some(({ pid }) => isOurs(pid))) {
      if (performance.now() > deadlineMs) throw new StateDirTaken(withoutLauncher(left));
      await wait(POLL_MS);
    }
    const stale = launcher !== undefined || up.length > 0;
    if (stale) this.release();
    try {
      writeFileSync(join(this.path, "launcher.pid"), `${process.pid}\n`, { flag: "wx" });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      throw new StateDirTaken(`Sojourn is just being started by someone else in ${this.path}`);
    }
    return stale
      ? `${join(this.path, "up.json")} is left from a run that was killed: nothing of it is alive, starting anew`
      : undefined;
  }

  writeUp(entries: readonly UpEntry[]): void {
    const rows = entries.map((entry) => `  ${JSON.stringify(entry)}`).join(",\n");
    this.#replace("up.json", rows === "" ? "[]\n" : `[\n${rows}\n]\n`);
  }

  /** Written whole or not at all, and never readable by others, not even for a moment. */
  writePrivate(path: string, text: string): void {
    rmSync(path, { force: true });
    writeFileSync(path, text, { mode: PRIVATE, flag: "wx" });
  }

  /** Everything that speaks of a running system. Logs stay for reading. */
  release(): void {
    for (const path of ["up.json", "launcher.pid", "shop.secret", "store.url", "control.json"]) {
      rmSync(join(this.path, path), { force: true });
    }
  }

  #replace(name: string, text: string): void {
    const draft = join(this.path, `.${name}.${process.pid}`);
    writeFileSync(draft, text);
    renameSync(draft, join(this.path, name));
  }

  #readUp(): UpEntry[] {
    try {
      const value: unknown = JSON.parse(readFileSync(join(this.path, "up.json"), "utf8"));
      return Array.isArray(value) ? value.filter(isUpEntry) : [];
    } catch {
      return [];
    }
  }

  #readLauncher(): number | undefined {
    try {
      const pid = Number.parseInt(readFileSync(join(this.path, "launcher.pid"), "utf8"), 10);
      // A file without a pid was written by someone who died between two system calls.
      return Number.isInteger(pid) ? pid : -1;
    } catch {
      return undefined;
    }
  }
}

function isUpEntry(value: unknown): value is UpEntry {
  const entry = value as Partial<UpEntry> | null;
  return typeof entry?.pid === "number" && typeof entry.port === "number" && typeof entry.role === "string";
}

function isOurs(pid: number): boolean {
  return pid > 0 && pid !== process.pid && MARK.test(commandOf(pid) ?? "");
}

function alreadyRunning(launcher: number, up: readonly UpEntry[]): string {
  const router = up.find(({ role }) => role === "router");
  const where = router === undefined ? "is being started" : `runs at http://127.0.0.1:${router.port}`;
  return (
    `Sojourn already ${where} (launcher pid ${launcher}). Stop it with Ctrl-C in its terminal or "kill ${launcher}"; ` +
    "a second one beside it needs --state-dir and --port-base."
  );
}

function withoutLauncher(left: readonly UpEntry[]): string {
  const pids = left.map(({ pid }) => pid).join(" ");
  return `Processes of a former run are still alive although their launcher is gone: kill ${pids}`;
}
