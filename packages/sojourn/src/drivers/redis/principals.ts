/** Whose sessions are where, and when all of somebody's were last ended. What it is for: logins.ts. */
import { createHash, hash as hashOnce } from "node:crypto";
import type { SessionKey } from "../../core/ids.ts";
import type { PrincipalChange } from "../../core/record.ts";
import type { ReadOptions } from "../../store/store.ts";
import type { Calls } from "./calls.ts";
import { CHECK, ENTER, FINISH, LEAVE, MARK, MEMBERS, REENTER } from "./principal-scripts.ts";
import { textOf } from "./record.ts";
import type { ServerClock } from "./server-clock.ts";

/** A login whose ending may be forgotten is refused by its age; older than any clock error. */
const AGE_MS_MAX = 9_999_999_999;

export interface Login {
  readonly principal: string;
  /** Ended since it began. */
  readonly isGone: boolean;
  /** On the clock of the principal's node. */
  readonly beganMs: string;
}

export class Principals {
  readonly #calls: Calls;
  readonly #prefix: string;

  constructor(calls: Calls, prefix: string) {
    this.#calls = calls;
    this.#prefix = prefix;
  }

  /** @param absolute  the session's absolute deadline on a server's clock */
  async enter(
    { principal, ageMs }: PrincipalChange & { readonly principal: string },
    session: SessionKey,
    absolute: (clock: ServerClock) => number,
    options: ReadOptions | undefined,
  ): Promise<Login> {
    const age = Math.ceil(Math.min(AGE_MS_MAX, Math.max(0, ageMs)));
    const work = {
      script: ENTER,
      key: this.#keyOf(principal),
      head: (clock: ServerClock) => `${session} ${absolute(clock)} ${Number.isNaN(age) ? AGE_MS_MAX : age}`,
      action: "enter a login",
    };
    const { reply } = await this.#calls.run(work, options);
    return { principal, isGone: textOf(reply[1]) === "g", beganMs: textOf(reply[2]) };
  }

  /** True when all sessions of the principal were ended while the login was being stored. */
  async wasEnded(login: Login, options: ReadOptions | undefined): Promise<boolean> {
    const work = {
      script: CHECK,
      key: this.#keyOf(login.principal),
      head: login.beganMs,
      action: "check a login",
    };
    return textOf((await this.#calls.run(work, options)).reply[1]) === "g";
  }

  /** In the background: an index entry that is missing is entered by the next touch. */
  reenter(principal: string, session: SessionKey, absoluteMs: number): void {
    this.#background({ script: REENTER, principal, head: `${session} ${absoluteMs}` });
  }

  /** In the background: what stays is dropped at its absolute deadline. */
  leave(principal: string, session: SessionKey): void {
    this.#background({ script: LEAVE, principal, head: session });
  }

  async members(principal: string, options: ReadOptions | undefined): Promise<SessionKey[]> {
    const work = { script: MEMBERS, key: this.#keyOf(principal), head: "", action: "list sessions" };
    return keysOf((await this.#calls.run(work, options)).reply[1]);
  }

  /** @returns the number that the first call of this operation answered, or whom to end */
  async mark(
    principal: string,
    operationId: string,
    options: ReadOptions | undefined,
  ): Promise<number | SessionKey[]> {
    const action = "end all sessions of the principal";
    const work = { script: MARK, key: this.#keyOf(principal), head: operationId, action };
    const { reply } = await this.#calls.run(work, options);
    const answer = textOf(reply[1]);
    return answer === "p" ? keysOf(reply[2]) : Number(answer.slice(1));
  }

  async finish(
    principal: string,
    operationId: string,
    count: number,
    ended: readonly SessionKey[],
    options: ReadOptions | undefined,
  ): Promise<number> {
    const work = {
      script: FINISH,
      key: this.#keyOf(principal),
      head: `${operationId} ${count}`,
      more: ended,
      action: "end all sessions of the principal",
    };
    return Number(textOf((await this.#calls.run(work, options)).reply[1]).slice(1));
  }

  /** Any text makes a short name, and no name of a person stands in a key. */
  #keyOf(principal: string): string {
    const digest = hashOnce
      ? hashOnce("sha256", principal, "base64url")
      : createHash("sha256").update(principal).digest("base64url");
    return `${this.#prefix}:p:{${digest.slice(0, 22)}}`;
  }

  #background(work: { script: typeof REENTER; principal: string; head: string }): void {
    const { script, head } = work;
    const key = this.#keyOf(work.principal);
    this.#calls.run({ script, key, head, action: "keep an index" }).catch(() => undefined);
  }
}

function keysOf(members: unknown): SessionKey[] {
  return (members as readonly unknown[]).map((member) => textOf(member) as SessionKey);
}
