/** What `npm start -- …` understands. A wrong word ends with a sentence, never with a guess. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

export const STRATEGIES = ["none", "sticky", "session-server"] as const;
/** "redis" is what --store makes of it. */
export type Strategy = (typeof STRATEGIES)[number] | "redis";

export const FRAMEWORKS = ["express", "fastify", "node"] as const;
export type Framework = (typeof FRAMEWORKS)[number];

/** Every port a browser or a server must know. The control port is chosen by the system. */
export interface Ports {
  readonly router: number;
  readonly sessionServer: number;
  readonly shops: Readonly<Record<Framework, number>>;
}

export interface LaunchOptions {
  readonly strategy: Strategy;
  readonly ports: Ports;
  /** With the strategy "redis": where sessions live. May hold a password. */
  readonly storeUrl?: string;
  /** Where `up.json`, the secret and the logs go. */
  readonly stateDir: string;
}

const HOST_PORTS: Ports = {
  router: 8080,
  sessionServer: 5701,
  shops: { express: 3001, fastify: 3002, node: 3003 },
};

const PORT_BASE_MIN = 1_024;
const PORT_BASE_MAX = 64_000;
/** What `--port-base` is offered as when a port is taken. */
export const PORT_BASE_EXAMPLE = 13_000;

export const HELP = `Sojourn's quickstart: one session server, three shops on three frameworks, a sticky router.

  npm start                                sessions shared through the session server
  npm start -- --strategy none             every shop for itself, round robin: sessions differ between servers
  npm start -- --strategy sticky           every shop for itself behind a sticky router: a kill costs its sessions
  npm start -- --store redis://127.0.0.1:6379
                                           sessions shared through that Redis, in place of the session server

Options
  --strategy <name>     ${STRATEGIES.join(" | ")} (default session-server)
  --store <url>         redis://host:port or rediss://host:port: all shops share their sessions there. Not together with
                        --strategy: none and sticky share nothing, and session-server brings its own
  --store-file <path>   file with that URL, for one that holds a password
  --port-base <number>  moves all ports: with 13000 the router is 13080, the shops 13001, 13002, 13003,
                        the session server 13701 (default 8080, 3001, 3002, 3003, 5701)
  --state-dir <path>    where up.json and the logs go (default .sojourn)
  --help                this text

Ctrl-C stops everything. A server that was killed stays dead until someone brings it back: in the page, or with
"kill -USR2 <pid of the launcher>".
`;

/** A mistake on the command line; the message is all there is to say. */
export class UsageError extends Error {}

/** @throws {UsageError} @returns "help" when that is what was asked for */
export function parseLaunchArguments(args: readonly string[]): LaunchOptions | "help" {
  const { strategy, store, storeFile, portBase, stateDir, help } = parseWords(args);
  if (help) return "help";
  const ports = portsFrom(portBase);
  const storeUrl = redisUrl(store, storeFile);
  if (storeUrl !== undefined) {
    if (strategy !== undefined) throw new UsageError(notTogether(strategy));
    return { strategy: "redis", storeUrl, ports, stateDir };
  }
  const chosen = STRATEGIES.find((name) => name === (strategy ?? "session-server"));
  if (chosen === undefined) {
    const hint = strategy === "redis" ? "; for Redis give --store redis://127.0.0.1:6379" : "";
    throw new UsageError(
      `Cannot start with --strategy ${strategy}: expected ${STRATEGIES.join(", ")}${hint}`,
    );
  }
  return { strategy: chosen, ports, stateDir };
}

function notTogether(strategy: string): string {
  const why =
    strategy === "session-server"
      ? "it shares sessions through a session server of its own"
      : `with ${strategy} every shop keeps its own sessions`;
  return `Cannot start with --strategy ${strategy} and --store together: ${why}. Leave one of them out.`;
}

function parseWords(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        strategy: { type: "string" },
        store: { type: "string" },
        "store-file": { type: "string" },
        "port-base": { type: "string" },
        "state-dir": { type: "string", default: ".sojourn" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    return {
      strategy: values.strategy,
      store: values.store,
      storeFile: values["store-file"],
      portBase: values["port-base"],
      stateDir: values["state-dir"],
      help: values.help,
    };
  } catch (error) {
    // parseArgs says what is wrong in its first sentence and how to escape a dash in the rest.
    const [found] = (error as Error).message.split(". ");
    throw new UsageError(`Cannot start: ${found}. "npm start -- --help" lists the options.`);
  }
}

/** The last three digits stay, so a moved port is still recognised: 3002 becomes 13002, 8080 becomes 13080. */
function portsFrom(base: string | undefined): Ports {
  if (base === undefined) return HOST_PORTS;
  const number = /^\d{1,5}$/.test(base) ? Number(base) : Number.NaN;
  if (!(number >= PORT_BASE_MIN && number <= PORT_BASE_MAX)) {
    throw new UsageError(
      `Cannot start with --port-base ${base}: expected a number ${PORT_BASE_MIN}..${PORT_BASE_MAX}`,
    );
  }
  const moved = (port: number): number => number + (port % 1000);
  const { express, fastify, node } = HOST_PORTS.shops;
  return {
    router: moved(HOST_PORTS.router),
    sessionServer: moved(HOST_PORTS.sessionServer),
    shops: { express: moved(express), fastify: moved(fastify), node: moved(node) },
  };
}

/**
 * The URL of `--store` or of the file that `--store-file` names.
 *
 * @throws {UsageError} for a password on the command line, which every user of this machine could read
 */
function redisUrl(store: string | undefined, storeFile: string | undefined): string | undefined {
  if (store !== undefined && storeFile !== undefined) {
    throw new UsageError("Cannot start with both --store and --store-file: name Redis once");
  }
  if (storeFile !== undefined) {
    try {
      return readFileSync(storeFile, "utf8").trim();
    } catch (error) {
      throw new UsageError(`Cannot read --store-file ${storeFile}: ${(error as NodeJS.ErrnoException).code}`);
    }
  }
  if (store !== undefined && URL.canParse(store) && new URL(store).password !== "") {
    throw new UsageError(
      "Cannot take a password from --store: every user of this machine can read it there. Put the URL into a file and give --store-file <path>",
    );
  }
  return store;
}
