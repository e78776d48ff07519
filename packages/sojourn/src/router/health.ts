/**
 * Active health checks: one GET per server and interval, on a connection of its own, so that a check also sees whether
 * the server still accepts. A check asks whether the process answers; being busy is not being ill, or one overloaded
 * server would push its load onto the next until all are down.
 */
import { request } from "node:http";
import type { Timer } from "../core/clock.ts";
import type { Backend } from "./backend.ts";
import type { HealthSettings, RouterSettings } from "./options.ts";

export class HealthChecks {
  readonly #settings: RouterSettings;
  readonly #health: HealthSettings;
  readonly #onUp: (backend: Backend) => void;
  readonly #onDown: (backend: Backend, found: string) => void;
  readonly #timers = new Map<Backend, Timer>();
  #closed = false;

  constructor(
    settings: RouterSettings,
    health: HealthSettings,
    onUp: (backend: Backend) => void,
    onDown: (backend: Backend, found: string) => void,
  ) {
    this.#settings = settings;
    this.#health = health;
    this.#onUp = onUp;
    this.#onDown = onDown;
  }

  watch(backend: Backend): void {
    this.#again(backend, 0);
  }

  forget(backend: Backend): void {
    this.#timers.get(backend)?.cancel();
    this.#timers.delete(backend);
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  #again(backend: Backend, delayMs: number): void {
    this.#timers.set(
      backend,
      this.#settings.clock.setTimer(() => void this.#round(backend), delayMs),
    );
  }

  async #round(backend: Backend): Promise<void> {
    // Whoever works on a server in maintenance does not want it asked, nor hear that it is gone.
    if (backend.state !== "maintenance") {
      const found = await this.#check(backend);
      if (this.#closed || !this.#timers.has(backend)) return;
      if (found === null) {
        if (backend.checkPassed(this.#health)) this.#onUp(backend);
      } else if (backend.checkFailed(this.#health, found)) this.#onDown(backend, found);
    }
    if (!this.#closed && this.#timers.has(backend)) this.#again(backend, this.#health.intervalMs);
  }

  /** @returns null when well, else what was found */
  #check(backend: Backend): Promise<string | null> {
    const { path, timeoutMs } = this.#health;
    const { host, port } = backend.nodeTarget;
    return new Promise((resolve) => {
      const check = request({ host, port, path, agent: false, headers: { Connection: "close" } });
      const timer = this.#settings.clock.setTimer(() => {
        check.destroy(new Error(`no answer to the health check within ${timeoutMs} ms`));
      }, timeoutMs);
      const done = (found: string | null) => {
        timer.cancel();
        resolve(found);
      };
      check.on("error", (error) => done((error as NodeJS.ErrnoException).code ?? error.message));
      check.on("response", (response) => {
        response.on("error", () => {});
        response.destroy();
        const status = response.statusCode ?? 0;
        done(status >= 200 && status < 400 ? null : `health check answered ${status}`);
      });
      check.end();
    });
  }
}
