/** A Node program as a process of its own: what it says is heard, it can be killed, and it never outlives the test. */
import { spawn } from "node:child_process";

const SAY_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 10_000;

export interface Program {
  readonly pid: number;
  /** Everything it has printed so far. */
  output(): string;
  /**
   * Waits until what it has printed matches.
   * @throws with its output when it ends before, or after 20 s
   */
  said(pattern: RegExp): Promise<RegExpExecArray>;
  /** SIGTERM, after 10 s SIGKILL. @returns its exit code, or the signal that ended it */
  stop(): Promise<number | NodeJS.Signals>;
}

/** @param args  the script and its arguments, as after `node` */
export function startProgram(args: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  let hearing: (() => void)[] = [];
  let ended: number | NodeJS.Signals | undefined;
  const tell = (): void => {
    const waiting = hearing;
    hearing = [];
    for (const each of waiting) each();
  };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      printed += chunk.toString();
      tell();
    });
  }
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once("close", (code, signal) => {
      ended = code ?? signal ?? 0;
      resolve(ended);
      tell();
    });
  });
  const kill = (): unknown => child.kill("SIGKILL");
  process.once("exit", kill);
  exited.then(() => process.removeListener("exit", kill));

  return {
    pid: child.pid as number,
    output: () => printed,
    async said(pattern) {
      const deadlineMs = performance.now() + SAY_TIMEOUT_MS;
      for (;;) {
        const found = pattern.exec(printed);
        if (found !== null) return found;
        if (ended !== undefined || performance.now() > deadlineMs) {
          throw new Error(`${args[0]} has not said ${pattern}:\n${printed}`);
        }
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, deadlineMs - performance.now());
          hearing.push(() => {
            clearTimeout(timer);
            resolve();
          });
        });
      }
    },
    async stop() {
      child.kill("SIGTERM");
      const force = setTimeout(kill, STOP_TIMEOUT_MS);
      const how = await exited;
      clearTimeout(force);
      return how;
    },
  };
}
