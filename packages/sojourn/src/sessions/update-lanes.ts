/**
 * Lines up this process's `update`s of one session, so they race only those of other processes: fifty increments in
 * parallel are fifty commits, not hundreds of lost races. Each hands the next what it knows to be stored, and so spares
 * it a conflict that was certain.
 */
import type { SessionKey } from "../core/ids.ts";
import type { StoredAttribute } from "./attributes.ts";

export interface Turn {
  /** Resolves when those before are done. */
  readonly begins: Promise<void>;
  /** Attribute → as last seen in the store, null for absent. Only what updates in this line have met. */
  readonly known: Map<string, StoredAttribute | null>;
  /** Must be called, waited for or not. */
  done(): void;
}

interface Lane {
  last: Promise<void>;
  waiting: number;
  readonly known: Map<string, StoredAttribute | null>;
}

export class UpdateLanes {
  readonly #lanes = new Map<SessionKey, Lane>();

  take(key: SessionKey): Turn {
    const lane = this.#lanes.get(key) ?? { last: Promise.resolve(), waiting: 0, known: new Map() };
    this.#lanes.set(key, lane);
    lane.waiting++;
    const begins = lane.last;
    let finish: (() => void) | undefined;
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    // Whoever gave up waiting must not let the next one overtake those before.
    lane.last = begins.then(() => finished);
    return {
      begins,
      known: lane.known,
      done: () => {
        finish!();
        if (--lane.waiting === 0 && this.#lanes.get(key) === lane) this.#lanes.delete(key);
      },
    };
  }
}
