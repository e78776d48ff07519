/** Starts the scripts of this folder as processes of their own, and asks them questions. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

export type Script =
  | "application"
  | "session-server"
  | "plain-proxy"
  | "router"
  | "backend"
  | "caller"
  | "holder";

export class Started {
  readonly port: number;
  readonly #child: ChildProcess;

  constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** One question at a time. @throws {Error} when the process has ended */
  ask<Answer>(question: string, argument?: unknown): Promise<Answer> {
    return told(this.#child, { question, argument }, `answering ${question}`);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill();
    await exit;
  }
}

/** @param nodeArgs  for Node itself: `--expose-gc` */
export async function start(
  script: Script,
  config: object = {},
  nodeArgs: readonly string[] = [],
): Promise<Started> {
  // The sources run through `dist` alike: from a test under `lab/`, and from `lab/dist/` itself.
  const here = fileURLToPath(new URL(".", import.meta.url));
  const folder = here.includes("/dist/") ? here : here.replace(/servers\/$/, "dist/servers/");
  const child = fork(`${folder}${script}.js`, [], {
    execArgv: [...nodeArgs],
    env: { ...process.env, NODE_ENV: "production" },
  });
  try {
    return new Started(child, await told<number>(child, config, "starting"));
  } catch (error) {
    child.kill();
    throw error;
  }
}

function told<Answer>(child: ChildProcess, message: object, doing: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null) =>
      reject(new Error(`A measured process ended (${code}) while ${doing}`));
    child.once("exit", ended);
    child.once("message", (reply) => {
      child.removeListener("exit", ended);
      resolve((reply as { answer: Answer }).answer);
    });
    child.send(message, (error) => error && reject(error));
  });
}
