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
import type { Version } from "../../core/version.ts";
import { finite, invalidOption, positive } from "../../store/check.ts";
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
  type WriteOptions,
} from "../../store/store.ts";
import { Budget } from "./budget.ts";
import type { Answered } from "./call.ts";
import { Calls } from "./calls.ts";
import { portOf } from "./client.ts";
import { isFull } from "./errors.ts";
import { greet } from "./greeting.ts";
import { inTurn, Listing } from "./listing.ts";
import { Logins } from "./logins.ts";
import { checkPrefix, placeOf, type RedisDiagnostic, type RedisStoreOptions } from "./options.ts";
import type { Argument, RedisPort } from "./port.ts";
import { Principals } from "./principals.ts";
import {
  answeredVersion,
  applyResult,
  bytesOf,
  deltaArguments,
  principalText,
  recordOf,
  seenText,
  textOf,
} from "./record.ts";
import { Replicas } from "./replicas.ts";
import {
  APPLY,
  APPLY_FULL,
  CREATE,
  DESTROY,
  LOOK,
  READ,
  type Script,
  SUPERSEDE,
  sessionName,
  TOMBSTONE_MAX_MS,
  TOUCH,
} from "./scripts.ts";
import type { ServerClock } from "./server-clock.ts";
import { Times } from "./times.ts";

const PENDING_MAX_DEFAULT = 10_000;
const OPERATION_ID_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;
/** Renewals that follow each other within one grace; a longer chain is somebody renewing in a loop. */
const CHAIN_MAX = 64;
const GRACE_MS_MAX = 24 * 3_600_000;

export class RedisStore implements EnumerableStore {
  readonly name = "redis";
  readonly #clock: Clock;
  readonly #times: Times;
  readonly #prefix: string;
  readonly #timeoutMs: number;
  readonly #calls: Calls;
  readonly #tell: (diagnostic: RedisDiagnostic) => void;
  readonly #told = new Set<string>();
  readonly #principals: Principals;
  readonly #logins: Logins;
  readonly #listing: Listing;
  readonly #replicas: Replicas;
  #port: RedisPort | undefined;
  #isClosed = false;

  constructor(options: RedisStoreOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#times = new Times(this.#clock);
    this.#prefix = checkPrefix(options.prefix ?? "sojourn");
    this.#timeoutMs = positive(options.timeoutMs ?? STORE_TIMEOUT_MS_DEFAULT, "timeoutMs");
    this.#tell = options.onDiagnostic ?? warnProcess;
    const port = portOf(options, this.#clock, this.#tell);
    this.#calls = new Calls({
      clock: this.#clock,
      remote: placeOf(options),
      wallOffsetMs: this.#times.wallOffsetMs,
      timeoutMs: this.#timeoutMs,
      pendingMax: positive(options.pendingMax ?? PENDING_MAX_DEFAULT, "pendingMax"),
      begin: () => this.#begin(port),
      // A client given to us is let go of, even if it was never needed.
      end: async () => (this.#port ?? (typeof port === "function" ? undefined : port))?.close(),
      changed: (error) => this.#outageChanged(error),
    });
    this.#principals = new Principals(this.#calls, this.#prefix);
    this.#logins = new Logins(this.#principals, this.#clock, this.#times, (key, operationId, options) =>
      this.#refuse(key, operationId, options),
    );
    this.#listing = new Listing(this.#calls, this.#clock, this.#times, this.#principals, this.#prefix);
    this.#replicas = new Replicas(() => this.#port, this.#clock, this.#tell);
    // The user's client may fail before the first call, and an unheard `error` ends the process.
    if (typeof port !== "function") this.#observe(port);
    // Ours connects now, so that the first request need not wait for it.
    else this.#calls.begin();
  }

  async read(key: SessionKey, options?: ReadOptions): Promise<SessionRecord | null> {
    checkKey("read a session", key);
    const budget = this.#budget(options);
    const work = { script: READ, key: this.#keyOf(key), action: "read the session" };
    const { reply, clock } = await this.#calls.run(work, budget);
    if (reply.length === 1) return null;
    const toLocal = this.#times.toLocal(clock);
    // Fields and values in turn, then the time: an odd number. A superseded one tells two things more.
    if (reply.length % 2 === 1) return recordOf(key, reply, reply.length - 1, toLocal);
    const [until, successor] = String(reply[reply.length - 2]).split(" ") as [string, SessionKey];
    if (await this.#isEnded(successor, budget)) return null;
    return recordOf(key, reply, reply.length - 2, toLocal, { untilMs: Number(until) });
  }

  async create(session: NewSession, options?: WriteOptions): Promise<CreateResult> {
    const { key, createdAtMs } = session;
    checkKey("create a session", key);
    finite(createdAtMs ?? 0, "createdAtMs");
    finite(session.expiresAtMs, "expiresAtMs");
    finite(session.absoluteExpiresAtMs, "absoluteExpiresAtMs");
    const operationId = this.#operationId(options);
    const budget = this.#budget(options);
    const principal = session.principal?.principal ?? null;
    const login = await this.#logins.begin(session.principal, key, session.absoluteExpiresAtMs, budget);
    const more: Argument[] = [];
    for (const [name, value] of session.attributes) more.push(name, bytesOf(value));
    const head = (clock: ServerClock) => {
      const nowMs = this.#clock.nowMs();
      // Drawn for each attempt: should the server have lost the first one, this is another session.
      const birth = this.#clock.randomBytes(8).toString("hex");
      const created = this.#times.toServer(clock, createdAtMs ?? nowMs, Number.MIN_SAFE_INTEGER);
      const expires = this.#times.toServer(clock, session.expiresAtMs);
      const absolute = this.#times.toServer(clock, session.absoluteExpiresAtMs);
      return `${operationId} ${birth} ${created} ${expires} ${absolute} ${login?.isGone ? 1 : 0} ${principalText(principal)}`;
    };
    const { reply } = await this.#run(CREATE, key, head, "create a session", budget, more);
    const answer = textOf(reply[1]);
    if (answer === "t") return { status: "taken" };
    if (answer === "g" || (await this.#logins.isRefused(login, key, operationId, budget)))
      return { status: "gone" };
    return { status: "created", version: answeredVersion(answer) };
  }

  async apply(key: SessionKey, delta: SessionDelta, options?: ApplyOptions): Promise<ApplyResult> {
    checkKey("change a session", key);
    const operationId = this.#operationId(options);
    const budget = this.#budget(options);
    const { principal } = delta;
    // Whose absolute deadline that is, only the session knows: so the longest, until a touch tells it.
    const login = await this.#logins.begin(principal, key, this.#clock.nowMs() + TOMBSTONE_MAX_MS, budget);
    const result = await this.#applyAs(
      key,
      delta,
      operationId,
      login?.isGone ?? false,
      budget,
      options?.atLeast,
    );
    if (result.status === "applied" && (await this.#logins.isRefused(login, key, operationId, budget))) {
      return { status: "gone" };
    }
    return result;
  }

  async #applyAs(
    key: SessionKey,
    delta: SessionDelta,
    operationId: string,
    isDoomed: boolean,
    budget: Budget,
    atLeast: Version | undefined,
  ): Promise<ApplyResult> {
    const { expiresAtMs, principal } = delta;
    if (expiresAtMs !== undefined) finite(expiresAtMs, "expiresAtMs");
    const seen = atLeast ? seenText(atLeast) : "- 0";
    const deletes = [...(delta.delete ?? [])];
    const rest = `${isDoomed ? 1 : 0} ${delta.set?.size ?? 0} ${deletes.length} ${principal ? principalText(principal.principal) : "="}`;
    const head = (clock: ServerClock) => {
      const expires = expiresAtMs === undefined ? "-" : this.#times.toServer(clock, expiresAtMs);
      return `${operationId} ${seen} ${expires} ${rest}`;
    };
    const more = deltaArguments(delta, deletes);
    try {
      return this.#applied(key, await this.#run(APPLY, key, head, "change a session", budget, more));
    } catch (error) {
      if (!isFull(error)) throw error;
      const answered = await this.#run(APPLY_FULL, key, head, "change a session", budget, more);
      if (textOf(answered.reply[1]) === "f") throw error;
      return this.#applied(key, answered);
    }
  }

  async touch(key: SessionKey, expiresAtMs: number, options?: WriteOptions): Promise<boolean> {
    checkKey("touch a session", key);
    finite(expiresAtMs, "expiresAtMs");
    const operationId = this.#operationId(options);
    const head = (clock: ServerClock) => `${operationId} ${this.#times.toServer(clock, expiresAtMs)}`;
    const { reply } = await this.#run(TOUCH, key, head, "touch a session", options);
    const [, answer, absolute, principal] = reply;
    if (Buffer.isBuffer(principal)) this.#principals.reenter(principal.toString(), key, Number(absolute));
    return textOf(answer) === "1";
  }

  async supersede(key: SessionKey, options: SupersedeOptions): Promise<SupersedeResult> {
    const { successor, graceMs = RENEWAL_GRACE_MS } = options;
    checkKey("renew a session", key);
    finite(graceMs, "graceMs");
    if (!isSessionKey(successor) || successor === key) {
      throw invalidOption("renew a session", "the successor is not the key of another session");
    }
    const operationId = this.#operationId(options);
    const budget = this.#budget(options);
    const grace = Math.round(Math.min(Math.max(0, graceMs), GRACE_MS_MAX));
    const attempt = (verified: string) =>
      this.#run(
        SUPERSEDE,
        key,
        `${operationId} ${grace} ${successor} ${verified}`,
        "renew a session",
        budget,
      );
    let answered = await attempt("-");
    for (let links = 0; textOf(answered.reply[1])[0] === "v"; links++) {
      const earlier = textOf(answered.reply[1]).slice(1) as SessionKey;
      if (links === CHAIN_MAX || (await this.#isEnded(earlier, budget))) return { status: "gone" };
      answered = await attempt(earlier);
    }
    const { reply, clock } = answered;
    const answer = textOf(reply[1]);
    const fields = reply[3] as readonly unknown[] | undefined;
    if (answer === "g" || !fields || fields.length === 0) return { status: "gone" };
    const earlier = answer.slice(1) as SessionKey | "-";
    if (earlier !== "-" && earlier !== successor) {
      await this.#run(DESTROY, earlier, `${operationId} u`, "renew a session", budget);
    }
    await this.#replicas.confirm(this.#keyOf(key), Number(reply[2]), budget);
    return {
      status: "superseded",
      final: recordOf(key, fields, fields.length, this.#times.toLocal(clock), {}),
    };
  }

  async destroy(key: SessionKey, options?: WriteOptions): Promise<boolean> {
    checkKey("end a session", key);
    const budget = this.#budget(options);
    const head = `${this.#operationId(options)} d`;
    const { reply } = await this.#run(DESTROY, key, head, "end a session", budget);
    await this.#replicas.confirm(this.#keyOf(key), Number(reply[2]), budget);
    if (Buffer.isBuffer(reply[4])) this.#principals.leave(reply[4].toString(), key);
    const answer = textOf(reply[1]);
    // A superseded one was over already if its successor was.
    return (
      answer === "1" || (answer === "2" && !(await this.#isEnded(textOf(reply[3]) as SessionKey, budget)))
    );
  }

  async list(options: ListOptions = {}): Promise<SessionPage> {
    this.#calls.enter("list sessions", options);
    return this.#listing.list(options);
  }

  async count(options: ReadOptions & { readonly principal?: string } = {}): Promise<number> {
    this.#calls.enter("count sessions", options);
    return this.#listing.count(options);
  }

  async endAll(
    principal: string,
    options?: WriteOptions & { readonly except?: SessionKey },
  ): Promise<number> {
    const operationId = this.#operationId(options);
    const budget = this.#budget(options);
    const marked = await this.#principals.mark(principal, operationId, budget);
    if (typeof marked === "number") return marked;
    const head = `${operationId} p${principal}`;
    let count = 0;
    const over: SessionKey[] = [];
    await inTurn(marked, async (key) => {
      if (key === options?.except) return;
      const { reply } = await this.#run(DESTROY, key, head, "end all sessions of the principal", budget);
      const answer = textOf(reply[1]);
      if (answer === "1") count++;
      if (answer !== "0" || textOf(reply[3]) === "X") over.push(key);
      if (answer !== "0") await this.#replicas.confirm(this.#keyOf(key), Number(reply[2]), budget);
    });
    return this.#principals.finish(principal, operationId, count, over, budget);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return this.#calls.close();
  }

  async #refuse(key: SessionKey, operationId: string, options?: ReadOptions): Promise<void> {
    await this.#run(DESTROY, key, `${operationId} r`, "end a session", options);
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
    return this.#calls.run({ script, key: this.#keyOf(key), head, action, more }, options);
  }

  #applied(key: SessionKey, { reply, clock }: Answered): ApplyResult {
    return applyResult(key, reply, this.#times.toLocal(clock));
  }

  #budget(options: ReadOptions | undefined): Budget {
    return new Budget(this.#clock, options?.timeoutMs ?? this.#timeoutMs, options?.signal);
  }

  #keyOf(key: SessionKey): string {
    return sessionName(this.#prefix, key);
  }

  #operationId(options: WriteOptions | undefined): string {
    const id = options?.operationId;
    if (id === undefined) return newOperationId(this.#clock);
    if (!OPERATION_ID_PATTERN.test(id)) throw invalidOption("change a session", "the operation id is none");
    return id;
  }

  async #begin(port: RedisPort | (() => Promise<RedisPort>)): Promise<RedisPort> {
    if (this.#port === undefined) {
      const made = typeof port === "function" ? await port() : port;
      // Closed while the client was loaded: nobody would ever end the connection that it is about to make.
      if (this.#isClosed) throw new Error("it was closed");
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

function checkKey(action: string, key: string): void {
  if (!isSessionKey(key)) throw invalidOption(action, "the key is not the hash of a session id");
}

function warnProcess({ level, message, code }: RedisDiagnostic): void {
  if (level === "warn") process.emitWarning(message, { type: "SojournWarning", code: `SOJOURN_${code}` });
}
