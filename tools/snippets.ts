/**
 * The programs that the documentation shows: a fenced `ts` block whose first line is `// name.ts`. They are compiled inside
 * the workspace, where packages are found as a reader's program finds them, and run as processes of their own.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { ROOT } from "./source.ts";

const NAME = /^\/\/ ([\w-]+)\.ts\n/;
const START_TIMEOUT_MS = 10_000;
const ANSWER_TIMEOUT_MS = 15_000;

/** Name → program of every named snippet of a page of `docs/`, or of "README.md". */
export function programsOf(page: string): Map<string, string> {
  const text = readFileSync(join(ROOT, page), "utf8");
  const programs = new Map<string, string>();
  for (const [, name, program] of text.matchAll(/```ts\n\/\/ ([\w-]+)\.ts\n([\s\S]*?)```/g)) {
    if (name && program) programs.set(name, program);
  }
  return programs;
}

/** A fenced `ts` block as it stands. */
export interface Snippet {
  /** As its first line says, `// name.ts`; otherwise `line-12`, where it begins. */
  readonly name: string;
  readonly text: string;
}

/** Every `ts` block of a page, named or not. */
export function snippetsOf(page: string): Snippet[] {
  const text = readFileSync(join(ROOT, page), "utf8");
  return [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => ({
    name: NAME.exec(match[1] ?? "")?.[1] ?? `line-${text.slice(0, match.index).split("\n").length}`,
    text: match[1] ?? "",
  }));
}

/**
 * Compiles programs strictly, as a reader would.
 *
 * @param folder  a name for the place they go to
 * @returns       what the compiler found, "" when nothing; and where each program's JavaScript is
 */
export function compilePrograms(
  folder: string,
  programs: ReadonlyMap<string, string>,
): { readonly found: string; fileOf(name: string): string } {
  const root = join(ROOT, "node_modules/.cache/snippets", folder);
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, "package.json"), '{ "type": "module" }');
  const compilerOptions = {
    rootDir: ".",
    outDir: "dist",
    composite: false,
    incremental: false,
    declaration: false,
    declarationMap: false,
    sourceMap: false,
    // As every NestJS program is compiled.
    experimentalDecorators: true,
  };
  const config = { extends: join(ROOT, "tsconfig.base.json"), compilerOptions, include: ["*.ts"] };
  writeFileSync(join(root, "tsconfig.json"), JSON.stringify(config));
  for (const [name, program] of programs) writeFileSync(join(root, `${name}.ts`), program);
  let found = "";
  try {
    const compiler = join(ROOT, "node_modules/typescript/bin/tsc");
    execFileSync(process.execPath, [compiler, "-p", root], { encoding: "utf8" });
  } catch (error) {
    found = (error as { stdout: string }).stdout;
  }
  return { found, fileOf: (name) => join(root, "dist", `${name}.js`) };
}

export interface RunningProgram {
  readonly origin: string;
  /** SIGTERM; resolves to the exit code, or to the signal when it did not end by itself. */
  stop(): Promise<number | string | null>;
}

/** Runs a program that listens on `PORT`. @throws with what it printed when it ends or does not listen in time */
export async function startProgram(
  file: string,
  env: Readonly<Record<string, string>> = {},
): Promise<RunningProgram> {
  const port = await freePort();
  const child = spawn(process.execPath, [file], {
    env: { ...process.env, ...env, PORT: String(port) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (printed += chunk));
  const giveUpAtMs = Date.now() + START_TIMEOUT_MS;
  while (!(await isListening(port))) {
    if (child.exitCode !== null || Date.now() > giveUpAtMs) {
      child.kill("SIGKILL");
      throw new Error(`${file} does not listen:\n${printed}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { origin: `http://127.0.0.1:${port}`, stop: () => stopped(child) };
}

async function stopped(child: ChildProcess): Promise<number | string | null> {
  const exit = new Promise<number | string | null>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? signal));
  });
  child.kill("SIGTERM");
  const force = setTimeout(() => child.kill("SIGKILL"), 5_000);
  const how = await exit;
  clearTimeout(force);
  return how;
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

/** A browser as far as these tests need one: keeps cookies, follows nothing. */
export class Visitor {
  readonly #jar = new Map<string, string>();
  readonly #origin: string;

  constructor(origin: string) {
    this.#origin = origin;
  }

  async send(method: string, path: string): Promise<Response> {
    const cookie = [...this.#jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(`${this.#origin}${path}`, {
      method,
      redirect: "manual",
      // Not over a connection that an earlier program on the same port has left behind.
      headers: { connection: "close", ...(cookie ? { cookie } : {}) },
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    for (const line of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (/max-age=0|expires=thu, 01 jan 1970/i.test(line)) this.#jar.delete(name);
      else this.#jar.set(name, value);
    }
    return response;
  }

  get(path: string): Promise<Response> {
    return this.send("GET", path);
  }

  post(path: string): Promise<Response> {
    return this.send("POST", path);
  }
}
