/**
 * One server as the router knows it at run time: what an operator said (state), what checks found (health), what it is
 * doing (load), and the connections to it.
 */
import { Agent } from "node:http";
import type { Pool } from "undici";
import type { ServerView } from "./decision.ts";
import type { HealthSettings, RouterSettings, ServerSettings, ServerState } from "./options.ts";
import { Rate } from "./rate.ts";
import type { NodeTarget } from "./upstream-node.ts";

/** With no active checks a server that refused connections is tried again after this time. */
const PASSIVE_COOLDOWN_MS = 5_000;

/** A connection that outlives its request. */
export interface Closable {
  close(): void;
}

export class Backend implements ServerView {
  readonly id: string;
  readonly url: URL;
  readonly cloneId: string;
  readonly weight: number;
  readonly pool: Pool;
  readonly agent: Agent;
  readonly rate = new Rate();
  readonly tunnels = new Set<Closable>();
  requests = 0;
  inFlight = 0;
  state: ServerState = "up";
  healthy = true;
  /** Why it is down, or how the last check went; for people. */
  healthDetail = "not checked yet";
  readonly #inFlightMax: number;
  readonly #settings: RouterSettings;
  #passed = 0;
  #failed = 0;
  #connectFailures = 0;

  constructor(server: ServerSettings, settings: RouterSettings, pool: Pool) {
    this.id = server.id;
    this.url = server.url;
    this.cloneId = server.cloneId;
    this.weight = server.weight;
    this.pool = pool;
    // Node's agent honours the server's `Keep-Alive: timeout` hint; without one it closes after serverKeepAliveMs.
    this.agent = new Agent({ keepAlive: true, timeout: settings.timeouts.serverKeepAliveMs });
    this.#inFlightMax = settings.limits.inFlightMax;
    this.#settings = settings;
  }

  get usable(): ServerView["usable"] {
    if (!this.healthy || this.state === "maintenance" || this.inFlight >= this.#inFlightMax) return "no";
    return this.state === "drain" ? "last-resort" : "yes";
  }

  get leaving(): boolean {
    return this.state !== "up";
  }

  get requestsPerS(): number {
    return this.rate.perS;
  }

  get nodeTarget(): NodeTarget {
    const host = this.url.hostname.replace(/^\[(.*)\]$/, "$1");
    const { connectMs } = this.#settings.timeouts;
    return { host, port: Number(this.url.port || 80), agent: this.agent, connectMs };
  }

  begin(): void {
    this.inFlight++;
    this.requests++;
    this.rate.count();
  }

  end(): void {
    this.inFlight--;
  }

  /** @returns true when this check brought the server back */
  checkPassed(health: HealthSettings): boolean {
    this.#failed = 0;
    this.#passed++;
    this.#connectFailures = 0;
    if (this.healthy || this.#passed < health.rise) return false;
    this.healthy = true;
    this.healthDetail = `passed ${this.#passed} checks`;
    return true;
  }

  /** @returns true when this check took the server down */
  checkFailed(health: HealthSettings, found: string): boolean {
    this.#passed = 0;
    this.#failed++;
    this.healthDetail = found;
    if (!this.healthy || this.#failed < health.fall) return false;
    this.markDown(found);
    return true;
  }

  /** A real request could not connect. @returns true when there were as many in a row as take a server down */
  connectFailed(): boolean {
    this.#connectFailures++;
    const fall = this.#settings.health?.fall ?? 2;
    return this.healthy && this.#connectFailures >= fall;
  }

  answered(): void {
    this.#connectFailures = 0;
  }

  markDown(found: string): void {
    this.healthy = false;
    this.healthDetail = found;
    this.#passed = 0;
    if (this.#settings.health === null) {
      this.#settings.clock.setTimer(() => {
        this.healthy = true;
        this.#connectFailures = 0;
      }, PASSIVE_COOLDOWN_MS);
    }
  }

  closeTunnels(): void {
    for (const tunnel of [...this.tunnels]) tunnel.close();
  }

  async close(): Promise<void> {
    this.closeTunnels();
    this.agent.destroy();
    await this.pool.destroy();
  }
}
