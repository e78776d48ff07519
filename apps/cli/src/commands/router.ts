/** `sojourn router`: a sticky reverse proxy in the foreground, administered on a loopback port. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { isSessionError } from "sojourn";
import {
  type AffinityKind,
  type RouterAdmin,
  type RouterEvent,
  type RouterServerOptions,
  startRouter,
  startRouterAdmin,
} from "sojourn/router";
import { UsageError } from "../explain.ts";
import { parsePort } from "../numbers.ts";
import { readSecrets, SECRET_FILE_VARIABLE } from "../secret-file.ts";
import { stopOnSignal } from "../stop-on-signal.ts";

interface RouterCommandOptions {
  readonly port: number;
  readonly host: string;
  readonly server: readonly RouterServerOptions[];
  readonly affinity: readonly AffinityKind[];
  readonly cookieName: string;
  readonly sessionCookie?: string;
  readonly secretFile?: string;
  readonly cluster: string;
  readonly trustProxy: readonly string[];
  readonly health: boolean;
  readonly healthPath: string;
  readonly healthInterval: number;
  readonly relief: boolean;
  readonly affinityOverrideCookie?: string;
  readonly adminPort?: number;
  readonly log: "text" | "json";
}

export function registerRouter(program: Command): void {
  program
    .command("router")
    .description("run a sticky router: a session goes back to the server that knows it")
    .addOption(new Option("--port <port>", "where clients come in").argParser(parsePort).default(8080))
    .option("--host <host>", "address", "127.0.0.1")
    .addOption(
      new Option("--server <id=url[,weight=n][,clone=id]>", "an application server; once for each")
        .argParser(collectServer)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option("--affinity <kinds>", "cookie, clone, address or none; several with commas, in order")
        .argParser(parseAffinity)
        .default(["clone", "cookie"], "clone,cookie"),
    )
    .option("--cookie-name <name>", "the router's own cookie", "SERVERID")
    .option("--session-cookie <name>", "session cookie that carries the clone id (default: __Host-sid, sid)")
    .option(
      "--secret-file <path>",
      `file with the secret of the cookie's tokens (or ${SECRET_FILE_VARIABLE})`,
    )
    .option("--cluster <name>", "names the cluster in the tokens", "sojourn")
    .addOption(
      new Option("--trust-proxy <cidr>", "proxy whose X-Forwarded-* count; once for each")
        .argParser((text: string, before: string[]) => [...before, text])
        .default([], "none"),
    )
    .option("--health-path <path>", "what an active check asks for", "/health")
    .addOption(
      new Option("--health-interval <ms>", "between two checks").argParser(parsePositive).default(1_000),
    )
    .option("--no-health", "no active checks; refused connections still take a server out for a while")
    .option("--no-relief", "sessions never leave a hot server")
    .option(
      "--affinity-override-cookie <name>",
      "for demonstrations: a request with <name>=none is sent round robin",
    )
    .addOption(
      new Option("--admin-port <port>", "administration on 127.0.0.1 (off unless given)").argParser(
        parsePort,
      ),
    )
    .addOption(new Option("--log <format>", "how log lines look").choices(["text", "json"]).default("text"))
    .addHelpText(
      "after",
      `
Two servers, sticky by session id suffix, then by cookie:

  sojourn router --port 8080 --server b1=http://127.0.0.1:3001 --server b2=http://127.0.0.1:3002 --admin-port 8081

  GET  http://127.0.0.1:8080/-/health             the router's state, for monitors
  GET  http://127.0.0.1:8081/status               every figure
  POST http://127.0.0.1:8081/servers/b1/state     {"state": "drain"}, "maintenance" or "up"

  curl -H content-type:application/json -d '{"state":"drain"}' http://127.0.0.1:8081/servers/b1/state

Without a secret file the router draws a key when it starts: after a restart visitors are placed anew, and two routers
do not understand each other's cookie. SIGTERM and SIGINT stop it when what is under way is finished.`,
    )
    .action((options: RouterCommandOptions) => run(options));
}

async function run(options: RouterCommandOptions): Promise<void> {
  const log = options.log === "json" ? jsonLine : textLine;
  const secret = readSecrets(options.secretFile, (message) => log("warn", message));
  const router = await started(options, () =>
    startRouter({
      port: options.port,
      host: options.host,
      servers: options.server,
      affinity: options.affinity,
      cookie: { name: options.cookieName, ...(secret === undefined ? {} : { secret }) },
      cluster: options.cluster,
      ...(options.sessionCookie === undefined ? {} : { sessionCookieName: options.sessionCookie }),
      trustedProxies: options.trustProxy,
      health: options.health && { path: options.healthPath, intervalMs: options.healthInterval },
      ...(options.relief ? {} : { relief: false as const }),
      ...(options.affinityOverrideCookie === undefined
        ? {}
        : { affinityOverrideCookie: options.affinityOverrideCookie }),
      log: (event: RouterEvent) => log(event.level, `${event.event} ${event.server}: ${event.detail}`),
    }),
  );
  let admin: RouterAdmin | null = null;
  if (options.adminPort !== undefined) {
    const port = options.adminPort;
    try {
      admin = await started(options, () => startRouterAdmin(router, { port }));
    } catch (error) {
      await router.close();
      throw error;
    }
  }
  const names = options.server.map(({ id }) => id).join(", ");
  log(
    "info",
    `router on http://${bracketed(router.address.host)}:${router.address.port} for ${names}, ` +
      `affinity ${options.affinity.join(", ") || "none"}, pid ${process.pid}`,
  );
  if (admin !== null) log("info", `administration on http://127.0.0.1:${admin.address.port}`);
  stopOnSignal(() => Promise.all([router.close(), admin?.close()]), log);
}

async function started<T>(options: RouterCommandOptions, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    if (isSessionError(error) && error.code === "PORT_TAKEN") {
      throw new UsageError(`${error.message}. Choose another with --port or --admin-port`);
    }
    if ((error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND") {
      throw new UsageError("Cannot start router: the package undici is not installed (npm install undici)");
    }
    if (["EADDRNOTAVAIL", "EACCES", "ENOTFOUND"].includes((error as NodeJS.ErrnoException).code ?? "")) {
      const { code } = error as NodeJS.ErrnoException;
      throw new UsageError(`Cannot start router on ${options.host}:${options.port}: ${code}`);
    }
    throw error;
  }
}

type LogLine = (level: "info" | "warn", message: string) => void;

function collectServer(text: string, before: RouterServerOptions[] | undefined): RouterServerOptions[] {
  const match = /^([^=]+)=(https?:\/\/[^,]+)((?:,[a-z]+=[^,]+)*)$/.exec(text);
  if (match === null) throw new InvalidArgumentError("Expected id=url, such as b1=http://127.0.0.1:3001.");
  const server: RouterServerOptions = { id: match[1]!, url: match[2]! };
  for (const part of match[3]!.split(",").slice(1)) {
    const [name, value = ""] = part.split("=", 2);
    if (name === "weight") server.weight = parsePositive(value);
    else if (name === "clone") server.cloneId = value;
    else throw new InvalidArgumentError(`"${name}" is neither weight nor clone.`);
  }
  return [...(before ?? []), server];
}

function parseAffinity(text: string): AffinityKind[] {
  if (text === "none") return [];
  return text.split(",").map((kind) => {
    if (kind === "cookie" || kind === "clone" || kind === "address") return kind;
    throw new InvalidArgumentError("Expected cookie, clone, address, several of them with commas, or none.");
  });
}

function parsePositive(text: string): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (value === 0) throw new InvalidArgumentError("Expected a whole number above 0.");
  return value;
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

const textLine: LogLine = (level, message) => {
  const stream = level === "info" ? process.stdout : process.stderr;
  stream.write(`${new Date().toISOString()} ${level} ${message}\n`);
};

const jsonLine: LogLine = (level, message) => {
  process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), level, message })}\n`);
};
