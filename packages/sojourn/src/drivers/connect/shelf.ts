/**
 * The sessions of one `connect-*` store as this process reads, writes and ends them: one `get`, `set` or `destroy` each,
 * and what can be noticed on the way. Whoever writes holds the key in the store's queue.
 */
import type { Clock } from "../../core/clock.ts";
import { isSessionError } from "../../core/errors.ts";
import type { SessionKey } from "../../core/ids.ts";
import {
  covers,
  type Epoch,
  LINEAGE_EPOCHS_MAX,
  type Lineage,
  newEpoch,
  type Version,
} from "../../core/version.ts";
import { type BlobOptions, fromBlob, goneAtMs, keyIn, type Stored, toBlob } from "./blob.ts";
import { asked, type Call, KeyQueue } from "./calls.ts";
import type { AnyConnectStore, ListingConnectStore } from "./connect-contract.ts";
import { Ended } from "./ended.ts";
import type { ConnectDiagnosticCode } from "./limits.ts";

/** Sessions whose last write is remembered, to notice its loss. */
const WRITES_REMEMBERED = 10_000;
/** Each kind of loss is told at most once in this time. */
const TOLD_EVERY_MS = 60_000;

export interface ShelfOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly blob: BlobOptions;
  readonly tell: (code: ConnectDiagnosticCode, message: string) => void;
}

interface Written {
  readonly birth: string;
  readonly version: Version;
}

export class Shelf {
  readonly ended: Ended;
  readonly queue: KeyQueue;
  readonly totals = { writesLost: 0, revived: 0 };
  readonly #store: AnyConnectStore;
  readonly #options: ShelfOptions;
  /** The last write of each session that was written in this epoch. */
  readonly #written = new Map<SessionKey, Written>();
  #epoch: Epoch;
  readonly #toldAtMs = new Map<ConnectDiagnosticCode, number>();

  constructor(store: AnyConnectStore, options: ShelfOptions) {
    this.#store = store;
    this.#options = options;
    this.ended = new Ended(options.clock);
    this.queue = new KeyQueue(options.clock, () => this.#beginEpoch());
    this.#epoch = newEpoch(options.clock);
  }

  /** Of the next commit to what `find` gave. No version is ever given twice, whatever was lost in between. */
  nextVersion(lineage: Lineage): Version {
    const counter = lineage.get(this.#epoch);
    if (counter !== undefined) return { epoch: this.#epoch, counter: counter + 1 };
    // A full lineage may have dropped our epoch, and with it how far we had counted.
    const epoch = lineage.size < LINEAGE_EPOCHS_MAX ? this.#epoch : newEpoch(this.#options.clock);
    return { epoch, counter: 1 };
  }

  /** For a reader, who does not hold the key. */
  async read(key: SessionKey, action: string): Promise<Stored | undefined> {
    const stored = await this.#get(key, action);
    // Asked afterwards: it may have ended while the store was looking.
    if (!stored || !this.ended.has(key)) return stored;
    this.#endAgain(key);
    return undefined;
  }

  /** Live or superseded. */
  async find(key: SessionKey, action: string): Promise<Stored | undefined> {
    return this.ended.has(key) ? undefined : this.#get(key, action);
  }

  async findLive(key: SessionKey, action: string): Promise<Stored | undefined> {
    const stored = await this.find(key, action);
    return stored?.alias ? undefined : stored;
  }

  async put(stored: Stored, call: Call, action: string): Promise<void> {
    const { key, birth, version } = stored.record;
    const nowMs = this.#options.clock.nowMs();
    // Over before it began. Some stores keep what has no time left for ever.
    if (goneAtMs(stored) <= nowMs) return;
    call.requireOpen();
    const blob = toBlob(stored, nowMs);
    try {
      await asked(this.#options.name, action, (done) => this.#store.set(key, blob, done));
    } catch (error) {
      // It may have happened, or happen later.
      this.#beginEpoch();
      throw error;
    }
    if (this.#written.size >= WRITES_REMEMBERED) this.#beginEpoch();
    this.#written.set(key, { birth, version });
  }

  /**
   * Ends `key` for good, with every superseded key that leads to it. Those are not waited for in the queue: they only
   * answer reads.
   */
  async end(key: SessionKey, absoluteExpiresAtMs: number | undefined, action: string): Promise<void> {
    const ending = [key];
    for (let next = ending.pop(); next; next = ending.pop()) {
      const id = next;
      this.ended.add(id, absoluteExpiresAtMs);
      this.#written.delete(id);
      ending.push(...this.ended.leadingTo(id));
      await asked(this.#options.name, action, (done) => this.#store.destroy(id, done));
    }
  }

  /**
   * Live and superseded sessions that a Sojourn process wrote. Others have no key, only an id that must not be shown; one
   * that nobody can read is nobody's, and must not keep the rest from being listed and ended.
   */
  async list(store: ListingConnectStore, action: string): Promise<Stored[]> {
    const all = await asked<object>(this.#options.name, action, (done) => store.all(done));
    const nowMs = this.#options.clock.nowMs();
    const found: Stored[] = [];
    for (const session of Object.values(all ?? {})) {
      try {
        const key = keyIn(session);
        if (key === undefined || this.ended.has(key)) continue;
        const stored = fromBlob(key, session, nowMs, this.#options.blob);
        if (nowMs < goneAtMs(stored)) found.push(stored);
      } catch (error) {
        if (!isSessionError(error)) throw error;
      }
    }
    return found;
  }

  async #get(key: SessionKey, action: string): Promise<Stored | undefined> {
    // Known before the store is asked: what is written meanwhile need not be in its answer.
    const written = this.#written.get(key);
    const session = await asked<unknown>(this.#options.name, action, (done) =>
      this.#store.get(key, (error: { code?: unknown } | null, found?: unknown) =>
        error?.code === "ENOENT" ? done(null) : done(error, found),
      ),
    );
    if (!session) return undefined;
    const nowMs = this.#options.clock.nowMs();
    const stored = fromBlob(key, session, nowMs, this.#options.blob);
    if (written) this.#compare(key, written, stored);
    if (nowMs < goneAtMs(stored)) return stored;
    // A superseded key never becomes free again.
    if (stored.alias) this.ended.add(key, stored.record.absoluteExpiresAtMs);
    return undefined;
  }

  #compare(key: SessionKey, written: Written, { record }: Stored): void {
    const { birth, lineage } = record;
    const isDropped = lineage.size >= LINEAGE_EPOCHS_MAX && !lineage.has(written.version.epoch);
    if (birth === written.birth && (isDropped || covers(lineage, written.version))) return;
    // Told once: a write that came meanwhile is compared next time.
    if (this.#written.get(key) !== written) return;
    this.#beginEpoch();
    this.totals.writesLost++;
    this.#tell(
      "WRITE_LOST",
      "a session no longer holds what this process wrote: another program wrote over it",
    );
  }

  /** Counters go on from what a session says. When that may lack a write of ours, they go on in another epoch. */
  #beginEpoch(): void {
    this.#epoch = newEpoch(this.#options.clock);
    this.#written.clear();
  }

  #endAgain(key: SessionKey): void {
    const action = "end a session";
    const end = async () => {
      // A `destroy` that was under way when the reader looked has done it.
      if (!(await this.#get(key, action))) return;
      await this.end(key, undefined, action);
      this.totals.revived++;
      this.#tell(
        "SESSION_REVIVED",
        "a session that this process had ended was written back, and is ended again",
      );
    };
    // Nobody waits for it: the next reader who finds it tries again.
    this.queue.run(key, end).catch(() => undefined);
  }

  #tell(code: ConnectDiagnosticCode, what: string): void {
    const nowMs = this.#options.clock.monotonicMs();
    const toldAtMs = this.#toldAtMs.get(code);
    if (toldAtMs !== undefined && nowMs - toldAtMs < TOLD_EVERY_MS) return;
    this.#toldAtMs.set(code, nowMs);
    this.#options.tell(code, `store "${this.#options.name}": ${what}`);
  }
}
