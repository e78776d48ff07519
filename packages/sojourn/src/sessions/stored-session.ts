/**
 * The session as one request knows it: its attributes, what is stored under its id, and what the browser must be told.
 * Every method here is one step at the store and what follows from its answer; when such a step is allowed is decided in
 * live-session.ts.
 */
import { storedDeadlineMs } from "../core/deadline.ts";
import { SessionError } from "../core/errors.ts";
import type { SessionId, SessionKey } from "../core/ids.ts";
import type { SessionDelta, SessionRecord } from "../core/record.ts";
import type { Version } from "../core/version.ts";
import { Attributes, type Changes, type StoredAttributes } from "./attributes.ts";
import { type Exclusive, LEASE_ATTRIBUTE, type Lease } from "./exclusive.ts";
import { LOGIN_ATTRIBUTE } from "./login-limit.ts";
import type { Update } from "./updates.ts";
import type { Created, Visit } from "./visit.ts";

/** What is known of the session in the store. */
export type Known = Pick<
  SessionRecord,
  | "key"
  | "createdAtMs"
  | "touchedAtMs"
  | "expiresAtMs"
  | "absoluteExpiresAtMs"
  | "principal"
  | "state"
  | "version"
>;

/** Reserved attributes that a new id begins with. */
type OwnAttributes = ReadonlyMap<string, Uint8Array>;
const NONE: OwnAttributes = new Map();

export type Change = (current: unknown) => unknown;

export class StoredSession {
  readonly visit: Visit;
  readonly attributes: Attributes;
  /** Why the store could not be read, where the route goes on without its session. */
  readonly fault: SessionError | null;
  /** This request's exclusive access, if it asked for it and has it still. */
  lease: Lease | null = null;
  /** The id that the request came with, known to the store or not. */
  readonly #presentedKey: SessionKey | null;
  #known: Known | null;
  #id: SessionId | null;
  /** The browser has the id of the session, because it came with it. Until then activity confirms nothing. */
  #isConfirmed: boolean;
  #beganHere = false;
  #hasEnded = false;
  #hasWritten = false;
  #cookie: "none" | "issue" | "clear" = "none";

  /**
   * @param presented  the id of the request's cookie, and its key
   * @param record     what the store has under it
   * @param fault      the store could not tell: the session is empty and stays so
   */
  constructor(
    visit: Visit,
    presented: { readonly id: SessionId; readonly key: SessionKey } | null,
    record: SessionRecord | null,
    fault: SessionError | null = null,
  ) {
    const { policy } = visit.context;
    this.visit = visit;
    this.fault = fault;
    this.attributes = new Attributes(policy.codec, policy, record?.attributes);
    this.#presentedKey = presented?.key ?? null;
    this.#known = record;
    this.#id = record && presented ? presented.id : null;
    this.#isConfirmed = record !== null;
  }

  /** Null: there is no session. */
  get known(): Known | null {
    return this.#known;
  }

  get principal(): string | null {
    return this.#known?.principal ?? null;
  }

  get id(): SessionId | null {
    return this.#id;
  }

  get beganHere(): boolean {
    return this.#beganHere;
  }

  /** This request has ended it. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** What others have stored meanwhile, and the lease under which nobody else changes it. */
  reread({ record, lease }: Exclusive): void {
    this.#known = record;
    if (record === null) this.#id = null;
    this.attributes.reread(record?.attributes);
    this.lease = lease;
  }

  /** The id that the request came with is still the one of its session. */
  get isPresented(): boolean {
    return this.#known !== null && this.#known.key === this.#presentedKey;
  }

  async create(changes: Changes | null, principal?: string | null, own: OwnAttributes = NONE): Promise<void> {
    this.#requireHeaders("begin a session");
    const created = await this.visit.create(new Map([...(changes?.set ?? []), ...own]), principal);
    this.#beganHere = true;
    const createdAtMs = this.#nowMs();
    const { absoluteExpiresAtMs } = created.session;
    this.#movedTo(created, changes, { createdAtMs, absoluteExpiresAtMs, principal: principal ?? null });
  }

  /** @throws {SessionError} SESSION_ENDED: a write creates nothing */
  async merge(changes: Changes): Promise<void> {
    if (!this.#known) return this.create(changes);
    if (this.visit.context.deferred !== null) {
      if (this.#isKept(changes)) return this.attributes.committed(changes, this.#known.version);
      await this.writeKept();
    }
    const lease = this.lease?.isOver === false ? this.lease : null;
    const version = await this.#apply(
      lease === null
        ? { ...changes, ...this.#activity() }
        : { ...changes, ...lease.fence, delete: [...changes.delete, LEASE_ATTRIBUTE], ...this.#activity() },
    );
    lease?.wentAlong();
    this.attributes.committed(changes, version);
  }

  /** Commits wait in this process (TIME_BASED_WRITE) unless there is no room, or the id is no longer written to. */
  #isKept(changes: Changes): boolean {
    const { deferred } = this.visit.context;
    const { key, state } = this.#known!;
    return deferred !== null && state === "live" && deferred.keep(key, changes, this.#activity().expiresAtMs);
  }

  /** What this server keeps of the session reaches the store before what follows. */
  async writeKept(): Promise<void> {
    const { deferred } = this.visit.context;
    if (deferred !== null && this.#known) await deferred.write(this.#known.key, this.visit.budget);
  }

  /** One write that expects nothing but this request's lease. */
  async #apply(delta: SessionDelta): Promise<Version> {
    const result = await this.visit.apply(this.#known!.key, delta);
    if (result.status === "conflict") {
      throw this.lease?.lost() ?? new Error("the store found a conflict where nothing was expected");
    }
    this.#wrote(result.version, result.expiresAtMs);
    return result.version;
  }

  /**
   * @param principal  undefined keeps the owner
   * @throws {SessionError} SESSION_LIMIT
   */
  async renew(changes: Changes | null, principal: string | null | undefined): Promise<void> {
    const { loginLimit } = this.visit.context;
    if (loginLimit === null || principal == null) return this.#renew(changes, principal, NONE);
    const before = this.principal;
    await loginLimit.requireRoom(principal, before, this.visit.budget);
    await this.#renew(changes, principal, new Map([[LOGIN_ATTRIBUTE, loginLimit.stamp()]]));
    // Until the login holds, the browser is not given the id.
    this.#cookie = "none";
    const { key } = this.#known!;
    const settled = await loginLimit.settle({ principal, before, key }, this.visit);
    if (settled === "ended") this.#ended();
    else this.#cookie = "issue";
    if (settled === "undone") this.#known = { ...this.#known!, principal: before };
    if (settled !== "holds") throw loginLimit.refusal();
  }

  async #renew(
    changes: Changes | null,
    principal: string | null | undefined,
    own: OwnAttributes,
  ): Promise<void> {
    if (!this.#known) return this.create(changes, principal, own);
    this.#requireHeaders("renew the session id");
    await this.writeKept();
    if (this.lease?.isOver === false) await this.#apply(this.lease.fence);
    const created = await this.visit.renew(
      this.#known.key,
      (final) => withChanges(final.attributes, changes, own),
      principal,
    );
    this.lease?.wentAlong();
    const { final } = created;
    this.#movedTo(created, changes, {
      ...final,
      principal: principal === undefined ? final.principal : principal,
    });
  }

  async update(name: string, change: Change): Promise<unknown> {
    if (!this.#known) return this.#beginWith(name, change);
    const { updates } = this.visit.context;
    if (this.visit.context.deferred !== null) await this.writeKept();
    // Set by this request and not stored yet: whatever others store meanwhile, this is what the change begins with.
    const isPending = this.attributes.isChanged(name);
    const local = this.attributes.current(name);
    let value: unknown;
    let bytes: Uint8Array | undefined;
    const update: Update = {
      name,
      known: this.attributes.known(name),
      change: (stored) => {
        const current = isPending ? local : stored;
        // Decoded for each attempt: a change that alters its argument must not see its own traces.
        value = change(current && this.attributes.decode(name, current));
        bytes = value === undefined ? undefined : this.attributes.encode(name, value);
        if (bytes) this.attributes.requireRoom(name, bytes);
        return bytes;
      },
      delta: this.#activity(),
    };
    const result = await updates.update(this.#known.key, update, this.visit.budget);
    this.attributes.adopt(name, value, bytes, result.stored);
    this.#wrote(result.version, result.expiresAtMs);
    return value;
  }

  /** No race is possible yet, and what was set so far belongs to the session's beginning. */
  async #beginWith(name: string, change: Change): Promise<unknown> {
    const value = change(this.attributes.get(name));
    if (value === undefined) {
      this.attributes.delete(name);
      return undefined;
    }
    this.attributes.set(name, value);
    await this.create(this.attributes.changes());
    return value;
  }

  /** Needs no more than the key, so it also ends what this request could not see. */
  async destroy(): Promise<void> {
    const key = this.#known?.key ?? this.#presentedKey;
    const isAlias = this.#known?.state === "superseded";
    const hasEnded = key !== null && (await this.visit.destroy(key));
    if (key !== null) this.visit.context.deferred?.forget(key);
    this.#ended();
    // The cookie of an id that was renewed, unknown or ended before is left alone: the browser may hold a newer one.
    this.#cookie = hasEnded && !isAlias && !this.#beganHere ? "clear" : "none";
  }

  #ended(): void {
    this.lease?.wentAlong();
    this.attributes.clear();
    this.#known = null;
    this.#id = null;
    this.#hasEnded = true;
  }

  async touch(): Promise<boolean> {
    if (!this.#known) return false;
    const movedToMs = await this.visit.touch(this.#known);
    if (movedToMs === false) return false;
    const expiresAtMs = Math.max(this.#known.expiresAtMs, movedToMs);
    this.#known = { ...this.#known, expiresAtMs, touchedAtMs: this.#nowMs() };
    return true;
  }

  /** The request is over: moves the idle deadline when that is due. */
  requestOver(): void {
    if (!this.#known || !this.#isConfirmed) return;
    const { context, isPassive } = this.visit;
    context.touches.requestOver(this.#known, isPassive ? this.#known.createdAtMs : this.#nowMs());
  }

  /** True when the browser must be told something, or another server's name in its cookie replaced. */
  get hasNews(): boolean {
    return this.#cookie !== "none" || this.#mustNameThisServer();
  }

  /** `Set-Cookie` values for the response. */
  setCookies(): string[] {
    const { cookie } = this.visit.context;
    if (this.#cookie === "none" || !cookie.canBeSet(this.visit.isSecure)) return [];
    if (this.#cookie === "clear") return [cookie.clear()];
    return [cookie.issue(this.#id!, this.#known!.absoluteExpiresAtMs)];
  }

  /** Only for a session that lives: a late response must not bring an old id back over a newer one. */
  async nameThisServer(): Promise<void> {
    if (!this.#mustNameThisServer()) return;
    try {
      if (this.#hasWritten || (await this.touch())) this.#cookie = "issue";
    } catch {
      // The response owes the store nothing; the next one tries again.
      this.visit.context.telemetry.count("touchFailures");
    }
  }

  #mustNameThisServer(): boolean {
    return (
      this.visit.namesAnotherServer &&
      this.#cookie === "none" &&
      this.#isConfirmed &&
      // It would cost a touch.
      !this.visit.isPassive &&
      this.#known?.state === "live"
    );
  }

  #movedTo(
    { id, key, version, session }: Created,
    changes: Changes | null,
    {
      createdAtMs,
      absoluteExpiresAtMs,
      principal,
    }: Pick<Known, "createdAtMs" | "absoluteExpiresAtMs" | "principal">,
  ): void {
    this.#known = {
      key,
      createdAtMs,
      touchedAtMs: this.#nowMs(),
      expiresAtMs: Math.min(session.expiresAtMs, absoluteExpiresAtMs),
      absoluteExpiresAtMs,
      principal,
      state: "live",
      version,
    };
    this.#id = id;
    this.#isConfirmed = false;
    this.#cookie = "issue";
    this.attributes.moved(
      new Map([...session.attributes].map(([name, value]) => [name, { value, version }])),
    );
    if (changes) this.attributes.committed(changes, version);
  }

  #wrote(version: Version, expiresAtMs: number): void {
    this.#known = { ...this.#known!, version, expiresAtMs, touchedAtMs: this.#nowMs() };
    this.#hasWritten = true;
  }

  #requireHeaders(action: string): void {
    if (!this.visit.headersSent) return;
    this.visit.context.telemetry.count("lateWrites");
    throw new SessionError("LATE_WRITE", `Cannot ${action}: no response follows that could carry its cookie`);
  }

  /** A change is activity, once the browser has shown that it holds the id. */
  #activity(): SessionDelta {
    const { context, isPassive } = this.visit;
    if (!this.#isConfirmed || isPassive) return {};
    return { expiresAtMs: storedDeadlineMs(this.#nowMs(), context.policy.idleTimeoutMs) };
  }

  #nowMs(): number {
    return this.visit.context.policy.clock.nowMs();
  }
}

function withChanges(
  stored: StoredAttributes,
  changes: Changes | null,
  own: OwnAttributes,
): Map<string, Uint8Array> {
  const attributes = new Map([...stored].map(([name, { value }]) => [name, value]));
  // A lease belongs to the old id: nobody knows the new one yet.
  attributes.delete(LEASE_ATTRIBUTE);
  for (const name of changes?.delete ?? []) attributes.delete(name);
  for (const [name, value] of changes?.set ?? []) attributes.set(name, value);
  for (const [name, value] of own) attributes.set(name, value);
  return attributes;
}
