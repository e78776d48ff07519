/** What `npm start -- …` understands. A wrong word ends with a sentence, never with a guess. */
import { parseArgs } from "node:util";

export const STRATEGIES = ["none", "sticky", "session-server"] as const;
export type Strategy = (typeof STRATEGIES)[number];

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

Options
  --strategy <name>     ${STRATEGIES.join(" | ")} (default session-server)
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
  const { strategy, portBase, stateDir, help } = parseWords(args);
  if (help) return "help";
  if (!STRATEGIES.includes(strategy as Strategy)) {
    throw new UsageError(`Cannot start with --strategy ${strategy}: expected ${STRATEGIES.join(", ")}`);
  }
  return { strategy: strategy as Strategy, ports: portsFrom(portBase), stateDir };
}

function parseWords(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        strategy: { type: "string", default: "session-server" },
        "port-base": { type: "string" },
        "state-dir": { type: "string", default: ".sojourn" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    return {
      strategy: values.strategy,
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
