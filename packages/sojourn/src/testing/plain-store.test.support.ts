/**
 * The contract in its plainest form: one Map of records, no packing, no index, no bounds on time. Slow and obviously
 * right, so it is the oracle that faster stores are compared with; and with one `mistake` it is a wrong store, by which
 * the conformance suite is itself tested (wrong-stores.test.ts).
 */
import type { Clock } from "../core/clock.ts";
import { SessionError } from "../core/errors.ts";
import type { SessionKey } from "../core/ids.ts";
import {
  type Attribute,
  applyDelta,
  attributeBytes,
  expectationsHold,
  movedDeadline,
  type NewSession,
  type PrincipalChange,
  recordFrom,
  type SessionDelta,
  type SessionRecord,
} from "../core/record.ts";
import { StampClock } from "../core/stamp.ts";
import { covers, newEpoch } from "../core/version.ts";
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
  type SessionSummary,
  type SupersedeOptions,
  type SupersedeResult,
  type Watch,
  type WatchableStore,
  type WatchListener,
  type WriteOptions,
} from "../store/store.ts";
import type { Mistake } from "./mistakes.test.support.ts";

/** `record` holds monotonic times. */
interface Kept {
  record: SessionRecord;
  delivered: boolean;
  alias?: { readonly untilMs: number; readonly successor: SessionKey };
}

export interface PlainStoreOptions {
  readonly clock: Clock;
  readonly maxBytes?: number;
  readonly mistake?: Mistake;
}

export class PlainStore implements EnumerableStore, WatchableStore {
  readonly name = "plain";
  readonly #clock: Clock;
  readonly #bytesMax: number;
  readonly #mistake: Mistake | undefined;
  readonly #stamps: StampClock;
  readonly #epoch;
  readonly #sessions = new Map<SessionKey, Kept>();
  readonly #tombstones = new Map<SessionKey, number>();
  readonly #answers = new Map<string, { readonly answer: unknown; readonly atMs: number }>();
  readonly #endedAtMs = new Map<string, number>();
  readonly #listeners = new Set<WatchListener>();
  #closed = false;

  constructor(options: PlainStoreOptions) {
    this.#clock = options.clock;
    this.#bytesMax = options.maxBytes ?? Number.POSITIVE_INFINITY;
    this.#mistake = options.mistake;
    this.#stamps = new StampClock(options.clock, "plain");
    this.#epoch = newEpoch(options.clock);
  }

  async read(key: SessionKey, options?: ReadOptions): Promise<SessionRecord | null> {
    this.#enter(options);
    const kept = this.#find(key);
    if (!kept) return null;
    const shown = kept.alias && this.#wrong("superseded shows its successor");
    const record = (shown && this.#find(kept.alias!.successor)?.record) || kept.record;
    return this.#out(kept.alias ? { ...record, expiresAtMs: this.#goneAtMs(kept) } : record);
  }

  async create(session: NewSession, options?: WriteOptions): Promise<CreateResult> {
    return this.#once("create", options, (): CreateResult => {
      const taken = this.#find(session.key) || this.#isEnded(session.key);
      if (taken && !this.#wrong("create overwrites")) return { status: "taken" };
      if (this.#endedSince(session.principal)) return { status: "gone" };
      const version = { epoch: this.#epoch, counter: 1 };
      const commit = { version, stamp: this.#stamps.next(), nowMs: this.#clock.nowMs() };
      const birth = this.#clock.randomBytes(8).toString("hex");
      const absoluteExpiresAtMs = this.#wrong("absolute deadline ignored")
        ? Number.POSITIVE_INFINITY
        : session.absoluteExpiresAtMs;
      const record = this.#in(recordFrom({ ...session, absoluteExpiresAtMs }, birth, commit));
      if (this.#bytes() + bytesOf(record) > this.#bytesMax) this.#full();
      this.#sessions.set(session.key, { record, delivered: false });
      this.#tell(session.key);
      return { status: "created", version };
    });
  }

  async apply(key: SessionKey, delta: SessionDelta, options?: ApplyOptions): Promise<ApplyResult> {
    const held = this.#find(key);
    if (this.#wrong("expectations before operation ids") && held && !expectationsHold(held.record, delta)) {
      return { status: "conflict", current: this.#out(held.record) };
    }
    if (this.#wrong("apply in two steps") && (delta.set?.size ?? 0) > 1) {
      const steps = [...delta.set!].map(([name, value]) => ({ ...delta, set: new Map([[name, value]]) }));
      for (const step of steps.slice(0, -1)) {
        this.#applyNow(key, step, {});
        for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      }
      return this.#applyNow(key, steps.at(-1)!, {});
    }
    if (this.#wrong("apply writes back the whole record") && held && !held.alias) {
      const before = held.record;
      await Promise.resolve();
      held.record = before;
    }
    return this.#once("apply", options, () => this.#applyNow(key, delta, options ?? {}));
  }

  #applyNow(key: SessionKey, delta: SessionDelta, { atLeast }: ApplyOptions): ApplyResult {
    const kept = this.#find(key);
    if (!kept || (kept.alias && !this.#wrong("superseded ids still write"))) return { status: "gone" };
    const { record: before } = kept;
    if (atLeast && !covers(before.lineage, atLeast) && !this.#wrong("atLeast ignored")) {
      return { status: "behind" };
    }
    if (!expectationsHold(before, delta) && !this.#wrong("expectations ignored")) {
      const current = this.#wrong("conflict without the current state") ? undefined : this.#out(before);
      return { status: "conflict", current: current as SessionRecord };
    }
    if (this.#endedSince(delta.principal)) {
      if (!this.#wrong("a refused login's session lives on")) this.#end(key);
      return { status: "gone" };
    }
    const version = { epoch: this.#epoch, counter: (before.lineage.get(this.#epoch) ?? 0) + 1 };
    const commit = { version, stamp: this.#stamps.next(before.stamp), nowMs: this.#clock.nowMs() };
    let after = this.#in(applyDelta(this.#shifted(before, 1), delta, commit));
    if (this.#wrong("apply moves the deadline back") && delta.expiresAtMs !== undefined) {
      after = { ...after, expiresAtMs: delta.expiresAtMs - this.#offsetMs() };
    }
    const grows = attributeBytes(after.attributes) > attributeBytes(before.attributes);
    const refuses = this.#wrong("a full store refuses shrinking");
    const moreBytes = refuses ? bytesOf(after) : bytesOf(after) - bytesOf(before);
    if ((grows || refuses) && this.#bytes() + moreBytes > this.#bytesMax) this.#full();
    kept.record = after;
    kept.delivered = true;
    this.#tell(key);
    const { expiresAtMs } = this.#shifted(after, 1);
    return {
      status: "applied",
      version: this.#wrong("answers the version before") ? before.version : version,
      expiresAtMs,
    };
  }

  async touch(key: SessionKey, expiresAtMs: number, options?: WriteOptions): Promise<boolean> {
    return this.#once("touch", options, () => {
      const kept = this.#wrong("touch revives") ? this.#sessions.get(key) : this.#find(key);
      if (!kept || kept.alias) return false;
      const atMs = expiresAtMs - this.#offsetMs();
      const movedMs = this.#wrong("touch moves back") ? atMs : movedDeadline(kept.record, atMs);
      kept.record = { ...kept.record, expiresAtMs: movedMs, touchedAtMs: this.#clock.monotonicMs() };
      if (this.#wrong("touch makes a version")) {
        const version = { ...kept.record.version, counter: kept.record.version.counter + 1 };
        kept.record = { ...kept.record, version };
      }
      kept.delivered = true;
      this.#tell(key);
      return true;
    });
  }

  async supersede(key: SessionKey, options: SupersedeOptions): Promise<SupersedeResult> {
    return this.#once("supersede", options, (): SupersedeResult => {
      const kept = this.#find(key);
      if (!kept) return { status: "gone" };
      const earlier = kept.alias;
      const untilMs = this.#clock.monotonicMs() + (options.graceMs ?? RENEWAL_GRACE_MS);
      const keptMs = this.#wrong("superseding again prolongs the grace")
        ? untilMs
        : (earlier?.untilMs ?? untilMs);
      kept.alias = { untilMs: Math.min(untilMs, keptMs), successor: options.successor };
      kept.record = { ...kept.record, state: "superseded" };
      const final = this.#out(kept.record);
      this.#tell(key);
      if (earlier && earlier.successor !== options.successor) {
        const delivered = this.#find(earlier.successor)?.delivered;
        const ends = this.#wrong("undelivered successors live on") ? false : !delivered;
        if (ends || this.#wrong("delivered successors end")) this.#end(earlier.successor);
      }
      this.#find(key);
      return { status: "superseded", final };
    });
  }

  async destroy(key: SessionKey, options?: WriteOptions): Promise<boolean> {
    return this.#once("destroy", options, () => {
      const known = this.#find(key) !== undefined;
      if (known || !this.#wrong("the end of an unknown key is forgotten")) this.#end(key);
      return known;
    });
  }

  async endAll(
    principal: string,
    options?: WriteOptions & { readonly except?: SessionKey },
  ): Promise<number> {
    return this.#once("endAll", options, () => {
      this.#endedAtMs.set(principal, this.#clock.monotonicMs());
      let ended = 0;
      for (const key of [...this.#sessions.keys()]) {
        const kept = this.#find(key);
        const excepted = key === options?.except && !this.#wrong("endAll spares nobody");
        if (kept?.record.principal !== principal || excepted) continue;
        if (kept.alias && this.#wrong("endAll forgets superseded ids")) continue;
        if (!kept.alias) ended++;
        this.#end(key);
      }
      return ended;
    });
  }

  async list(options: ListOptions = {}): Promise<SessionPage> {
    this.#enter(options);
    const { principal, cursor, limit = 100 } = options;
    if (!(Number.isInteger(limit) && limit >= 1 && limit <= 1000)) {
      throw new SessionError("INVALID_OPTION", `Cannot list ${limit} sessions`);
    }
    const listed = [...this.#sessions.keys()].filter((key) => this.#isListed(key, principal)).sort();
    const again = this.#wrong("pages repeat their last session");
    const byOffset = this.#wrong("pages by offset");
    const rest = byOffset
      ? listed.slice(Number(cursor ?? 0))
      : listed.filter((key) => cursor === undefined || key > cursor || (again && key === cursor));
    const keys = rest.slice(0, limit);
    const sessions = keys.map((key) => summaryOf(this.#shifted(this.#sessions.get(key)!.record, 1)));
    if (rest.length <= limit) return { sessions };
    return { sessions, next: byOffset ? String(Number(cursor ?? 0) + limit) : keys.at(-1)! };
  }

  async count(options: ReadOptions & { readonly principal?: string } = {}): Promise<number> {
    this.#enter(options);
    return [...this.#sessions.keys()].filter((key) => this.#isListed(key, options.principal)).length;
  }

  async watch(listener: WatchListener): Promise<Watch> {
    this.#enter();
    this.#listeners.add(listener);
    const close = () => void this.#listeners.delete(listener);
    return { leaseUntilMs: () => Number.POSITIVE_INFINITY, close };
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #wrong(mistake: Mistake): boolean {
    return this.#mistake === mistake;
  }

  #enter(options?: ReadOptions): void {
    if (this.#closed) throw new SessionError("STORE_CLOSED", 'Cannot call: store "plain" was closed');
    if (!this.#wrong("aborted signals ignored")) options?.signal?.throwIfAborted();
  }

  #once<Answer>(kind: string, options: WriteOptions | undefined, act: () => Answer): Answer {
    this.#enter(options);
    const id = options?.operationId;
    const forgets =
      this.#wrong("operation ids ignored") || (this.#wrong("only apply is remembered") && kind !== "apply");
    if (id === undefined || forgets) return act();
    const nowMs = this.#clock.monotonicMs();
    const known = this.#answers.get(id);
    if (known && nowMs - known.atMs <= OPERATION_ID_KEPT_MS) return structuredClone(known.answer) as Answer;
    const answer = act();
    const isAnswer = typeof answer === "object" && answer !== null && "status" in answer;
    const kept = !(this.#wrong("conflicts are not remembered") && isAnswer && answer.status === "conflict");
    if (kept) this.#answers.set(id, { answer: structuredClone(answer), atMs: nowMs });
    const few = this.#wrong("only the last 100 operation ids are kept") && this.#answers.size > 1;
    if (few && kind === "touch")
      for (const old of this.#answers.keys()) if (old !== id) this.#answers.delete(old);
    return answer;
  }

  #find(key: SessionKey): Kept | undefined {
    const kept = this.#sessions.get(key);
    if (!kept) return undefined;
    const nowMs = this.#clock.monotonicMs();
    const overdue = this.#wrong("gone one millisecond late")
      ? nowMs > this.#goneAtMs(kept)
      : nowMs >= this.#goneAtMs(kept);
    if (!overdue) return kept;
    if (kept.alias) {
      this.#sessions.delete(key);
      if (!this.#wrong("destroy is not final")) this.#tombstones.set(key, Number.POSITIVE_INFINITY);
    } else if (!this.#wrong("touch revives")) this.#sessions.delete(key);
    return undefined;
  }

  #goneAtMs({ record, alias }: Kept): number {
    return Math.min(record.expiresAtMs, alias?.untilMs ?? Number.POSITIVE_INFINITY);
  }

  #end(key: SessionKey): void {
    const kept = this.#sessions.get(key);
    this.#sessions.delete(key);
    const untilMs =
      kept && this.#wrong("an end lives as long as the session") ? this.#goneAtMs(kept) : Infinity;
    if (!this.#wrong("destroy is not final")) this.#tombstones.set(key, untilMs);
    if (!this.#wrong("watch forgets ends")) this.#tell(key);
    if (this.#wrong("superseded ids outlive their successor")) return;
    for (const [other, { alias }] of [...this.#sessions]) if (alias?.successor === key) this.#end(other);
  }

  #isEnded(key: SessionKey): boolean {
    return (this.#tombstones.get(key) ?? 0) > this.#clock.monotonicMs();
  }

  #endedSince(login: PrincipalChange | undefined): boolean {
    if (!login || login.principal === null || this.#wrong("endAll misses logins under way")) return false;
    const endedAtMs = this.#endedAtMs.get(login.principal);
    return endedAtMs !== undefined && this.#clock.monotonicMs() - login.ageMs <= endedAtMs;
  }

  #isListed(key: SessionKey, principal: string | undefined): boolean {
    const kept = this.#find(key);
    if (!kept || (kept.alias && !this.#wrong("superseded ids are listed"))) return false;
    return principal === undefined || kept.record.principal === principal;
  }

  #tell(key: SessionKey): void {
    for (const listener of this.#listeners) listener.invalidated([key]);
  }

  #full(): void {
    if (!this.#wrong("evicts when full")) throw new SessionError("STORE_FULL", "Cannot store: full");
    const [oldest] = this.#sessions.keys();
    if (oldest) this.#sessions.delete(oldest);
  }

  #bytes(): number {
    let bytes = 0;
    for (const { record } of this.#sessions.values()) bytes += bytesOf(record);
    return bytes;
  }

  #offsetMs(): number {
    if (this.#wrong("deadlines on the wall clock")) return 2_000_000_000_000 - 5_000;
    return this.#clock.nowMs() - this.#clock.monotonicMs();
  }

  /** Arriving: own bytes, monotonic times. */
  #in(record: SessionRecord): SessionRecord {
    const own = this.#wrong("callers' buffers are kept") ? record : copied(record);
    return this.#shifted(own, -1);
  }

  /** Leaving: the caller's bytes, wall times. */
  #out(record: SessionRecord): SessionRecord {
    return this.#shifted(this.#wrong("its own buffers are handed out") ? record : copied(record), 1);
  }

  #shifted(record: SessionRecord, direction: 1 | -1): SessionRecord {
    const byMs = direction * this.#offsetMs();
    return {
      ...record,
      createdAtMs: record.createdAtMs + byMs,
      touchedAtMs: record.touchedAtMs + byMs,
      expiresAtMs: record.expiresAtMs + byMs,
      absoluteExpiresAtMs: record.absoluteExpiresAtMs + byMs,
    };
  }
}

function bytesOf(record: SessionRecord): number {
  return 500 + attributeBytes(record.attributes);
}

function summaryOf({ attributes, ...record }: SessionRecord): SessionSummary {
  const { key, principal, createdAtMs, touchedAtMs, expiresAtMs, absoluteExpiresAtMs } = record;
  const size = { attributeCount: attributes.size, attributeBytes: attributeBytes(attributes) };
  return { key, principal, createdAtMs, touchedAtMs, expiresAtMs, absoluteExpiresAtMs, ...size };
}

function copied(record: SessionRecord): SessionRecord {
  const attributes = new Map<string, Attribute>();
  for (const [name, attribute] of record.attributes) {
    attributes.set(name, { ...attribute, value: Uint8Array.from(attribute.value) });
  }
  return { ...record, version: { ...record.version }, lineage: new Map(record.lineage), attributes };
}
