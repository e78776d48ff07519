/**
 * The router: an HTTP/1.1 reverse proxy that sends a session back to the server that knows it, and elsewhere when that is
 * better. It buys speed; sessions are right wherever a request ends up. How it decides: decision.ts and docs/router.md.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Timer } from "../core/clock.ts";
import { SessionError } from "../core/errors.ts";
import { answer } from "./answer.ts";
import { Bag } from "./bag.ts";
import type { RouterContext, Watched } from "./context.ts";
import type { Outcome } from "./decision.ts";
import { createEdge } from "./edge.ts";
import { Exchange } from "./exchange.ts";
import { Fleet } from "./fleet.ts";
import { type RouterOptions, type RouterServerOptions, routerSettings, type ServerState } from "./options.ts";
import { RequestReader } from "./request-head.ts";
import { answerHealth, HEALTH_PATH } from "./status.ts";
import { declineUpgrade, isWebSocket, Tunnel } from "./tunnel.ts";

export interface RouterServerStatus {
  readonly id: string;
  readonly url: string;
  readonly state: ServerState;
  readonly health: "up" | "down";
  /** What the last check found, for people. */
  readonly healthDetail: string;
  readonly weight: number;
  /** Exponentially weighted, time constant 10 s. */
  readonly requestsPerS: number;
  /** This server's rate per weight over the mean of all usable servers; 1 is fair, 0 without traffic. */
  readonly load: number;
  /** Requests under way, tunnels included. */
  readonly inFlight: number;
  readonly tunnels: number;
  /** Since the start. */
  readonly requests: number;
}

export interface Router {
  readonly address: { readonly host: string; readonly port: number };
  servers(): RouterServerStatus[];
  /** How many requests were placed for which reason, since the start. */
  outcomes(): Readonly<Record<Outcome, number>>;
  /** @throws {SessionError} INVALID_OPTION for an unknown id */
  setState(id: string, state: ServerState): void;
  /** @throws {SessionError} INVALID_OPTION */
  addServer(server: RouterServerOptions): void;
  /** Gives it nothing more, closes its WebSockets, waits for its requests, and forgets it. */
  removeServer(id: string): Promise<void>;
  /** Takes no more, lets what runs finish within `timeouts.closeMs`, then cuts. Idempotent. */
  close(): Promise<void>;
}

/** Looks through everything under way this often, or more often where a timeout is shorter. */
const SWEEP_MS_MAX = 1_000;

/**
 * Starts a router. Needs the package `undici`, and is the only part of this library that loads it.
 *
 * @throws {SessionError} INVALID_OPTION, PORT_TAKEN
 */
export async function startRouter(options: RouterOptions): Promise<Router> {
  const settings = routerSettings(options);
  const { Pool } = await import("undici");
  const { timeouts } = settings;
  const fleet = new Fleet(
    settings,
    (origin) =>
      new Pool(origin, {
        // No queue: a server is full at limits.inFlightMax, and then the request goes elsewhere instead of waiting.
        connections: null,
        pipelining: 1,
        connect: { timeout: timeouts.connectMs },
        keepAliveTimeout: timeouts.serverKeepAliveMs,
        // The sweep below bounds every wait; undici's own timers would also end silent event streams.
        headersTimeout: 0,
        bodyTimeout: 0,
      }),
  );
  const router = new RunningRouter(settings, fleet);
  try {
    for (const server of options.servers) fleet.add(server);
    await router.listen();
  } catch (error) {
    await router.close();
    throw error;
  }
  return router;
}

class RunningRouter implements Router {
  readonly #context: RouterContext;
  readonly #server: Server;
  readonly #reader: RequestReader;
  readonly #tunnels = new Set<Socket>();
  readonly #sweepMs: number;
  #sweep: Timer | null = null;
  #sweptMs = 0;
  #closing: Promise<void> | null = null;
  address = { host: "", port: 0 };

  constructor(settings: RouterContext["settings"], fleet: Fleet) {
    this.#context = {
      settings,
      fleet,
      watched: new Bag<Watched>(),
      closing: () => this.#closing !== null,
    };
    fleet.onDown = (backend) => {
      for (const item of this.#context.watched) item.rescue(backend);
    };
    const via = `sojourn-${settings.clock.randomBytes(6).toString("hex")}`;
    this.#reader = new RequestReader(settings, via, (cookies, sessions, address) =>
      fleet.hints(cookies, sessions, address),
    );
    this.#server = createEdge(settings, {
      request: (request, response) => this.#request(request, response),
      upgrade: (request, socket, first) => this.#upgrade(request, socket, first),
    });
    const { firstByteMs, bodyIdleMs, responseIdleMs, clientStallMs, tunnelIdleMs } = settings.timeouts;
    const shortestMs = Math.min(firstByteMs, bodyIdleMs, responseIdleMs, clientStallMs, tunnelIdleMs);
    this.#sweepMs = Math.min(SWEEP_MS_MAX, Math.max(10, shortestMs / 4));
  }

  async listen(): Promise<void> {
    const { host, port, clock } = this.#context.settings;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (error: NodeJS.ErrnoException) => {
        reject(
          error.code === "EADDRINUSE"
            ? new SessionError("PORT_TAKEN", `Cannot start router on ${host}:${port}: the port is taken`, {
                cause: error,
              })
            : error,
        );
      });
      this.#server.listen(port, host, resolve);
    });
    const { address, port: actualPort } = this.#server.address() as AddressInfo;
    this.address = { host: address, port: actualPort };
    this.#sweptMs = clock.monotonicMs();
    this.#scheduleSweep();
  }

  servers(): RouterServerStatus[] {
    const { backends } = this.#context.fleet;
    const usable = backends.filter((backend) => backend.usable === "yes");
    const weights = usable.reduce((sum, { weight }) => sum + weight, 0);
    const mean = usable.reduce((sum, { requestsPerS }) => sum + requestsPerS, 0) / (weights || 1);
    return backends.map((backend) => ({
      id: backend.id,
      url: backend.url.origin,
      state: backend.state,
      health: backend.healthy ? "up" : "down",
      healthDetail: backend.healthDetail,
      weight: backend.weight,
      requestsPerS: backend.requestsPerS,
      load: mean > 0 ? backend.requestsPerS / backend.weight / mean : 0,
      inFlight: backend.inFlight,
      tunnels: backend.tunnels.size,
      requests: backend.requests,
    }));
  }

  outcomes(): Readonly<Record<Outcome, number>> {
    return { ...this.#context.fleet.outcomes };
  }

  setState(id: string, state: ServerState): void {
    this.#context.fleet.setState(id, state);
  }

  addServer(server: RouterServerOptions): void {
    this.#context.fleet.add(server);
  }

  removeServer(id: string): Promise<void> {
    const { closeMs } = this.#context.settings.timeouts;
    return this.#context.fleet.remove(id, (backend) => this.#until(() => backend.inFlight === 0, closeMs));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { watched, fleet, settings } = this.#context;
    const closed = new Promise<void>((resolve) => {
      if (this.#server.listening) this.#server.close(() => resolve());
      else resolve();
    });
    this.#server.closeIdleConnections();
    for (const backend of fleet.backends) backend.closeTunnels();
    await this.#until(() => watched.size === 0, settings.timeouts.closeMs);
    for (const item of watched) item.cut("router stopped");
    for (const socket of this.#tunnels) socket.destroy();
    this.#server.closeAllConnections();
    this.#sweep?.cancel();
    await fleet.close();
    await closed;
  }

  #request(request: IncomingMessage, response: ServerResponse): void {
    const head = this.#reader.read(request);
    if ("status" in head) {
      answer(request, response, head.status, head.reason);
    } else if (head.path === HEALTH_PATH || head.path.startsWith(`${HEALTH_PATH}?`)) {
      answerHealth(request, response, this.servers(), this.#closing !== null);
    } else {
      new Exchange(this.#context, request, response, head).start();
    }
  }

  #upgrade(request: IncomingMessage, socket: Socket, first: Buffer): void {
    if (!isWebSocket(request)) {
      declineUpgrade(this.#server, request, socket, first);
      return;
    }
    // Node's server forgets an upgraded socket; closing must still find it.
    this.#tunnels.add(socket);
    socket.on("close", () => this.#tunnels.delete(socket));
    Tunnel.open(this.#context, request, socket, first, this.#reader.read(request));
  }

  #scheduleSweep(): void {
    const { clock } = this.#context.settings;
    this.#sweep = clock.setTimer(() => {
      const nowMs = clock.monotonicMs();
      this.#context.fleet.tick(nowMs - this.#sweptMs);
      this.#sweptMs = nowMs;
      for (const item of this.#context.watched) item.check(nowMs);
      this.#scheduleSweep();
    }, this.#sweepMs);
  }

  /** Resolves when `met`, or after `withinMs`. */
  async #until(met: () => boolean, withinMs: number): Promise<void> {
    const { clock } = this.#context.settings;
    const deadlineMs = clock.monotonicMs() + withinMs;
    while (!met() && clock.monotonicMs() < deadlineMs) {
      await new Promise<void>((resolve) => {
        clock.setTimer(resolve, 20, "keep-alive");
      });
    }
  }
}
