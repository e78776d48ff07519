/**
 * Sessions in Redis or Valkey: one hash per session, one script per operation, so that every rule of the contract holds
 * whichever application server calls, and through any client library. scripts.ts says what lies where.
 *
 * Decided here, where the contract leaves room:
 * - The time of a session is the server's. Deadlines go there as its time, learnt from its replies, and operations carry
 *   their own: a write that arrives after its caller has given up is refused.
 * - A superseded id names its successor; who reads it looks whether that one was ended, along the whole chain.
 * - A login is entered in its principal's index before it is stored, and checked against `endAll` afterwards.
 * - With replicas an end waits up to 100 ms until one of them has it. If none does, the end stands and is told.
 */
import { type Clock, systemClock } from "../../core/clock.ts";
import { isSessionKey, newOperationId, type SessionKey } from "../../core/ids.ts";
import type { NewSession, SessionDelta, SessionRecord } from "../../core/record.ts";
import type { Epoch } from "../../core/version.ts";
import { finite, invalidOption, positive } from "../../store/check.ts";
import {
  type ApplyOptions,
  type ApplyResult,
  type CreateResult,
  RENEWAL_GRACE_MS,
  type ReadOptions,
  type SessionStore,
  STORE_TIMEOUT_MS_DEFAULT,
  type SupersedeOptions,
  type SupersedeResult,
  type WriteOptions,
} from "../../store/store.ts";
import { WallTime } from "../../store/wall-time.ts";
import { type Answered, Calls } from "./calls.ts";
import { portOf } from "./client.ts";
import { isFull } from "./errors.ts";
import { greet } from "./greeting.ts";
import { checkPrefix, type RedisDiagnostic, type RedisStoreOptions } from "./options.ts";
import type { Argument, RedisPort } from "./port.ts";
import { bytesOf, parseMeta, recordOf, versionText } from "./record.ts";
import { APPLY, APPLY_FULL, CREATE, DESTROY, LOOK, READ, type Script, SUPERSEDE, TOUCH } from "./scripts.ts";
import type { ServerClock } from "./server-clock.ts";

const PENDING_MAX_DEFAULT = 10_000;
const OPERATION_ID_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;
/** Renewals that follow each other within one grace; a longer chain is somebody renewing in a loop. */
const CHAIN_MAX = 64;
/** Server times are written with at most 13 digits, which Lua's numbers carry exactly. */
const SERVER_MS_MAX = 9_999_999_999_999;

export class RedisStore implements SessionStore {
  readonly name = "redis";
  readonly #clock: Clock;
  readonly #wall: WallTime;
  readonly #prefix: string;
  readonly #calls: Calls;
  readonly #tell: (diagnostic: RedisDiagnostic) => void;
  readonly #told = new Set<string>();
  #port: RedisPort | undefined;

  constructor(options: RedisStoreOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#wall = new WallTime(this.#clock);
    this.#prefix = checkPrefix(options.prefix ?? "sojourn");
    this.#tell = options.onDiagnostic ?? warnProcess;
    const port = portOf(options, this.#clock, this.#tell);
    this.#calls = new Calls({
      clock: this.#clock,
      wallOffsetMs: () => this.#wall.toWall(0),
      timeoutMs: positive(options.timeoutMs ?? STORE_TIMEOUT_MS_DEFAULT, "timeoutMs"),
      pendingMax: positive(options.pendingMax ?? PENDING_MAX_DEFAULT, "pendingMax"),
      begin: () => this.#begin(port),
      end: async () => this.#port?.close(),
      changed: (error) => this.#outageChanged(error),
    });
    // The user's client may fail before the first call, and an unheard `error` ends the process.
    if (typeof port !== "function") this.#observe(port);
  }

  async read(key: SessionKey, options?: ReadOptions): Promise<SessionRecord | null> {
    checkKey("read a session", key);
    const work = { script: READ, key: this.#keyOf(key), action: "read the session" };
    const { reply, clock } = await this.#calls.run(work, options);
    if (reply.length === 1) return null;
    const toLocal = this.#toLocal(clock);
    // Fields and values in turn, then the time: an odd number. A superseded one tells two things more.
    if (reply.length % 2 === 1) return recordOf(key, reply, reply.length - 1, toLocal);
    const [until, successor] = String(reply[reply.length - 2]).split(" ") as [string, SessionKey];
    if (await this.#isEnded(successor, options)) return null;
    return recordOf(key, reply, reply.length - 2, toLocal, { untilMs: Number(until) });
  }

  async create(session: NewSession, options?: WriteOptions): Promise<CreateResult> {
    const { key, createdAtMs } = session;
    checkKey("create a session", key);
    finite(createdAtMs ?? 0, "createdAtMs");
    finite(session.expiresAtMs, "expiresAtMs");
    finite(session.absoluteExpiresAtMs, "absoluteExpiresAtMs");
    const operationId = this.#operationId(options);
    const principal = session.principal?.principal ?? null;
    const more: Argument[] = [];
    for (const [name, value] of session.attributes) more.push(name, bytesOf(value));
    const head = (clock: ServerClock) => {
      const nowMs = this.#clock.nowMs();
      // Drawn for each attempt: should the server have lost the first one, this is another session.
      const birth = this.#clock.randomBytes(8).toString("hex");
      const created = this.#toServer(clock, createdAtMs ?? nowMs, Number.MIN_SAFE_INTEGER);
      const expires = this.#toServer(clock, session.expiresAtMs);
      const absolute = this.#toServer(clock, session.absoluteExpiresAtMs);
      return `${operationId} ${birth} ${created} ${expires} ${absolute} 0 ${principalText(principal)}`;
    };
    const { reply } = await this.#run(CREATE, key, head, "create a session", options, more);
    const answer = textOf(reply[1]);
    if (answer === "t") return { status: "taken" };
    if (answer === "g") return { status: "gone" };
    return { status: "created", version: versionOf(answer) };
  }

  async apply(key: SessionKey, delta: SessionDelta, options?: ApplyOptions): Promise<ApplyResult> {
    checkKey("change a session", key);
    const deletes = [...(delta.delete ?? [])];
    const head = this.#applyHead(delta, deletes.length, options);
    const more = applyArguments(delta, deletes);
    try {
      return this.#applied(key, await this.#run(APPLY, key, head, "change a session", options, more));
    } catch (error) {
      if (!isFull(error)) throw error;
      const answered = await this.#run(APPLY_FULL, key, head, "change a session", options, more);
      if (textOf(answered.reply[1]) === "f") throw error;
      return this.#applied(key, answered);
    }
  }

  async touch(key: SessionKey, expiresAtMs: number, options?: WriteOptions): Promise<boolean> {
    checkKey("touch a session", key);
    finite(expiresAtMs, "expiresAtMs");
    const operationId = this.#operationId(options);
    const head = (clock: ServerClock) => `${operationId} ${this.#toServer(clock, expiresAtMs)}`;
    const { reply } = await this.#run(TOUCH, key, head, "touch a session", options);
    return textOf(reply[1]) === "1";
  }

  async supersede(key: SessionKey, options: SupersedeOptions): Promise<SupersedeResult> {
    const { successor, graceMs = RENEWAL_GRACE_MS } = options;
    checkKey("renew a session", key);
    finite(graceMs, "graceMs");
    if (!isSessionKey(successor) || successor === key) {
      throw invalidOption("renew a session", "the successor is not the key of another session");
    }
    const operationId = this.#operationId(options);
    const grace = Math.max(0, Math.round(Math.min(graceMs, SERVER_MS_MAX)));
    const attempt = (verified: string) =>
      this.#run(
        SUPERSEDE,
        key,
        `${operationId} ${grace} ${successor} ${verified}`,
        "renew a session",
        options,
      );
    let answered = await attempt("-");
    for (let links = 0; textOf(answered.reply[1])[0] === "v"; links++) {
      const earlier = textOf(answered.reply[1]).slice(1) as SessionKey;
      if (links === CHAIN_MAX || (await this.#isEnded(earlier, options))) return { status: "gone" };
      answered = await attempt(earlier);
    }
    const { reply, clock } = answered;
    const answer = textOf(reply[1]);
    const fields = reply[3] as readonly unknown[] | undefined;
    if (answer === "g" || !fields || fields.length === 0) return { status: "gone" };
    const earlier = answer.slice(1) as SessionKey | "-";
    if (earlier !== "-" && earlier !== successor) {
      await this.#run(DESTROY, earlier, `${operationId} u`, "renew a session", options);
    }
    await this.#confirmed(key, reply[2]);
    return { status: "superseded", final: recordOf(key, fields, fields.length, this.#toLocal(clock), {}) };
  }

  async destroy(key: SessionKey, options?: WriteOptions): Promise<boolean> {
    checkKey("end a session", key);
    const head = `${this.#operationId(options)} d`;
    const { reply } = await this.#run(DESTROY, key, head, "end a session", options);
    await this.#confirmed(key, reply[2]);
    const answer = textOf(reply[1]);
    // A superseded one was over already if its successor was.
    return (
      answer === "1" || (answer === "2" && !(await this.#isEnded(textOf(reply[3]) as SessionKey, options)))
    );
  }

  close(): Promise<void> {
    return this.#calls.close();
  }

  /** True when this successor of a superseded id was ended, or the last one that it leads to. */
  async #isEnded(successor: SessionKey, options: ReadOptions | undefined): Promise<boolean> {
    let next = successor;
    for (let links = 0; links < CHAIN_MAX; links++) {
      const work = { script: LOOK, key: this.#keyOf(next), head: "", action: "follow a renewed session" };
      const { reply } = await this.#calls.run(work, options);
      const state = textOf(reply[1]);
      if (state !== "S") return state === "X";
      next = textOf(reply[2]) as SessionKey;
    }
    return true;
  }

  #run(
    script: Script,
    key: SessionKey,
    head: string | ((clock: ServerClock) => string),
    action: string,
    options: ReadOptions | undefined,
    more?: readonly Argument[],
  ): Promise<Answered> {
    const work = { script, key: this.#keyOf(key), head, action };
    return this.#calls.run(more ? { ...work, more } : work, options);
  }

  #applyHead(
    delta: SessionDelta,
    deletes: number,
    options: ApplyOptions | undefined,
  ): (clock: ServerClock) => string {
    const { expiresAtMs, principal } = delta;
    if (expiresAtMs !== undefined) finite(expiresAtMs, "expiresAtMs");
    const operationId = this.#operationId(options);
    const { atLeast } = options ?? {};
    const seen = atLeast ? `${atLeast.epoch} ${atLeast.counter}` : "- 0";
    const counts = `${delta.set?.size ?? 0} ${deletes}`;
    const owner = principal ? principalText(principal.principal) : "=";
    return (clock) => {
      const expires = expiresAtMs === undefined ? "-" : this.#toServer(clock, expiresAtMs);
      return `${operationId} ${seen} ${expires} 0 ${counts} ${owner}`;
    };
  }

  #applied(key: SessionKey, { reply, clock }: Answered): ApplyResult {
    const answer = textOf(reply[1]);
    switch (answer[0]) {
      case "m": {
        const { version, expiresAtMs } = parseMeta(answer.slice(1));
        return { status: "applied", version, expiresAtMs: this.#toLocal(clock)(expiresAtMs) };
      }
      case "a": {
        const expiresAtMs = Number(answer.slice(answer.lastIndexOf(" ") + 1));
        return {
          status: "applied",
          version: versionOf(answer),
          expiresAtMs: this.#toLocal(clock)(expiresAtMs),
        };
      }
      case "k": {
        const fields = reply[2] as readonly unknown[];
        return { status: "conflict", current: recordOf(key, fields, fields.length, this.#toLocal(clock)) };
      }
      case "b":
        return { status: "behind" };
      default:
        return { status: "gone" };
    }
  }

  #keyOf(key: SessionKey): string {
    return `${this.#prefix}:s:{${key}}`;
  }

  #operationId(options: WriteOptions | undefined): string {
    const id = options?.operationId;
    if (id === undefined) return newOperationId(this.#clock);
    if (!OPERATION_ID_PATTERN.test(id)) throw invalidOption("change a session", "the operation id is none");
    return id;
  }

  #toServer(clock: ServerClock, wallMs: number, leastMs = 1): number {
    const serverMs = Math.round(clock.toServer(this.#wall.toMonotonic(wallMs)));
    return Math.min(SERVER_MS_MAX, Math.max(leastMs, serverMs));
  }

  #toLocal(clock: ServerClock): (serverMs: number) => number {
    return (serverMs) => this.#wall.toWall(clock.toMonotonic(serverMs));
  }

  /** The end is safe when a replica has it too. */
  async #confirmed(_key: SessionKey, _replicas: unknown): Promise<void> {}

  async #begin(port: RedisPort | (() => Promise<RedisPort>)): Promise<RedisPort> {
    if (this.#port === undefined) {
      const made = typeof port === "function" ? await port() : port;
      if (typeof port === "function") this.#observe(made);
      this.#port = made;
    }
    await this.#port.ready();
    await greet(this.#port, this.#tell, this.#told);
    return this.#port;
  }

  #observe(port: RedisPort): void {
    port.observe({
      failed: (error) => this.#calls.failed(error),
      isReady: () => this.#calls.connected(),
    });
  }

  #outageChanged(error: unknown): void {
    const found = error instanceof Error ? error.message : String(error);
    if (error === undefined) this.#tell({ level: "info", code: "RECOVERED", message: "Redis answers again" });
    else this.#tell({ level: "info", code: "OUTAGE", message: `Redis is not reachable: ${found}` });
  }
}

/** Sets, deletes, expectations: the order of the script. */
function applyArguments(delta: SessionDelta, deletes: readonly string[]): Argument[] {
  const more: Argument[] = [];
  for (const [name, value] of delta.set ?? []) more.push(name, bytesOf(value));
  more.push(...deletes);
  for (const [name, version] of delta.expect ?? []) more.push(name, version ? versionText(version) : "");
  return more;
}

function checkKey(action: string, key: string): void {
  if (!isSessionKey(key)) throw invalidOption(action, "the key is not the hash of a session id");
}

function principalText(principal: string | null): string {
  return principal === null ? "-" : `+${principal}`;
}

/** Of "c<epoch> <counter>" and what may follow. */
function versionOf(answer: string): { epoch: Epoch; counter: number } {
  return { epoch: answer.slice(1, 17) as Epoch, counter: Number.parseInt(answer.slice(18), 10) };
}

function textOf(part: unknown): string {
  return Buffer.isBuffer(part) ? part.toString("latin1") : String(part);
}

function warnProcess({ level, message, code }: RedisDiagnostic): void {
  if (level === "warn") process.emitWarning(message, { type: "SojournWarning", code: `SOJOURN_${code}` });
}
