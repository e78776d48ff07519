/** A store as seen through a link that can be slow, silent or down. What gets through is the real store's doing. */
import type { SessionStore } from "sojourn";
import { isEnumerable } from "sojourn/store";

export const STORE_OPERATIONS = [
  "read",
  "create",
  "apply",
  "touch",
  "supersede",
  "destroy",
  "list",
  "count",
  "endAll",
];

type Call = (...args: unknown[]) => Promise<unknown>;

export class Gate {
  readonly #make: () => SessionStore;
  #store: SessionStore;
  #delayMs = 0;
  #isFrozen = false;
  #isDown = false;
  /** Calls that reached the store. */
  requests = 0;

  constructor(make: () => SessionStore) {
    this.#make = make;
    this.#store = make();
  }

  store(): SessionStore {
    if (!isEnumerable(this.#store)) throw new Error("The gate expects an enumerable store");
    const gated: Record<string, unknown> = { name: this.#store.name, close: async () => {} };
    for (const method of STORE_OPERATIONS) gated[method] = (...args: unknown[]) => this.#pass(method, args);
    return gated as unknown as SessionStore;
  }

  delay(ms: number): void {
    this.#delayMs = ms;
  }

  freeze(): void {
    this.#isFrozen = true;
  }

  heal(): void {
    this.#delayMs = 0;
    this.#isFrozen = false;
  }

  async kill(): Promise<void> {
    this.#isDown = true;
    await this.#store.close();
  }

  async restart(): Promise<void> {
    this.#store = this.#make();
    this.#isDown = false;
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  async #pass(method: string, args: unknown[]): Promise<unknown> {
    if (this.#isDown) throw new Error("connection refused");
    if (this.#isFrozen) return new Promise(() => {});
    if (this.#delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#delayMs));
    this.requests++;
    const store = this.#store as unknown as Record<string, Call>;
    return store[method]?.(...args);
  }
}
