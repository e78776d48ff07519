/**
 * Tells listeners which sessions changed, in one call per write. A listener that throws has missed something, so its
 * lease ends: whoever kept copies on its word stops using them.
 */
import type { SessionKey } from "../core/ids.ts";
import type { Watch, WatchListener } from "./store.ts";

interface Watcher {
  readonly listener: WatchListener;
  leaseUntilMs: number;
}

export class Watchers {
  readonly #watchers = new Set<Watcher>();
  readonly #changed = new Set<SessionKey>();

  get size(): number {
    return this.#watchers.size;
  }

  /** The lease holds until the watch or the store is closed. */
  add(listener: WatchListener): Watch {
    const watcher: Watcher = { listener, leaseUntilMs: Number.POSITIVE_INFINITY };
    this.#watchers.add(watcher);
    return {
      leaseUntilMs: () => watcher.leaseUntilMs,
      close: () => this.#drop(watcher),
    };
  }

  /** To be told with the next `tell`. */
  changed(key: SessionKey): void {
    if (this.#watchers.size > 0) this.#changed.add(key);
  }

  tell(): void {
    if (this.#changed.size === 0) return;
    const keys = [...this.#changed];
    this.#changed.clear();
    for (const watcher of this.#watchers) {
      try {
        watcher.listener.invalidated(keys);
      } catch {
        this.#drop(watcher);
      }
    }
  }

  close(): void {
    for (const watcher of this.#watchers) this.#drop(watcher);
    this.#changed.clear();
  }

  #drop(watcher: Watcher): void {
    watcher.leaseUntilMs = 0;
    this.#watchers.delete(watcher);
  }
}
