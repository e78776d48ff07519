/**
 * The launcher's control port: shops ask here what runs, and pass on "kill this server" and "bring it back".
 *
 * It listens on loopback at a port the system chose, and answers only who knows this run's token: it stands in a file
 * that this user alone can read. Browsers are refused altogether, token or not; what a page may ask for goes through a
 * shop, which checks where the page came from (shop/control.ts).
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Child } from "./child.ts";
import { HOST } from "./ports.ts";
import type { System } from "./system.ts";

export const TOKEN_HEADER = "sojourn-control-token";

/** What stands in `.sojourn/control.json`. */
export interface ControlAddress {
  readonly port: number;
  readonly token: string;
}

interface Reply {
  readonly status: number;
  readonly body: unknown;
  /** Runs once the reply is on its way. */
  readonly afterwards?: () => void;
}

const TOKEN_BYTES = 32;
/** A shop that is asked to have itself killed needs a moment to pass the answer on. */
const KILL_DELAY_MS = 60;

export class Control {
  readonly #token = randomBytes(TOKEN_BYTES).toString("base64url");
  readonly #server: Server;
  #system: System | undefined;

  constructor() {
    this.#server = createServer((req, res) => void this.#serve(req, res));
  }

  async listen(): Promise<ControlAddress> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ port: 0, host: HOST }, resolve);
    });
    return { port: (this.#server.address() as AddressInfo).port, token: this.#token };
  }

  serves(system: System): void {
    this.#system = system;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    req.resume();
    const { status, body, afterwards } = this.#allows(req)
      ? await this.#reply(req)
      : problem(403, "FORBIDDEN", "Only this run's shops may ask");
    res.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
    res.end(JSON.stringify(body), afterwards);
  }

  #allows({ headers }: IncomingMessage): boolean {
    const fromBrowser = headers.origin !== undefined || headers["sec-fetch-site"] !== undefined;
    const given = Buffer.from(String(headers[TOKEN_HEADER] ?? ""));
    const wanted = Buffer.from(this.#token);
    return !fromBrowser && given.length === wanted.length && timingSafeEqual(given, wanted);
  }

  async #reply(req: IncomingMessage): Promise<Reply> {
    const system = this.#system;
    if (system === undefined) return problem(503, "STARTING", "The launcher is still starting");
    const [, what, name = "", verb] = (req.url ?? "").split("/");
    if (what !== "servers") return problem(404, "NOT_FOUND", "There is only /servers");
    if (req.method === "GET" && name === "") return { status: 200, body: overview(system) };
    const child = system.find(name);
    if (child === undefined || child.plan.role === "router") {
      return problem(404, "NO_SUCH_SERVER", `There is no server "${name}" that could be killed or started`);
    }
    if (req.method === "POST" && verb === "kill") return kill(system, child);
    if (req.method === "POST" && verb === "start") return start(system, child);
    return problem(
      405,
      "METHOD_NOT_ALLOWED",
      "GET /servers, POST /servers/<name>/kill, POST /servers/<name>/start",
    );
  }
}

function kill(system: System, child: Child): Reply {
  if (system.isLastShop(child)) {
    return problem(
      409,
      "LAST_SHOP",
      `"${child.plan.name}" is the last shop alive: without it nobody is left to show this page`,
    );
  }
  const afterwards = (): void => {
    setTimeout(() => void child.kill(), KILL_DELAY_MS);
  };
  return { status: 202, body: overview(system), afterwards };
}

async function start(system: System, child: Child): Promise<Reply> {
  try {
    await child.start();
    return { status: 200, body: overview(system) };
  } catch (error) {
    return problem(500, "NOT_STARTED", (error as Error).message);
  }
}

/** What the page shows. `launcher` is there for the one case that the page cannot solve: every shop is dead. */
function overview(system: System) {
  const { strategy, redis } = system;
  return { strategy, store: redis?.place ?? null, launcher: process.pid, servers: system.status() };
}

function problem(status: number, code: string, message: string): Reply {
  return { status, body: { code, message } };
}
