/**
 * One caller of a session server: hello, then pipelined requests, each answered under its id as soon as the store has an
 * answer. Nothing of a caller reaches the store before the hello is finished and the operation's deadline was checked.
 */
import type { Clock } from "../../core/clock.ts";
import { isSessionError, type SessionError } from "../../core/errors.ts";
import type { SessionKey } from "../../core/ids.ts";
import type { EnumerableStore } from "../../store/store.ts";
import type { LimitedLog } from "../log.ts";
import type { Connection, ConnectionHandler } from "../transport/transport.ts";
import {
  agreedProtocol,
  decodeHello,
  encodeRefusal,
  encodeWelcome,
  type Hello,
  OUR_PROTOCOLS,
  protocolText,
} from "../wire/hello.ts";
import { FRAME_BYTES_MAX } from "../wire/protocol.ts";
import { encodePush, encodeReply, type Reply } from "../wire/replies.ts";
import { decodeRequest, type Request, type RequestEnvelope } from "../wire/requests.ts";
import type { OperationCounters } from "./counters.ts";

/** Above this the caller is not read from until it has taken what it asked for. */
const QUEUED_BYTES_HIGH = 1024 * 1024;
/** Requests of one connection inside the store at a time. Each may ask for a large session, so this bounds memory too. */
const RUNNING_MAX = 64;
/** A watcher this far behind gets "all" when it has caught up, instead of a growing queue. */
const PUSH_BYTES_HIGH = 256 * 1024;
const PUSH_KEYS_MAX = 8192;

/** What the connections of one server share. */
export interface ServerContext {
  readonly identity: Hello;
  readonly store: EnumerableStore;
  readonly clock: Clock;
  readonly log: LimitedLog;
  readonly counters: OperationCounters;
  readonly connections: Set<ServerConnection>;
  statusJson(): string;
}

export class ServerConnection implements ConnectionHandler {
  readonly #connection: Connection;
  readonly #context: ServerContext;
  #greeted = false;
  #running = 0;
  #watching = false;
  #missedPushes = false;

  constructor(connection: Connection, context: ServerContext) {
    this.#connection = connection;
    this.#context = context;
  }

  get watching(): boolean {
    return this.#watching;
  }

  frame(frame: Buffer): void {
    if (this.#greeted) this.#request(frame);
    else this.#greet(frame);
  }

  #request(frame: Buffer): void {
    const { clock, counters } = this.#context;
    const now = { wallMs: clock.nowMs(), authorityMs: clock.monotonicMs() };
    const envelope = decodeRequest(frame, now);
    const { request, id, deadlineMs } = envelope;
    counters.count(request.op);
    if (now.authorityMs > deadlineMs) {
      // Whoever asked has given up. A write that happened now would be a ghost: nobody would ever hear of it.
      if (request.op !== "heartbeat") counters.late++;
      this.#reply(id, refusedLate(now.authorityMs - deadlineMs));
      return;
    }
    this.#running++;
    this.#throttle();
    this.#answer(envelope, deadlineMs - now.authorityMs).then(
      (reply) => this.#settle(id, reply),
      (error: unknown) => this.#settle(id, this.#failure(request, error)),
    );
  }

  drained(): void {
    if (this.#missedPushes) {
      this.#missedPushes = false;
      this.#connection.send(encodePush({ push: "invalidated", keys: "all" }));
    }
    this.#throttle();
  }

  closed(error: SessionError | undefined): void {
    this.#context.connections.delete(this);
    this.#watching = false;
    if (error?.code === "INVALID_FRAME") {
      this.#context.counters.refused++;
      this.#context.log.write("INVALID_FRAME", "warn", `${this.#connection.remote}: ${error.message}`);
    }
  }

  invalidated(keys: readonly SessionKey[] | "all"): void {
    if (!this.#watching || this.#missedPushes) return;
    if (this.#connection.queuedBytes > PUSH_BYTES_HIGH) {
      this.#missedPushes = true;
      return;
    }
    this.#connection.send(
      encodePush({ push: "invalidated", keys: keys !== "all" && keys.length > PUSH_KEYS_MAX ? "all" : keys }),
    );
  }

  /** Asks the caller to finish and go. One that has not even said hello is not waited for. */
  leave(): void {
    if (this.#greeted) this.#connection.send(encodePush({ push: "leaving" }));
    else this.#connection.destroy();
  }

  close(): void {
    this.#connection.close();
  }

  destroy(): void {
    this.#connection.destroy();
  }

  #greet(frame: Buffer): void {
    const { identity, clock } = this.#context;
    const hello = decodeHello(frame);
    const protocol = agreedProtocol(hello.protocols);
    if (protocol === null || hello.role === null) {
      const theirs = protocolText(hello.protocols);
      const ours = protocolText(OUR_PROTOCOLS);
      this.#refuse("WRONG_PROTOCOL_VERSION", `it speaks protocol ${theirs}, this server speaks ${ours}`);
      return;
    }
    if (hello.domain !== identity.domain) {
      this.#refuse(
        "WRONG_DOMAIN",
        `it belongs to domain "${printable(hello.domain)}", this server to "${identity.domain}"`,
      );
      return;
    }
    this.#greeted = true;
    this.#connection.admit(FRAME_BYTES_MAX);
    this.#context.connections.add(this);
    this.#connection.send(encodeWelcome({ ...identity, protocol, authorityMs: clock.monotonicMs() }));
  }

  #refuse(code: "WRONG_PROTOCOL_VERSION" | "WRONG_DOMAIN", found: string): void {
    const { identity, counters, log } = this.#context;
    counters.refused++;
    log.write(code, "warn", `Cannot accept ${this.#connection.remote}: ${found}`);
    this.#connection.send(
      encodeRefusal({ protocols: OUR_PROTOCOLS, code, domain: identity.domain, message: found }),
    );
    this.#connection.close();
  }

  async #answer({ request }: RequestEnvelope, timeoutMs: number): Promise<Reply> {
    const { store, clock } = this.#context;
    switch (request.op) {
      case "read":
        return { op: "read", key: request.key, record: await store.read(request.key, { timeoutMs }) };
      case "create": {
        const { session, operationId } = request;
        return {
          op: "create",
          key: session.key,
          result: await store.create(session, { timeoutMs, operationId }),
        };
      }
      case "apply": {
        const { key, delta, operationId, atLeast } = request;
        const options = { timeoutMs, operationId, ...(atLeast === undefined ? {} : { atLeast }) };
        return { op: "apply", key, result: await store.apply(key, delta, options) };
      }
      case "touch": {
        const { key, expiresAtMs, operationId } = request;
        return { op: "touch", key, live: await store.touch(key, expiresAtMs, { timeoutMs, operationId }) };
      }
      case "supersede": {
        const { key, successor, graceMs, operationId } = request;
        const result = await store.supersede(key, { timeoutMs, operationId, successor, graceMs });
        return { op: "supersede", key, result };
      }
      case "destroy": {
        const { key, operationId } = request;
        return { op: "destroy", key, ended: await store.destroy(key, { timeoutMs, operationId }) };
      }
      case "list": {
        const { op, ...options } = request;
        return { op, page: await store.list({ timeoutMs, ...defined(options) }) };
      }
      case "count": {
        const { op, ...options } = request;
        return { op, count: await store.count({ timeoutMs, ...defined(options) }) };
      }
      case "endAll": {
        const { op, principal, operationId, except } = request;
        const options = { timeoutMs, operationId, ...defined({ except }) };
        return { op, count: await store.endAll(principal, options) };
      }
      case "watch":
        this.#watching = true;
        return { op: "watch" };
      case "heartbeat":
        return { op: "heartbeat", authorityMs: clock.monotonicMs() };
      case "status":
        return { op: "status", json: this.#context.statusJson() };
    }
  }

  #failure(request: Request, error: unknown): Reply {
    if (isSessionError(error)) return { op: "error", code: error.code, message: error.message };
    const found = error instanceof Error ? error.message : String(error);
    this.#context.log.write("FAULT", "error", `Cannot ${request.op}: ${found}`);
    return { op: "error", code: "STORE_UNAVAILABLE", message: `Cannot ${request.op}: the server failed` };
  }

  #settle(id: number, reply: Reply): void {
    this.#running--;
    this.#reply(id, reply);
    this.#throttle();
  }

  #reply(id: number, reply: Reply): void {
    const frame = encodeReply(id, reply, this.#context.clock.nowMs());
    if (frame.byteLength <= FRAME_BYTES_MAX) {
      this.#connection.send(frame);
      return;
    }
    const found = `its answer takes ${frame.byteLength} bytes, a frame holds ${FRAME_BYTES_MAX}`;
    this.#reply(id, { op: "error", code: "SESSION_TOO_LARGE", message: `Cannot ${reply.op}: ${found}` });
  }

  #throttle(): void {
    this.#connection.setReading(
      this.#running < RUNNING_MAX && this.#connection.queuedBytes < QUEUED_BYTES_HIGH,
    );
  }
}

function refusedLate(lateMs: number): Reply {
  const message = `Cannot start the operation: it arrived ${Math.ceil(lateMs)} ms after its deadline`;
  return { op: "error", code: "STORE_UNAVAILABLE", message };
}

/** Without the members that are undefined: optional ones must be absent. */
function defined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

/** What a stranger sent, made fit for a line of log. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?");
}
