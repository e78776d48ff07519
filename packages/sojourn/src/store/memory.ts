/**
 * Sessions in this process's memory: the reference implementation of the contract in store.ts, and the inside of a
 * session server. It is an authority: one epoch for its whole life, its own stamps, one counter per session.
 *
 * Decided here, where the contract leaves room:
 * - Each call happens whole before it returns its promise, in call order; `timeoutMs` therefore never passes. An already
 *   aborted `signal` rejects with its reason and nothing happens.
 * - Full means `maxBytes` of sessions, tombstones, remembered operations and endings together. Then `create` and an
 *   `apply` after which the attributes would be larger throw STORE_FULL. Everything else goes on, and nothing is evicted.
 *   Only ending *unknown* keys stops, when tombstones alone fill a quarter: ending a session that is there frees more
 *   than its tombstone takes. Tombstones are never dropped early; `stats().tombstonesRefused` is the alarm.
 * - A login (create or apply with a principal) that began before an `endAll` of that principal, or at the same moment,
 *   answers "gone". The session under an `apply` ends with it: its owner asked for exactly this login to be ended.
 * - A superseded id dies with the end of its latest successor, with `endAll` of its principal, or when its grace is over,
 *   and leaves a tombstone each time. Superseding it again never prolongs its grace.
 */
import { type Clock, systemClock, type Timer } from "../core/clock.ts";
import { SessionError } from "../core/errors.ts";
import { isSessionKey, type SessionKey } from "../core/ids.ts";
import {
  applyDelta,
  expectationsHold,
  movedDeadline,
  type NewSession,
  recordFrom,
  type SessionDelta,
  type SessionRecord,
} from "../core/record.ts";
import { StampClock } from "../core/stamp.ts";
import { covers, type Epoch, newEpoch, type Version } from "../core/version.ts";
import { finite, invalidOption, positive } from "./check.ts";
import { Endings } from "./endings.ts";
import { Lives, TOMBSTONE_UNKNOWN_MS } from "./lives.ts";
import type { MemoryStoreOptions, MemoryStoreStats } from "./memory-options.ts";
import { OperationLog } from "./operation-log.ts";
import {
  contentBytes,
  type Frozen,
  freeze,
  frozenBytes,
  goneAtMs,
  packed,
  peek,
  RESIDENT_OVERHEAD_BYTES,
  type Resident,
  shown,
  summaryOf,
  thaw,
  toResident,
  view,
} from "./resident.ts";
import {
  type ApplyOptions,
  type ApplyResult,
  type CreateResult,
  type EnumerableStore,
  type ListOptions,
  OPERATION_ID_KEPT_MS,
  RENEWAL_GRACE_MS,
  type ReadOptions,
  type SessionPage,
  type SupersedeOptions,
  type SupersedeResult,
  type Watch,
  type WatchableStore,
  type WatchListener,
  type WriteOptions,
} from "./store.ts";
import { WallTime } from "./wall-time.ts";
import { Watchers } from "./watchers.ts";

export type { MemoryStoreOptions, MemoryStoreStats } from "./memory-options.ts";

export const MEMORY_BYTES_MAX_DEFAULT = 256 * 1024 * 1024;
const SWEEP_INTERVAL_MS_DEFAULT = 1_000;
/** Between two slices of one pass. */
const SWEEP_PAUSE_MS = 10;

type KeptApply =
  | { readonly status: "applied"; readonly version: Version; readonly expiresAtMs: number }
  | { readonly status: "conflict"; readonly current: Frozen }
  | { readonly status: "behind" | "gone" };

export class MemoryStore implements EnumerableStore, WatchableStore {
  readonly name = "memory";
  readonly #clock: Clock;
  readonly #wall: WallTime;
  readonly #stamps: StampClock;
  readonly #epoch: Epoch;
  readonly #bytesMax: number;
  readonly #sweepIntervalMs: number;
  readonly #watchers = new Watchers();
  readonly #lives: Lives;
  readonly #endings = new Endings(TOMBSTONE_UNKNOWN_MS);
  readonly #operations: OperationLog;
  readonly #totals = { created: 0, refused: 0, tombstonesRefused: 0 };
  #sweepTimer: Timer | undefined;
  #closed = false;

  constructor(options: MemoryStoreOptions = {}) {
    const clock = options.clock ?? systemClock;
    this.#clock = clock;
    this.#wall = new WallTime(clock);
    this.#stamps = new StampClock(clock, options.member ?? "memory");
    this.#epoch = newEpoch(clock);
    this.#bytesMax = positive(options.maxBytes ?? MEMORY_BYTES_MAX_DEFAULT, "maxBytes");
    this.#sweepIntervalMs = positive(options.sweepIntervalMs ?? SWEEP_INTERVAL_MS_DEFAULT, "sweepIntervalMs");
    const nowMs = clock.monotonicMs();
    this.#lives = new Lives(this.#watchers, nowMs);
    this.#operations = new OperationLog(OPERATION_ID_KEPT_MS, nowMs, frozenBytes);
    this.#sweepLater(this.#sweepIntervalMs);
  }

  async read(key: SessionKey, options?: ReadOptions): Promise<SessionRecord | null> {
    this.#enter("read a session", options);
    const resident = this.#lives.find(key, this.#clock.monotonicMs());
    // A superseded id found to be over takes others along.
    this.#watchers.tell();
    return resident ? thaw(key, shown(resident), this.#wall) : null;
  }

  readNow(key: SessionKey): SessionRecord | null {
    this.#enter("read a session");
    const nowMs = this.#clock.monotonicMs();
    const resident = this.#lives.find(key, nowMs);
    // A superseded id found to be over takes others along.
    this.#watchers.tell();
    return resident ? view(resident, this.#wall, nowMs) : null;
  }

  async create(session: NewSession, options?: WriteOptions): Promise<CreateResult> {
    const { key } = session;
    const kept = this.#write("create", key, options, (nowMs): CreateResult => {
      finite(session.createdAtMs ?? 0, "createdAtMs");
      finite(session.expiresAtMs, "expiresAtMs");
      finite(session.absoluteExpiresAtMs, "absoluteExpiresAtMs");
      if (this.#lives.isTaken(key, nowMs)) return { status: "taken" };
      if (session.principal && this.#endings.cover(session.principal, nowMs)) return { status: "gone" };
      const version = { epoch: this.#epoch, counter: 1 };
      const commit = { version, stamp: this.#stamps.next(), nowMs: this.#wallNow(nowMs) };
      const birth = this.#clock.randomBytes(8).toString("hex");
      const resident = toResident(recordFrom(session, birth, commit), this.#wall);
      this.#makeRoom("create a session", resident.bytes.length + RESIDENT_OVERHEAD_BYTES, nowMs);
      this.#lives.residents.add(resident);
      this.#totals.created++;
      this.#watchers.changed(key);
      return { status: "created", version };
    });
    return kept.status === "created" ? { status: "created", version: { ...kept.version } } : { ...kept };
  }

  async apply(key: SessionKey, delta: SessionDelta, options?: ApplyOptions): Promise<ApplyResult> {
    const kept = this.#write("apply", key, options, (nowMs) =>
      this.#applyNow(key, delta, options?.atLeast, nowMs),
    );
    if (kept.status === "conflict") {
      return { status: "conflict", current: thaw(key, kept.current, this.#wall) };
    }
    return kept.status === "applied" ? { ...kept, version: { ...kept.version } } : { ...kept };
  }

  #applyNow(key: SessionKey, delta: SessionDelta, atLeast: Version | undefined, nowMs: number): KeptApply {
    finite(delta.expiresAtMs ?? 0, "expiresAtMs");
    const resident = this.#lives.findLive(key, nowMs);
    if (!resident) return { status: "gone" };
    const before = peek(key, resident, this.#wall);
    if (atLeast && !covers(before.lineage, atLeast)) return { status: "behind" };
    if (!expectationsHold(before, delta)) return { status: "conflict", current: freeze(resident) };
    if (delta.principal && this.#endings.cover(delta.principal, nowMs)) {
      this.#lives.end(resident, nowMs);
      return { status: "gone" };
    }
    const version = { epoch: this.#epoch, counter: (before.lineage.get(this.#epoch) ?? 0) + 1 };
    const commit = { version, stamp: this.#stamps.next(before.stamp), nowMs: this.#wallNow(nowMs) };
    const after = applyDelta(before, delta, commit);
    const bytes = packed(after);
    // Judged by what the caller stores: a longer counter in the packed form must not refuse a shrinking write.
    if (contentBytes(after) > contentBytes(before)) {
      this.#makeRoom("change a session", bytes.length - resident.bytes.length, nowMs);
    }
    this.#lives.residents.replace(resident, bytes, after.principal);
    resident.touchedAtMs = this.#wall.toMonotonic(after.touchedAtMs);
    resident.expiresAtMs = this.#wall.toMonotonic(after.expiresAtMs);
    resident.delivered = true;
    this.#watchers.changed(key);
    return { status: "applied", version, expiresAtMs: after.expiresAtMs };
  }

  async touch(key: SessionKey, expiresAtMs: number, options?: WriteOptions): Promise<boolean> {
    return this.#write("touch", key, options, (nowMs) => {
      finite(expiresAtMs, "expiresAtMs");
      const resident = this.#lives.findLive(key, nowMs);
      if (!resident) return false;
      resident.expiresAtMs = movedDeadline(resident, this.#wall.toMonotonic(expiresAtMs));
      resident.touchedAtMs = this.#wall.toMonotonic(this.#wallNow(nowMs));
      resident.delivered = true;
      this.#watchers.changed(key);
      return true;
    });
  }

  async supersede(key: SessionKey, options: SupersedeOptions): Promise<SupersedeResult> {
    const { successor, graceMs = RENEWAL_GRACE_MS } = options;
    const final = this.#write("supersede", key, options, (nowMs) => {
      finite(graceMs, "graceMs");
      if (!isSessionKey(successor) || successor === key) {
        throw invalidOption("supersede", "the successor is not the key of another session");
      }
      const resident = this.#lives.find(key, nowMs);
      return resident ? this.#supersedeNow(resident, successor, graceMs, nowMs) : null;
    });
    return final ? { status: "superseded", final: thaw(key, final, this.#wall) } : { status: "gone" };
  }

  #supersedeNow(resident: Resident, successor: SessionKey, graceMs: number, nowMs: number): Frozen {
    const earlier = resident.alias;
    if (!earlier) {
      const snapshot: SessionRecord = {
        ...peek(resident.key, resident, this.#wall),
        state: "superseded",
      };
      this.#lives.residents.replace(resident, packed(snapshot), resident.principal);
    }
    const final = freeze(resident);
    const untilMs = Math.min(nowMs + graceMs, earlier?.untilMs ?? Number.POSITIVE_INFINITY);
    this.#lives.supersede(resident, { untilMs, successor });
    this.#watchers.changed(resident.key);
    if (earlier && earlier.successor !== successor) this.#endUndelivered(earlier.successor, nowMs);
    // No grace, or none left: it is over now rather than at the next look.
    this.#lives.find(resident.key, nowMs);
    return final;
  }

  /** No browser has come back with this successor, so nobody loses it; if it was not created yet, it never will be. */
  #endUndelivered(successor: SessionKey, nowMs: number): void {
    const resident = this.#lives.find(successor, nowMs);
    if (!resident) this.#lives.bury(successor, nowMs);
    else if (!resident.delivered) this.#lives.end(resident, nowMs);
  }

  async destroy(key: SessionKey, options?: WriteOptions): Promise<boolean> {
    return this.#write("destroy", key, options, (nowMs) => {
      const resident = this.#lives.find(key, nowMs);
      if (resident) {
        this.#lives.end(resident, nowMs);
        return true;
      }
      const { tombstones } = this.#lives;
      if (!tombstones.has(key, nowMs) && tombstones.bytes >= this.#bytesMax / 4) {
        this.#totals.tombstonesRefused++;
        throw this.#full(
          "end an unknown session",
          `${tombstones.size} ended keys fill a quarter of maxBytes`,
        );
      }
      this.#lives.bury(key, nowMs);
      return false;
    });
  }

  async endAll(
    principal: string,
    options?: WriteOptions & { readonly except?: SessionKey },
  ): Promise<number> {
    return this.#write("endAll", principal, options, (nowMs) => {
      // First, so that whatever commits after this line is judged by it.
      this.#endings.add(principal, nowMs);
      let ended = 0;
      for (const each of this.#lives.residents.ofPrincipal(principal)) {
        // Ending one may have ended others of the snapshot, and some are past their deadline.
        const resident = this.#lives.find(each.key, nowMs);
        if (!resident || resident.key === options?.except) continue;
        if (!resident.alias) ended++;
        this.#lives.end(resident, nowMs);
      }
      return ended;
    });
  }

  async list(options: ListOptions = {}): Promise<SessionPage> {
    this.#enter("list sessions", options);
    const { principal, cursor, limit = 100 } = options;
    if (!(Number.isInteger(limit) && limit >= 1 && limit <= 1000)) {
      throw invalidOption("list sessions", `the limit is ${limit}, expected 1..1000`);
    }
    if (cursor !== undefined && !isSessionKey(cursor)) {
      throw invalidOption("list sessions", "the cursor is none that list gave");
    }
    const nowMs = this.#clock.monotonicMs();
    // One more than asked for tells whether there is another page.
    const found = this.#lives.residents.page(cursor, limit + 1, principal, (each) => isListed(each, nowMs));
    const sessions = found.slice(0, limit).map((resident) => summaryOf(resident, this.#wall));
    return found.length > limit ? { sessions, next: sessions.at(-1)!.key } : { sessions };
  }

  async count(options: ReadOptions & { readonly principal?: string } = {}): Promise<number> {
    this.#enter("count sessions", options);
    const nowMs = this.#clock.monotonicMs();
    const { residents } = this.#lives;
    const { principal } = options;
    let count = 0;
    for (const resident of principal === undefined ? residents.all() : residents.ofPrincipal(principal)) {
      if (isListed(resident, nowMs)) count++;
    }
    return count;
  }

  /** Changes are told before the call that made them answers. Expiries are not told: copies know their deadlines. */
  async watch(listener: WatchListener): Promise<Watch> {
    this.#enter("watch sessions");
    return this.#watchers.add(listener);
  }

  stats(): MemoryStoreStats {
    const { residents, tombstones, totals } = this.#lives;
    return {
      sessions: residents.size,
      bytes: this.#bytes(),
      bytesMax: this.#bytesMax,
      sessionBytes: residents.bytes,
      tombstones: tombstones.size,
      tombstoneBytes: tombstones.bytes,
      operations: this.#operations.size,
      operationBytes: this.#operations.bytes,
      watches: this.#watchers.size,
      ...totals,
      ...this.#totals,
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#sweepTimer?.cancel();
    this.#watchers.close();
    this.#lives.clear();
    this.#endings.clear();
    this.#operations.clear();
  }

  #enter(action: string, options?: ReadOptions): void {
    if (this.#closed) throw new SessionError("STORE_CLOSED", `Cannot ${action}: store "memory" was closed`);
    options?.signal?.throwIfAborted();
  }

  /** Every write passes here: its operation id first, then `act`, then whoever watches. */
  #write<Kept>(
    action: string,
    subject: string,
    options: WriteOptions | undefined,
    act: (nowMs: number) => Kept,
  ): Kept {
    this.#enter(action, options);
    const nowMs = this.#clock.monotonicMs();
    if (action !== "endAll" && !isSessionKey(subject)) {
      throw invalidOption(action, "the key is not the hash of a session id");
    }
    try {
      return this.#operations.once(options?.operationId, action, subject, nowMs, () => act(nowMs));
    } finally {
      this.#watchers.tell();
    }
  }

  #wallNow(nowMs: number): number {
    return Math.floor(this.#wall.toWall(nowMs));
  }

  #bytes(): number {
    const { residents, tombstones } = this.#lives;
    return residents.bytes + tombstones.bytes + this.#operations.bytes + this.#endings.bytes;
  }

  #makeRoom(action: string, bytes: number, nowMs: number): void {
    if (this.#bytes() + bytes <= this.#bytesMax) return;
    // Perhaps the space is held by sessions that are over.
    this.#sweepSlice(nowMs);
    if (this.#bytes() + bytes <= this.#bytesMax) return;
    throw this.#full(
      action,
      `${this.#bytes()} of ${this.#bytesMax} bytes are taken, ${bytes} more are needed`,
    );
  }

  #full(action: string, found: string): SessionError {
    this.#totals.refused++;
    return new SessionError("STORE_FULL", `Cannot ${action}: ${found}`);
  }

  #sweepLater(delayMs: number): void {
    this.#sweepTimer = this.#clock.setTimer(() => {
      const passIsDone = this.#sweepSlice(this.#clock.monotonicMs());
      this.#watchers.tell();
      this.#sweepLater(passIsDone ? this.#sweepIntervalMs : SWEEP_PAUSE_MS);
    }, delayMs);
  }

  #sweepSlice(nowMs: number): boolean {
    this.#operations.rotate(nowMs);
    this.#endings.sweep(nowMs);
    return this.#lives.sweepSlice(nowMs);
  }
}

/** A store in this process: nobody shares its sessions, and they end with it. */
export function memoryStore(options?: MemoryStoreOptions): MemoryStore {
  return new MemoryStore(options);
}

function isListed(resident: Resident, nowMs: number): boolean {
  return !resident.alias && nowMs < goneAtMs(resident);
}
