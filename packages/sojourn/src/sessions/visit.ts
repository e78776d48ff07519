/**
 * The store calls of one request: each with its share of the request's budget, its operation id and its retries. Turns
 * the contract's answers into what a session understands: done, or a `SessionError`.
 */
import { storedDeadlineMs, UNCONFIRMED_MS } from "../core/deadline.ts";
import { SessionError } from "../core/errors.ts";
import { newOperationId, newSessionId, type SessionId, type SessionKey, sessionKeyOf } from "../core/ids.ts";
import type { NewSession, SessionDelta, SessionRecord } from "../core/record.ts";
import type { Version } from "../core/version.ts";
import { type Answered, applyDelta, sessionEnded } from "./apply.ts";
import { StoreBudget } from "./budget.ts";
import type { Context } from "./context.ts";
import type { PresentedId } from "./id-cookie.ts";
import type { IncomingRequest } from "./scope.ts";

/** Drawing 256 bits twice is impossible; a store may have its own reasons to refuse a key. */
const ID_TRIES_MAX = 5;

export interface Created {
  readonly id: SessionId;
  readonly key: SessionKey;
  readonly version: Version;
  readonly session: NewSession;
}

export class Visit {
  readonly context: Context;
  /** The browser's connection is TLS. */
  readonly isSecure: boolean;
  /** The request's cookie names another server than this one. */
  readonly namesAnotherServer: boolean;
  /** No response can carry a cookie any more. */
  readonly headersSent: boolean;
  readonly openedAtMs: number;
  /** The request is no activity of the visitor. */
  isPassive = false;
  readonly #openedAtMonotonicMs: number;
  #budget: StoreBudget | undefined;

  constructor(context: Context, request: IncomingRequest, presented: PresentedId | null) {
    const { clock } = context.policy;
    this.context = context;
    this.openedAtMs = clock.nowMs();
    this.#openedAtMonotonicMs = clock.monotonicMs() - (request.ageMs ?? 0);
    this.isSecure = request.secure;
    this.headersSent = request.headersSent ?? false;
    this.namesAnotherServer =
      presented !== null && !this.headersSent && context.cookie.namesAnotherServer(presented);
  }

  /** Most requests find their session without waiting, and need none. */
  get budget(): StoreBudget {
    const { clock, store, storeBudgetMs } = this.context.policy;
    this.#budget ??= new StoreBudget(clock, store.name, storeBudgetMs);
    return this.#budget;
  }

  /** How long ago the request began. */
  ageMs(): number {
    return Math.max(0, this.context.policy.clock.monotonicMs() - this.#openedAtMonotonicMs);
  }

  read(key: SessionKey): Promise<SessionRecord | null> {
    return this.budget.wait("read a session", (timeoutMs) => this.context.loads.load(key, timeoutMs));
  }

  /** Under a fresh id that nobody could have planted. Until its cookie comes back it lives at most UNCONFIRMED_MS. */
  async create(attributes: ReadonlyMap<string, Uint8Array>, principal?: string | null): Promise<Created> {
    const { clock, idleTimeoutMs, absoluteTimeoutMs } = this.context.policy;
    for (let tries = 1; ; tries++) {
      const nowMs = clock.nowMs();
      const id = newSessionId(clock);
      const session: NewSession = {
        key: sessionKeyOf(id),
        attributes,
        ...(principal == null ? {} : { principal: { principal, ageMs: this.ageMs() } }),
        expiresAtMs: Math.min(storedDeadlineMs(nowMs, idleTimeoutMs), nowMs + UNCONFIRMED_MS),
        absoluteExpiresAtMs: nowMs + absoluteTimeoutMs,
      };
      const version = await this.#create(session, tries);
      if (version === null) continue;
      this.context.telemetry.count("created");
      return { id, key: session.key, version, session };
    }
  }

  /**
   * The session under a new id; from the first step on the old one can no longer write.
   *
   * @param changed    the attributes to store, given the old id's final state
   * @param principal  undefined keeps the owner
   */
  async renew(
    key: SessionKey,
    changed: (final: SessionRecord) => ReadonlyMap<string, Uint8Array>,
    principal: string | null | undefined,
  ): Promise<Created & { readonly final: SessionRecord }> {
    const { clock, idleTimeoutMs, store } = this.context.policy;
    for (let tries = 1; ; tries++) {
      const id = newSessionId(clock);
      const successor = sessionKeyOf(id);
      const beganAtMs = clock.monotonicMs();
      const result = await this.budget.wait("renew a session id", (timeoutMs) =>
        store.supersede(key, { successor, timeoutMs, operationId: newOperationId(clock) }),
      );
      if (result.status === "gone") throw sessionEnded(this.context.telemetry, "renew a session id");
      const { final } = result;
      this.context.ends.changed(key);
      const owner = principal === undefined ? final.principal : principal;
      // Keeping the owner is no login: this session outlived every `endAll` up to the moment it was superseded.
      const ageMs = owner === final.principal ? clock.monotonicMs() - beganAtMs : this.ageMs();
      const session: NewSession = {
        key: successor,
        attributes: changed(final),
        ...(owner === null ? {} : { principal: { principal: owner, ageMs } }),
        createdAtMs: final.createdAtMs,
        expiresAtMs: storedDeadlineMs(clock.nowMs(), idleTimeoutMs),
        absoluteExpiresAtMs: final.absoluteExpiresAtMs,
      };
      const version = await this.#create(session, tries);
      if (version === null) continue;
      this.context.telemetry.count("renewed");
      return { id, key: successor, version, session, final };
    }
  }

  /** @returns null when another id must be drawn */
  async #create(session: NewSession, tries: number): Promise<Version | null> {
    const { clock, store } = this.context.policy;
    const result = await this.budget.wait("create a session", (timeoutMs) =>
      store.create(session, { timeoutMs, operationId: newOperationId(clock) }),
    );
    if (result.status === "created") return result.version;
    if (result.status === "gone") throw sessionEnded(this.context.telemetry, "create a session");
    if (tries < ID_TRIES_MAX) return null;
    throw new SessionError(
      "STORE_UNAVAILABLE",
      `Cannot create a session: store "${store.name}" refused ${tries} fresh ids as taken`,
    );
  }

  /** @throws {SessionError} SESSION_ENDED, STORE_BEHIND */
  apply(key: SessionKey, delta: SessionDelta): Promise<Answered> {
    return applyDelta(this.context, this.budget, key, delta);
  }

  /** @returns false when the session is gone; the deadline it moved to otherwise */
  async touch(record: Pick<SessionRecord, "key" | "absoluteExpiresAtMs">): Promise<number | false> {
    const { clock, store, idleTimeoutMs } = this.context.policy;
    const deadlineMs = Math.min(storedDeadlineMs(clock.nowMs(), idleTimeoutMs), record.absoluteExpiresAtMs);
    const isLive = await this.budget.wait("move an idle deadline", (timeoutMs) =>
      store.touch(record.key, deadlineMs, { timeoutMs, operationId: newOperationId(clock) }),
    );
    if (!isLive) return false;
    this.context.telemetry.count("touches");
    this.context.touches.moved(record.key, deadlineMs);
    return deadlineMs;
  }

  async destroy(key: SessionKey): Promise<boolean> {
    const { clock, store } = this.context.policy;
    const hasEnded = await this.budget.wait("end a session", (timeoutMs) =>
      store.destroy(key, { timeoutMs, operationId: newOperationId(clock) }),
    );
    if (hasEnded) this.context.telemetry.count("destroyed");
    this.context.ends.changed(key);
    return hasEnded;
  }

  /** Ends a session off the response's path, and whether it could is nobody's concern: it expires. */
  abandon(key: SessionKey): void {
    const { store, storeBudgetMs } = this.context.policy;
    store.destroy(key, { timeoutMs: storeBudgetMs }).catch(() => {});
  }
}
