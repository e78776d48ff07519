/**
 * How many sessions a user may have at once. Each login is stamped inside its session, and the stamps order the logins of
 * a user for every server alike: whoever looks, whenever, takes the same ones for the newest. The store's own times would
 * not do, because a touch moves them and each server converts them to its own clock.
 *
 * A login first stores itself and then looks. Of logins that run at the same moment, the one stored last sees all others,
 * so when all have settled there are never more than allowed; and because all see one order, two never end each other.
 */
import { delay } from "../core/clock.ts";
import { jsonCodec } from "../core/codec.ts";
import { SessionError } from "../core/errors.ts";
import type { SessionKey } from "../core/ids.ts";
import { type EnumerableStore, isEnumerable, type SessionSummary } from "../store/store.ts";
import { RESERVED_PREFIX } from "./attributes.ts";
import type { StoreBudget } from "./budget.ts";
import { invalidOption, requireOneOf } from "./check-options.ts";
import type { Policy } from "./options.ts";
import type { Visit } from "./visit.ts";

/** Wall time of the server that took the login, in ms. */
export const LOGIN_ATTRIBUTE = `${RESERVED_PREFIX}login`;

/** A login that another one may be about to give way to looks again this often, after pauses that differ. */
const LOOKS_MAX = 5;
const PAUSE_MS_MIN = 10;
const PAUSE_MS_SPREAD = 20;

export type OnLimit = "end-oldest" | "refuse";

export interface LimitOptions {
  /**
   * How many sessions a user may have at once, counted where `renew({ principal })` logs in. Needs a store that can list
   * sessions. Default: any number.
   */
  readonly sessionsPerPrincipalMax?: number;
  /**
   * What the login above it does. "end-oldest" (default): ends the sessions that logged in longest ago. "refuse": `renew`
   * rejects with SESSION_LIMIT and nothing has changed.
   */
  readonly onLimit?: OnLimit;
}

export interface LimitPolicy {
  readonly sessionsPerPrincipalMax: number | undefined;
  readonly onLimit: OnLimit;
}

export const LIMIT_OPTION_NAMES: readonly (keyof LimitOptions)[] = ["sessionsPerPrincipalMax", "onLimit"];

/** @throws {SessionError} INVALID_OPTION */
export function resolveLimitOptions({
  sessionsPerPrincipalMax,
  onLimit = "end-oldest",
}: LimitOptions): LimitPolicy {
  requireOneOf(onLimit, ["end-oldest", "refuse"], "onLimit");
  if (sessionsPerPrincipalMax !== undefined) {
    if (!(Number.isInteger(sessionsPerPrincipalMax) && sessionsPerPrincipalMax >= 1)) {
      throw invalidOption("sessionsPerPrincipalMax", sessionsPerPrincipalMax, "a whole number from 1");
    }
  }
  return { sessionsPerPrincipalMax, onLimit };
}

interface Login {
  readonly key: SessionKey;
  /** 0: from before there was a limit, older than all. */
  readonly stamp: number;
  readonly touchedAtMs: number;
}

/** A login that is stored, and does not hold yet. */
interface Settling {
  readonly principal: string;
  /** Whose the session was. */
  readonly before: string | null;
  readonly key: SessionKey;
}

export class LoginLimit {
  readonly #policy: Policy;
  readonly #store: EnumerableStore;
  readonly #max: number;

  private constructor(policy: Policy, store: EnumerableStore, max: number) {
    this.#policy = policy;
    this.#store = store;
    this.#max = max;
  }

  /** @returns null when there is no limit. @throws {SessionError} INVALID_OPTION when the store cannot list sessions */
  static of(policy: Policy): LoginLimit | null {
    const { sessionsPerPrincipalMax, store } = policy;
    if (sessionsPerPrincipalMax === undefined) return null;
    if (isEnumerable(store)) return new LoginLimit(policy, store, sessionsPerPrincipalMax);
    const expected = `none with store "${store.name}", which cannot list a user's sessions`;
    throw invalidOption("sessionsPerPrincipalMax", sessionsPerPrincipalMax, expected);
  }

  /** What a login carries. Never in the application's codec, which may have its own rules for names and values. */
  stamp(): Uint8Array {
    return jsonCodec.encode(this.#policy.clock.nowMs(), LOGIN_ATTRIBUTE);
  }

  /** Before a login. @throws {SessionError} SESSION_LIMIT when logins above the limit are refused */
  async requireRoom(principal: string, before: string | null, budget: StoreBudget): Promise<void> {
    if (!this.#mayRefuse(principal, before)) return;
    const { length } = await this.#list(principal, budget);
    if (length >= this.#max) throw this.refusal();
  }

  /**
   * After the login is stored.
   *
   * @returns "ended": newer logins took the room, and the session is no more; "undone": an earlier login has the room, and
   *          the session is whose it was before
   */
  async settle(login: Settling, visit: Visit): Promise<"holds" | "ended" | "undone"> {
    const { principal, before, key } = login;
    try {
      if (this.#policy.onLimit === "end-oldest") {
        const surplus = (await this.#newestFirst(principal, visit.budget)).slice(this.#max);
        await Promise.all(surplus.map((each) => visit.destroy(each.key)));
        return surplus.some((each) => each.key === key) ? "ended" : "holds";
      }
      if (!this.#mayRefuse(principal, before)) return "holds";
      if (await this.#mayStay(principal, key, visit.budget)) return "holds";
      const owner = { principal: before, ageMs: visit.ageMs() };
      await visit.apply(key, { principal: owner, delete: [LOGIN_ATTRIBUTE] });
      return "undone";
    } catch (error) {
      // Nobody will come back with it, and it must not take up room until it expires.
      visit.abandon(key);
      throw error;
    }
  }

  refusal(): SessionError {
    return new SessionError(
      "SESSION_LIMIT",
      `Cannot log in: the user has sessionsPerPrincipalMax = ${this.#max} sessions already`,
    );
  }

  /** Who is counted already needs no more room. */
  #mayRefuse(principal: string, before: string | null): boolean {
    return this.#policy.onLimit === "refuse" && before !== principal;
  }

  /**
   * The earlier of two that ran at once stays, after waiting for the later one to give way; a login that was told it holds
   * never loses its room.
   */
  async #mayStay(principal: string, own: SessionKey, budget: StoreBudget): Promise<boolean> {
    const { clock } = this.#policy;
    for (let looks = 1; ; looks++) {
      const logins = await this.#newestFirst(principal, budget);
      if (logins.length <= this.#max) return true;
      const isLate = logins.slice(0, logins.length - this.#max).some(({ key }) => key === own);
      if (isLate || looks === LOOKS_MAX) return false;
      const pauseMs = PAUSE_MS_MIN + (clock.randomBytes(1)[0]! / 256) * PAUSE_MS_SPREAD;
      await budget.wait("log in", () => delay(clock, pauseMs));
    }
  }

  /** Reads the stamps only when there are too many: a login within the limit costs one listing. */
  async #newestFirst(principal: string, budget: StoreBudget): Promise<Login[]> {
    const listed = await this.#list(principal, budget);
    if (listed.length <= this.#max)
      return listed.map(({ key, touchedAtMs }) => ({ key, stamp: 0, touchedAtMs }));
    const logins = await Promise.all(listed.map((each) => this.#loginOf(each, budget)));
    return logins
      .filter((login) => login !== null)
      .sort(
        (a, b) =>
          b.stamp - a.stamp ||
          // Both from before the limit: whoever was active last stays.
          (a.stamp === 0 ? b.touchedAtMs - a.touchedAtMs : 0) ||
          (a.key < b.key ? -1 : 1),
      );
  }

  async #loginOf({ key, touchedAtMs }: SessionSummary, budget: StoreBudget): Promise<Login | null> {
    const record = await budget.wait("log in", (timeoutMs) => this.#store.read(key, { timeoutMs }));
    if (record?.state !== "live") return null;
    const attribute = record.attributes.get(LOGIN_ATTRIBUTE);
    const stamp = attribute ? jsonCodec.decode(attribute.value) : 0;
    return { key, stamp: typeof stamp === "number" ? stamp : 0, touchedAtMs };
  }

  async #list(principal: string, budget: StoreBudget): Promise<SessionSummary[]> {
    const found: SessionSummary[] = [];
    let cursor: string | undefined;
    do {
      const from = cursor === undefined ? {} : { cursor };
      const page = await budget.wait("log in", (timeoutMs) =>
        this.#store.list({ principal, ...from, limit: 1000, timeoutMs }),
      );
      found.push(...page.sessions);
      cursor = page.next;
    } while (cursor !== undefined);
    return found;
  }
}
