/**
 * Session servers as a store. One connection carries everything, pipelined; when it is lost, what was on its way goes
 * again over the next one, under the same operation id and its own deadline.
 *
 * During an outage nobody waits for what is known to be away: once a connection has timed out or could not be made,
 * calls fail in the same turn while one probe at a time, with growing jittered pauses, looks for a server. The first that
 * answers a hello ends the outage; nothing was queued meanwhile, so no herd arrives with it.
 *
 * Until session servers copy sessions to each other, name one. Further addresses are tried in order when it is away.
 */
import { type Clock, systemClock } from "../../core/clock.ts";
import { SessionError } from "../../core/errors.ts";
import { newOperationId, type SessionKey } from "../../core/ids.ts";
import { deriveKeys } from "../../core/keys.ts";
import type { NewSession, SessionDelta, SessionRecord } from "../../core/record.ts";
import {
  type ApplyOptions,
  type ApplyResult,
  type CreateResult,
  type EnumerableStore,
  type ListOptions,
  RENEWAL_GRACE_MS,
  type ReadOptions,
  type SessionPage,
  STORE_TIMEOUT_MS_DEFAULT,
  type SupersedeOptions,
  type SupersedeResult,
  type Watch,
  type WatchableStore,
  type WatchListener,
  type WriteOptions,
} from "../../store/store.ts";
import { type Log, silent } from "../log.ts";
import type { ServerStatus } from "../server/session-server.ts";
import { SOFTWARE } from "../software.ts";
import { tcpTransport } from "../transport/tcp.ts";
import { addressText, isLoopback, parseAddress, type Transport } from "../transport/transport.ts";
import { checkDomain, OUR_PROTOCOLS } from "../wire/hello.ts";
import type { Reply } from "../wire/replies.ts";
import type { Request } from "../wire/requests.ts";
import { Connector } from "./connector.ts";
import { Operation, STORE_NAME } from "./operation.ts";

export interface SessionServersOptions {
  /** `host:port`, port 5701 by default. */
  readonly members: readonly string[];
  /** The servers' domain. Default "default". */
  readonly domain?: string;
  /** The domain's secret; with several, newest first. Without one, the servers must be on this machine and have none. */
  readonly secret?: string | readonly string[];
  readonly clock?: Clock;
  readonly log?: Log;
  /** For calls that bring none. Default 500. */
  readonly timeoutMs?: number;
  /** Calls under way at a time; one more fails at once. Default 10,000. */
  readonly pendingMax?: number;
  /** Bytes that the network has not taken yet; above it calls fail at once. Default 32 MiB. */
  readonly queuedBytesMax?: number;
  /** Names this process in the servers' logs. Default: random. */
  readonly memberId?: string;
  /** Default TCP, or TLS over it with a secret. */
  readonly transport?: Transport;
}

export interface SessionServersStatus {
  /** The server in use, `host:port`, or null during an outage. */
  readonly connectedTo: string | null;
  /** Why there is none. */
  readonly problem: string | null;
  readonly pending: number;
  readonly queuedBytes: number;
  /** Connections made so far. */
  readonly connects: number;
}

export interface SessionServersStore extends EnumerableStore, WatchableStore {
  status(): SessionServersStatus;
  /** The server's own page about itself. A newer server may say more. */
  serverStatus(options?: ReadOptions): Promise<ServerStatus>;
}

/** @throws {SessionError} INVALID_OPTION; whether a server answers is found out by the first call */
export function sessionServers(options: SessionServersOptions): SessionServersStore {
  return new SessionServers(options);
}

class SessionServers implements SessionServersStore {
  readonly name = STORE_NAME;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #pendingMax: number;
  readonly #queuedBytesMax: number;
  readonly #connector: Connector;
  readonly #pending = new Set<Operation>();
  readonly #listeners = new Set<WatchListener>();
  #closing: Promise<void> | undefined;

  constructor(options: SessionServersOptions) {
    const clock = options.clock ?? systemClock;
    const domain = checkDomain(options.domain ?? "default");
    if (options.members.length === 0) {
      throw new SessionError("INVALID_OPTION", "Cannot use session servers: `members` is empty");
    }
    const keys = options.secret === undefined ? undefined : deriveKeys(options.secret).psk;
    const members = options.members.map((member) => parseAddress(member));
    const exposed = members.find(({ host }) => !isLoopback(host));
    if (exposed && !keys && !options.transport) {
      throw new SessionError(
        "INVALID_OPTION",
        `Cannot use session server ${addressText(exposed)} without \`secret\`: sessions would cross the network in plain`,
      );
    }
    this.#clock = clock;
    this.#timeoutMs = options.timeoutMs ?? STORE_TIMEOUT_MS_DEFAULT;
    this.#pendingMax = options.pendingMax ?? 10_000;
    this.#queuedBytesMax = options.queuedBytesMax ?? 32 * 1024 * 1024;
    this.#connector = new Connector({
      members,
      transport: options.transport ?? tcpTransport({ clock, security: keys && { domain, keys } }),
      attemptsPerMember: keys?.length ?? 1,
      clock,
      log: options.log ?? silent,
      identity: {
        protocols: OUR_PROTOCOLS,
        role: "client",
        features: 0,
        domain,
        member: options.memberId ?? clock.randomBytes(9).toString("base64url"),
        incarnation: clock.randomBytes(8).toString("hex"),
        software: SOFTWARE,
      },
      invalidated: (keys) => this.#invalidated(keys),
      isWatched: () => this.#listeners.size > 0,
    });
  }

  async read(key: SessionKey, options?: ReadOptions): Promise<SessionRecord | null> {
    return (await this.#call({ op: "read", key }, "read the session", options)).record;
  }

  async create(session: NewSession, options?: WriteOptions): Promise<CreateResult> {
    const request = { op: "create", session, operationId: this.#operationId(options) } as const;
    return (await this.#call(request, "create the session", options)).result;
  }

  async apply(key: SessionKey, delta: SessionDelta, options?: ApplyOptions): Promise<ApplyResult> {
    const { atLeast } = options ?? {};
    const request = { op: "apply", key, delta, atLeast, operationId: this.#operationId(options) } as const;
    return (await this.#call(request, "change the session", options)).result;
  }

  async touch(key: SessionKey, expiresAtMs: number, options?: WriteOptions): Promise<boolean> {
    const request = { op: "touch", key, expiresAtMs, operationId: this.#operationId(options) } as const;
    return (await this.#call(request, "touch the session", options)).live;
  }

  async supersede(key: SessionKey, options: SupersedeOptions): Promise<SupersedeResult> {
    const { successor, graceMs = RENEWAL_GRACE_MS } = options;
    const operationId = this.#operationId(options);
    const request = { op: "supersede", key, successor, graceMs, operationId } as const;
    return (await this.#call(request, "renew the session", options)).result;
  }

  async destroy(key: SessionKey, options?: WriteOptions): Promise<boolean> {
    const request = { op: "destroy", key, operationId: this.#operationId(options) } as const;
    return (await this.#call(request, "end the session", options)).ended;
  }

  async list(options: ListOptions = {}): Promise<SessionPage> {
    const { principal, cursor, limit } = options;
    if (limit !== undefined && !(Number.isInteger(limit) && limit >= 1 && limit <= 1000)) {
      throw new SessionError(
        "INVALID_OPTION",
        `Cannot list sessions: the limit is ${limit}, expected 1..1000`,
      );
    }
    return (await this.#call({ op: "list", principal, cursor, limit }, "list sessions", options)).page;
  }

  async count(options: ReadOptions & { readonly principal?: string } = {}): Promise<number> {
    const { principal } = options;
    return (await this.#call({ op: "count", principal }, "count sessions", options)).count;
  }

  async endAll(
    principal: string,
    options?: WriteOptions & { readonly except?: SessionKey },
  ): Promise<number> {
    const request = {
      op: "endAll",
      principal,
      except: options?.except,
      operationId: this.#operationId(options),
    } as const;
    return (await this.#call(request, "end all sessions of the principal", options)).count;
  }

  async watch(listener: WatchListener): Promise<Watch> {
    this.#listeners.add(listener);
    try {
      // With a watch already standing this asks again: harmless, and it proves that the channel is alive.
      await this.#call({ op: "watch" }, "watch sessions", undefined);
    } catch (error) {
      this.#listeners.delete(listener);
      throw error;
    }
    return {
      leaseUntilMs: () => (this.#listeners.has(listener) ? this.#connector.leaseUntilMs : 0),
      close: () => this.#listeners.delete(listener),
    };
  }

  async serverStatus(options?: ReadOptions): Promise<ServerStatus> {
    const { json } = await this.#call({ op: "status" }, "ask for the status", options);
    return JSON.parse(json) as ServerStatus;
  }

  status(): SessionServersStatus {
    return { ...this.#connector.status(), pending: this.#pending.size };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const reason = new SessionError("STORE_CLOSED", `Cannot go on: store "${STORE_NAME}" was closed`);
    this.#connector.stop(reason);
    // Those on their way have a deadline each; those without a connection were failed just now.
    await Promise.allSettled([...this.#pending].map((operation) => operation.reply));
    await this.#connector.close(reason);
    this.#listeners.clear();
  }

  async #call<R extends Request>(
    request: R,
    action: string,
    options: ReadOptions | undefined,
  ): Promise<Extract<Reply, { op: R["op"] }>> {
    if (this.#closing) {
      throw new SessionError("STORE_CLOSED", `Cannot ${action}: store "${STORE_NAME}" was closed`);
    }
    options?.signal?.throwIfAborted();
    const timeoutMs = options?.timeoutMs ?? this.#timeoutMs;
    const operation = new Operation(
      request,
      action,
      this.#clock,
      { timeoutMs, signal: options?.signal },
      this.#settled,
    );
    this.#pending.add(operation);
    if (this.#pending.size > this.#pendingMax) {
      operation.unavailable(`has ${this.#pendingMax} calls under way already`);
    } else if (this.#connector.queuedBytes > this.#queuedBytesMax) {
      operation.unavailable(`has not taken ${this.#connector.queuedBytes} bytes sent before`);
    } else {
      this.#connector.send(operation);
    }
    return (await operation.reply) as Extract<Reply, { op: R["op"] }>;
  }

  readonly #settled = (operation: Operation, timedOut: boolean): void => {
    this.#pending.delete(operation);
    this.#connector.abandon(operation, timedOut);
  };

  #operationId(options: WriteOptions | undefined) {
    return options?.operationId ?? newOperationId(this.#clock);
  }

  #invalidated(keys: readonly SessionKey[] | "all"): void {
    for (const listener of this.#listeners) {
      try {
        listener.invalidated(keys);
      } catch {
        // It has missed something and cannot know what: its lease ends with its place here.
        this.#listeners.delete(listener);
      }
    }
  }
}
