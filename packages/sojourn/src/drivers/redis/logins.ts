/**
 * What surrounds the storing of a login: its entry in the principal's index before, the check against `endAll` after. An
 * `endAll` either came before the check, which then ends the login, or after it, and then finds it in the index.
 */
import { type Clock, delay } from "../../core/clock.ts";
import type { SessionKey } from "../../core/ids.ts";
import type { PrincipalChange } from "../../core/record.ts";
import type { ReadOptions } from "../../store/store.ts";
import { isClosed } from "./errors.ts";
import type { Login, Principals } from "./principals.ts";
import type { ServerClock } from "./server-clock.ts";
import type { Times } from "./times.ts";

/** A login whose check failed is checked again: for a minute, longer than most fail-overs take. */
const RECHECKS_MAX = 60;
const RECHECK_INTERVAL_MS = 1_000;

/** Ends the session; the remembered answer of the operation that logged in becomes "gone". */
export type Refuse = (key: SessionKey, operationId: string, options?: ReadOptions) => Promise<void>;

export class Logins {
  readonly #principals: Principals;
  readonly #clock: Clock;
  readonly #times: Times;
  readonly #refuse: Refuse;

  constructor(principals: Principals, clock: Clock, times: Times, refuse: Refuse) {
    this.#principals = principals;
    this.#clock = clock;
    this.#times = times;
    this.#refuse = refuse;
  }

  /** Before a login is stored. */
  async begin(
    change: PrincipalChange | undefined,
    key: SessionKey,
    absoluteExpiresAtMs: number,
    options: ReadOptions | undefined,
  ): Promise<Login | undefined> {
    if (!change || change.principal === null) return undefined;
    const { principal, ageMs } = change;
    const absolute = (clock: ServerClock) => this.#times.toServer(clock, absoluteExpiresAtMs);
    return this.#principals.enter({ principal, ageMs }, key, absolute, options);
  }

  /** After a login was stored: ends it when all of the principal were ended meanwhile. */
  async isRefused(
    login: Login | undefined,
    key: SessionKey,
    operationId: string,
    options: ReadOptions | undefined,
  ): Promise<boolean> {
    if (!login) return false;
    try {
      if (!(await this.#principals.wasEnded(login, options))) return false;
    } catch (error) {
      // The caller is told that the outcome is unknown; an ending that came meanwhile must hold all the same.
      void this.#refuseLater(login, key, operationId);
      throw error;
    }
    await this.#refuse(key, operationId, options);
    return true;
  }

  async #refuseLater(login: Login, key: SessionKey, operationId: string): Promise<void> {
    for (let attempt = 0; attempt < RECHECKS_MAX; attempt++) {
      await delay(this.#clock, RECHECK_INTERVAL_MS);
      try {
        if (await this.#principals.wasEnded(login, undefined)) {
          await this.#refuse(key, operationId);
        }
        return;
      } catch (error) {
        if (isClosed(error)) return;
      }
    }
  }
}
