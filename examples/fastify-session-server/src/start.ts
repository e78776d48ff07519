/** Starts a session server, two of the application and a router, each a process of its own, in the order they need. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const SOJOURN = fileURLToPath(new URL("./bin/sojourn.js", import.meta.resolve("@sojourn/cli/package.json")));
const APP = fileURLToPath(new URL("./app.js", import.meta.url));

// A secret is given by file: arguments and environment can be read by others.
const folder = mkdtempSync(join(tmpdir(), "sojourn-notes-"));
const secretFile = join(folder, "secret");
writeFileSync(secretFile, randomBytes(32).toString("base64url"), { mode: 0o600 });

const children: ChildProcess[] = [];
let isStopping = false;

/** Resolves with what `ready` finds in the output: where the process listens. */
function run(args: readonly string[], env: Record<string, string>, ready: RegExp): Promise<string> {
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  let text = "";
  return new Promise((resolve, reject) => {
    child.stdout.on("data", (chunk: Buffer) => {
      process.stdout.write(chunk);
      text += chunk;
      const found = ready.exec(text)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once("exit", () => reject(new Error(`${args.join(" ")} ended before it listened`)));
  });
}

function stop(): void {
  if (isStopping) return;
  isStopping = true;
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true });
}
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, stop);

try {
  const sessionServer = await run(
    [SOJOURN, "server", "--port", "0", "--domain", "notes", "--secret-file", secretFile],
    {},
    /session server .* on ([\d.]+:\d+)/,
  );
  const servers = await Promise.all(
    ["a", "b"].map(async (name) => {
      const env = { NAME: name, PORT: "0", SESSION_SERVER: sessionServer, SECRET_FILE: secretFile };
      return `${name}=${await run([APP], env, /on (http:\S+),/)}`;
    }),
  );
  await run(
    [
      SOJOURN,
      "router",
      "--port",
      process.env.PORT ?? "8080",
      ...servers.flatMap((each) => ["--server", each]),
    ],
    {},
    /router on (http:\S+)/,
  );
} catch (error) {
  stop();
  throw error;
}
