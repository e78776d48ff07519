/** `sojourn server`: one session server in the foreground, and `sojourn server status`: how one is doing. */
import { type Command, Option } from "commander";
import { isSessionError } from "sojourn";
import {
  addressText,
  type Log,
  SESSION_SERVER_PORT,
  type ServerStatus,
  type SessionServer,
  sessionServers,
  startSessionServer,
} from "sojourn/server";
import { UsageError } from "../explain.ts";
import { bytesText, durationText, parseBytes, parsePort } from "../numbers.ts";
import { readSecrets, SECRET_FILE_VARIABLE } from "../secret-file.ts";
import { stopOnSignal } from "../stop-on-signal.ts";

const STATUS_TIMEOUT_MS = 2_000;
const STOP_GRACE_MS = 2_000;

interface PlaceOptions {
  readonly host: string;
  readonly port: number;
  readonly domain: string;
  readonly secretFile?: string;
}

interface ServeOptions extends PlaceOptions {
  readonly maxMemory: number;
  readonly log: "text" | "json";
}

interface StatusOptions extends PlaceOptions {
  readonly json?: true;
}

export function registerServer(program: Command): void {
  const server = program
    .command("server")
    .description("run a session server: application servers keep their sessions here")
    .enablePositionalOptions();
  place(server)
    .addOption(
      new Option(
        "--max-memory <size>",
        "what sessions may occupy; above it new ones are refused, none is dropped",
      )
        .argParser(parseBytes)
        .default(parseBytes("1g"), "1g"),
    )
    .addOption(new Option("--log <format>", "how log lines look").choices(["text", "json"]).default("text"))
    .addHelpText(
      "after",
      `
With a secret file every connection is TLS 1.3, and only who holds the secret gets in. Without one the server
listens on this machine only. The file holds one secret a line, at least 16 characters, the newest first:

  head -c 32 /dev/urandom | base64 > shop.secret && chmod 600 shop.secret
  sojourn server --host 0.0.0.0 --domain shop --secret-file shop.secret

SIGTERM and SIGINT stop it in good order: what is under way is finished first.`,
    )
    .action((options: ServeOptions) => serve(options));
  place(server.command("status"))
    .description("ask a running session server how it is; exit code 1 when it does not answer")
    .option("--json", "the whole status as JSON")
    .action((options: StatusOptions) => showStatus(options));
}

/** Where a server is, for running one and for asking one. */
function place(command: Command): Command {
  return command
    .addOption(new Option("--port <port>", "TCP port").argParser(parsePort).default(SESSION_SERVER_PORT))
    .option("--host <host>", "address", "127.0.0.1")
    .option("--domain <name>", "session domain: the servers that share sessions", "default")
    .option("--secret-file <path>", `file with the domain's secret (or ${SECRET_FILE_VARIABLE})`);
}

async function serve(options: ServeOptions): Promise<void> {
  const log = options.log === "json" ? jsonLog : textLog;
  const secret = readSecrets(options.secretFile, (message) => log("warn", message));
  const { host, port, domain, maxMemory: maxBytes } = options;
  let server: SessionServer;
  try {
    server = await startSessionServer({ host, port, domain, maxBytes, log, ...(secret ? { secret } : {}) });
  } catch (error) {
    if (isSessionError(error) && error.code === "PORT_TAKEN") {
      throw new UsageError(
        `${error.message}. Choose another with --port, or look who has it: ss -ltnp sport = :${port}`,
      );
    }
    if (isSessionError(error) && error.code === "INSECURE_LISTEN") {
      throw new UsageError(`${error.message} (--secret-file, see sojourn server --help)`);
    }
    throw error;
  }
  const guard = secret ? "TLS 1.3 with the domain's secret" : "no secret, this machine only";
  log(
    "info",
    `session server for domain "${domain}" on ${addressText(server.address)}, ${guard}, ` +
      `up to ${bytesText(maxBytes)}, pid ${process.pid}`,
  );
  stopOnSignal(() => server.close({ graceMs: STOP_GRACE_MS }), log);
}

async function showStatus(options: StatusOptions): Promise<void> {
  const secret = readSecrets(options.secretFile, (message) => textLog("warn", message));
  const { host, port, domain } = options;
  const store = sessionServers({
    members: [addressText({ host, port })],
    domain,
    timeoutMs: STATUS_TIMEOUT_MS,
    ...(secret ? { secret } : {}),
  });
  try {
    const status = await store.serverStatus();
    process.stdout.write(options.json ? `${JSON.stringify(status, null, 2)}\n` : statusText(status));
  } finally {
    await store.close();
  }
}

function statusText(status: ServerStatus): string {
  const rows: readonly (readonly [string, string])[] = [
    [
      "session server",
      `${status.address}, domain "${status.domain}", ${status.encrypted ? "TLS 1.3" : "no secret"}`,
    ],
    ["version", `${status.version}, protocol ${status.protocol}`],
    ["up", `${durationText(status.uptimeMs)}, pid ${status.pid}`],
    ["sessions", `${status.sessions} in ${bytesText(status.bytes)} of ${bytesText(status.bytesMax)}`],
    ["process memory", bytesText(status.residentBytes)],
    ["connections", `${status.connections}, ${status.watchers} watching`],
    ["operations", `${status.operationsPerSecond.toFixed(1)}/s`],
    ["refused", `${status.refused} connections, ${status.late} operations past their deadline`],
  ];
  return rows.map(([name, value]) => `${name.padEnd(16)}${value}\n`).join("");
}

const textLog: Log = (level, message) => {
  const stream = level === "info" ? process.stdout : process.stderr;
  stream.write(`${new Date().toISOString()} ${level} ${message}\n`);
};

const jsonLog: Log = (level, message) => {
  process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), level, message })}\n`);
};
