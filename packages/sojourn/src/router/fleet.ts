/**
 * All servers of a router, and the state around each decision: snapshot in, decision out, consequences remembered here.
 */
import type { Pool } from "undici";
import { SessionError } from "../core/errors.ts";
import { type AffinityHints, AffinityTokens, readHints } from "./affinity.ts";
import { Backend } from "./backend.ts";
import { type Decision, decide, OUTCOMES, type Outcome, type RoutedRequest } from "./decision.ts";
import { HealthChecks } from "./health.ts";
import {
  type RouterServerOptions,
  type RouterSettings,
  type ServerState,
  serverSettings,
} from "./options.ts";
import { MoveMemory, RELIEF_WINDOW_MS } from "./relief.ts";
import { RetryBudget } from "./retry-budget.ts";

export interface Choice {
  readonly backend: Backend;
  readonly why: Outcome;
  /** The affinity cookie's new value, or null to leave it. */
  readonly token: string | null;
}

export class Fleet {
  readonly retries = new RetryBudget();
  /** Told of every server that was found dead. */
  onDown: (backend: Backend) => void = () => {};
  readonly outcomes: Record<Outcome, number>;
  readonly #settings: RouterSettings;
  readonly #newPool: (origin: string) => Pool;
  readonly #backends = new Map<string, Backend>();
  readonly #clones = new Map<string, string>();
  readonly #tokens: AffinityTokens;
  readonly #moves: MoveMemory;
  readonly #health: HealthChecks | null;
  readonly #random: () => number;
  #list: readonly Backend[] = [];
  #turn = 0;

  constructor(settings: RouterSettings, newPool: (origin: string) => Pool) {
    this.#settings = settings;
    this.#newPool = newPool;
    this.#tokens = new AffinityTokens(settings.cluster, settings.cookieSecrets);
    this.#moves = new MoveMemory(settings.relief?.holdMs ?? 1);
    this.#random = () => settings.clock.randomBytes(4).readUInt32LE() / 4_294_967_296;
    this.outcomes = Object.fromEntries(OUTCOMES.map((why) => [why, 0])) as Record<Outcome, number>;
    this.#health =
      settings.health === null
        ? null
        : new HealthChecks(
            settings,
            settings.health,
            (backend) => this.#cameBack(backend),
            (backend, found) => this.#wentDown(backend, found),
          );
  }

  get backends(): readonly Backend[] {
    return this.#list;
  }

  /** @throws {SessionError} INVALID_OPTION: malformed, or the id or clone id is taken */
  add(options: RouterServerOptions): void {
    const server = serverSettings(options);
    if (this.#backends.has(server.id)) {
      throw new SessionError("INVALID_OPTION", `Cannot add server "${server.id}": there is one of that id`);
    }
    // Two servers of one clone id (a cloned profile, say) would take each other's sessions by turns.
    if (this.#clones.has(server.cloneId)) {
      throw new SessionError(
        "INVALID_OPTION",
        `Cannot add server "${server.id}": clone id "${server.cloneId}" belongs to "${this.#clones.get(server.cloneId)}"`,
      );
    }
    const backend = new Backend(server, this.#settings, this.#newPool(server.url.origin));
    backend.rate.startFrom(this.#meanRate());
    this.#backends.set(server.id, backend);
    this.#clones.set(server.cloneId, server.id);
    this.#tokens.add(server.id);
    this.#list = [...this.#backends.values()];
    this.#health?.watch(backend);
  }

  /** Takes the server out; what runs on it finishes first. */
  async remove(id: string, drained: (backend: Backend) => Promise<void>): Promise<void> {
    const backend = this.require(id, "remove");
    this.#backends.delete(id);
    this.#clones.delete(backend.cloneId);
    this.#tokens.remove(id);
    this.#list = [...this.#backends.values()];
    this.#health?.forget(backend);
    backend.closeTunnels();
    await drained(backend);
    await backend.close();
  }

  setState(id: string, state: ServerState): void {
    const backend = this.require(id, `set the state of`);
    if (backend.state === state) return;
    const before = backend.state;
    backend.state = state;
    if (state === "maintenance") backend.closeTunnels();
    if (before === "maintenance") backend.rate.startFrom(this.#meanRate());
    this.#settings.log({
      level: "info",
      event: "server-state",
      server: id,
      detail: `${before} → ${state}, ${backend.inFlight} in flight`,
    });
  }

  require(id: string, action: string): Backend {
    const backend = this.#backends.get(id);
    if (backend !== undefined) return backend;
    throw new SessionError("INVALID_OPTION", `Cannot ${action} server "${id}": there is none of that id`);
  }

  hints(cookieValues: readonly string[], sessionValues: readonly string[], address: string): AffinityHints {
    return readHints(cookieValues, sessionValues, address, this.#tokens, this.#clones);
  }

  /** @returns null when no server can take the request */
  choose(request: RoutedRequest): Choice | null {
    const { affinity, balance, relief, clock } = this.#settings;
    const nowMs = clock.monotonicMs();
    const decision = decide(
      {
        servers: this.#list,
        affinity,
        balance,
        turn: this.#turn,
        relief: relief !== null && this.#moves.hasRoom(nowMs) ? relief : null,
        reliefWindow: Math.floor(nowMs / RELIEF_WINDOW_MS),
        moveOf: (keyHash) => this.#moves.moveOf(keyHash, nowMs),
      },
      request,
      this.#random,
    );
    if (decision === null) return null;
    this.#turn = (this.#turn + 1) % Number.MAX_SAFE_INTEGER;
    return this.#carryOut(decision, nowMs);
  }

  tick(elapsedMs: number): void {
    for (const { rate } of this.#list) rate.tick(elapsedMs);
  }

  /** A request could not connect to the server. */
  connectFailed(backend: Backend, found: string): void {
    if (!backend.connectFailed()) return;
    // Panic guard: when half of the servers are out, the fault may be ours, and the rest would drown.
    const out = this.#list.filter(({ healthy }) => !healthy).length;
    if ((out + 1) * 2 > this.#list.length) return;
    backend.markDown(found);
    this.#wentDown(backend, found);
  }

  async close(): Promise<void> {
    this.#health?.close();
    await Promise.all(this.#list.map((backend) => backend.close()));
  }

  #carryOut(decision: Decision, nowMs: number): Choice {
    const { serverId, why, setCookie, moved } = decision;
    if (moved !== null) this.#moves.remember(moved.keyHash, moved, nowMs);
    this.outcomes[why]++;
    return {
      backend: this.#backends.get(serverId)!,
      why,
      token: setCookie ? this.#tokens.tokenFor(serverId) : null,
    };
  }

  #cameBack(backend: Backend): void {
    backend.rate.startFrom(this.#meanRate());
    this.#settings.log({
      level: "info",
      event: "server-up",
      server: backend.id,
      detail: backend.healthDetail,
    });
  }

  #wentDown(backend: Backend, found: string): void {
    this.#settings.log({ level: "warn", event: "server-down", server: backend.id, detail: found });
    this.onDown(backend);
  }

  #meanRate(): number {
    const running = this.#list.filter(({ usable }) => usable === "yes");
    const sum = running.reduce((total, { requestsPerS }) => total + requestsPerS, 0);
    return running.length === 0 ? 0 : sum / running.length;
  }
}
