/**
 * Keeps retries from multiplying the load of a cluster that is already in trouble: a retry costs one credit, a request
 * earns a fifth of one. The reserve covers what is in flight on one server when it dies.
 */

export const RETRY_SHARE = 0.2;
export const RETRY_RESERVE = 256;

export class RetryBudget {
  #credit = RETRY_RESERVE;

  earn(): void {
    if (this.#credit < RETRY_RESERVE) this.#credit = Math.min(RETRY_RESERVE, this.#credit + RETRY_SHARE);
  }

  /** @returns whether the retry may happen */
  spend(): boolean {
    if (this.#credit < 1) return false;
    this.#credit--;
    return true;
  }
}
