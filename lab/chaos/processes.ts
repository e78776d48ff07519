/** Processes of ours, started for a test and really ended. */
import { type ChildProcess, spawn } from "node:child_process";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";

/** The command `sojourn`, as built. */
export const CLI: string = fileURLToPath(
  new URL("./dist/main.js", import.meta.resolve("@sojourn/cli/package.json")),
);

/** Polls `holds` until it gives true. @throws {Error} naming `what` after `deadlineMs` */
export async function waitUntil(
  what: string,
  holds: () => boolean | Promise<boolean>,
  deadlineMs: number = 10_000,
): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    if (await Promise.resolve(holds()).catch(() => false)) return;
    if (performance.now() > endMs) throw new Error(`Waited ${deadlineMs} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export function start(script: string, options: Record<string, string>, ...words: string[]): ChildProcess {
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
  return spawn(process.execPath, [script, ...words, ...args], { stdio: ["ignore", "ignore", "inherit"] });
}

export async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill(signal);
  await exit;
}

export async function listening(port: number, child: ChildProcess): Promise<void> {
  await waitUntil(`port ${port} listens`, async () => {
    if (child.exitCode !== null) throw new Error("It ended while starting");
    return await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => resolve(false));
    });
  });
}
