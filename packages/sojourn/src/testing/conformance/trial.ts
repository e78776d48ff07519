/** One case's surroundings: a fresh store, and the few helpers that keep the cases as short as their names. */
import assert from "node:assert/strict";
import { systemClock } from "../../core/clock.ts";
import { isSessionError } from "../../core/errors.ts";
import {
  newOperationId,
  newSessionId,
  type OperationId,
  type SessionKey,
  sessionKeyOf,
} from "../../core/ids.ts";
import type { NewSession, SessionRecord } from "../../core/record.ts";
import type { Version } from "../../core/version.ts";
import {
  type EnumerableStore,
  isEnumerable,
  isWatchable,
  type SessionStore,
  type WatchableStore,
} from "../../store/store.ts";
import { seededWords } from "../fake-clock.ts";
import type { Capability, ConformanceHarness, OpenedStore, TrialClock } from "./harness.ts";

/** A promise of the contract and how to check it. */
export interface Promised {
  readonly name: string;
  readonly needs?: readonly Capability[];
  /** Default 30_000. */
  readonly timeoutMs?: number;
  check(trial: Trial): Promise<void>;
}

/** Attributes as text, for cases to whom the bytes do not matter. */
export type Texts = Readonly<Record<string, string>>;

export class Trial {
  readonly store: SessionStore;
  /** A second handle on the same data, or the same one again. */
  readonly other: SessionStore;
  readonly clock: TrialClock;
  readonly toleranceMs: number;
  readonly concurrency: number;
  readonly pagingSessions: number;
  readonly hangMs: number;
  readonly #words: () => number;

  constructor(opened: OpenedStore, harness: ConformanceHarness) {
    this.store = opened.store;
    this.other = opened.second ?? opened.store;
    this.clock = opened.clock;
    this.toleranceMs = harness.toleranceMs ?? 0;
    this.concurrency = harness.concurrency ?? 64;
    this.pagingSessions = harness.pagingSessions ?? 50_000;
    this.hangMs = harness.hangMs ?? 10_000;
    this.#words = seededWords(harness.seed ?? 1);
  }

  get enumerable(): EnumerableStore {
    assert.ok(isEnumerable(this.store), 'the store is not enumerable: name it in the harness\'s "lacks"');
    return this.store;
  }

  get watchable(): WatchableStore {
    assert.ok(isWatchable(this.store), 'the store is not watchable: name it in the harness\'s "lacks"');
    return this.store;
  }

  /** 0..below-1, repeatable. */
  random(below: number): number {
    return this.#words() % below;
  }

  /** Never drawn before, also not by an earlier run against the same backend. */
  key(): SessionKey {
    return sessionKeyOf(newSessionId(systemClock));
  }

  operationId(): OperationId {
    return newOperationId(systemClock);
  }

  principal(name: string): string {
    return `${name}-${newSessionId(systemClock).slice(0, 8)}`;
  }

  session(attributes: Texts | NewSession["attributes"] = {}, more: Partial<NewSession> = {}): NewSession {
    return {
      key: this.key(),
      attributes: attributes instanceof Map ? attributes : bytesOf(attributes as Texts),
      expiresAtMs: this.clock.nowMs() + 600_000,
      absoluteExpiresAtMs: this.clock.nowMs() + 3_600_000,
      ...more,
    };
  }

  /** Creates a session. */
  async given(
    attributes: Texts | NewSession["attributes"] = {},
    more: Partial<NewSession> = {},
  ): Promise<{ readonly key: SessionKey; readonly version: Version; readonly session: NewSession }> {
    const session = this.session(attributes, more);
    const result = await this.store.create(session);
    assert.equal(result.status, "created");
    return { key: session.key, version: (result as { version: Version }).version, session };
  }

  /** Reads a session that must be there. */
  async present(key: SessionKey, from: SessionStore = this.other): Promise<SessionRecord> {
    const record = await from.read(key);
    assert.ok(record, "the session is gone, but should be there");
    return record;
  }

  /** Nobody can read, change or prolong it any more. */
  async absent(key: SessionKey): Promise<void> {
    for (const store of new Set([this.store, this.other])) {
      assert.equal(await store.read(key), null, "the session can be read, but should be gone");
    }
  }

  /** Writes that must succeed. */
  async applied(key: SessionKey, set: Texts, from: SessionStore = this.store): Promise<Version> {
    const result = await from.apply(key, { set: bytesOf(set) });
    assert.equal(result.status, "applied");
    return (result as { version: Version }).version;
  }

  /** The same moment, as far as this harness can tell. */
  sameMoment(actualMs: number, expectedMs: number, what: string): void {
    const off = Math.abs(actualMs - expectedMs);
    assert.ok(off <= this.toleranceMs, `${what} is ${actualMs - expectedMs} ms off`);
  }

  /** Moves to `ms` before `momentMs`, as near as the tolerance allows. */
  async justBefore(momentMs: number): Promise<void> {
    await this.clock.advance(Math.max(0, momentMs - 1 - this.toleranceMs - this.clock.nowMs()));
  }

  async reach(momentMs: number): Promise<void> {
    await this.clock.advance(Math.max(0, momentMs + this.toleranceMs - this.clock.nowMs()));
  }

  /** A time span that is short for a store and long against the tolerance. */
  get spanMs(): number {
    return 200 + 4 * this.toleranceMs;
  }

  /** Runs `work` for 0..count-1, at most `concurrency` at once. */
  async parallel<T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> {
    const results = new Array<T>(count);
    let next = 0;
    const worker = async () => {
      for (let index = next++; index < count; index = next++) results[index] = await work(index);
    };
    await Promise.all(Array.from({ length: Math.min(this.concurrency, count) }, worker));
    return results;
  }

  /** Rejects when `promise` is still waiting after `hangMs`. */
  async settles<T>(promise: Promise<T>, what: string): Promise<T> {
    let timer: { cancel(): void } | undefined;
    const hung = new Promise<never>((_, reject) => {
      timer = systemClock.setTimer(
        () => reject(new assert.AssertionError({ message: `${what} did not settle in ${this.hangMs} ms` })),
        this.hangMs,
        "keep-alive",
      );
    });
    try {
      return await Promise.race([promise, hung]);
    } finally {
      timer?.cancel();
    }
  }

  /** Waits until `condition` holds. */
  async until(condition: () => boolean, what: string): Promise<void> {
    const giveUpAtMs = systemClock.monotonicMs() + this.hangMs;
    while (!condition()) {
      assert.ok(systemClock.monotonicMs() < giveUpAtMs, `${what}: not within ${this.hangMs} ms`);
      await this.pause();
    }
  }

  /** Lets everything under way move on a little. */
  pause(): Promise<void> {
    return new Promise((resolve) => {
      systemClock.setTimer(resolve, 1, "keep-alive");
    });
  }
}

export function bytesOf(texts: Texts): Map<string, Uint8Array> {
  return new Map(Object.entries(texts).map(([name, text]) => [name, Buffer.from(text)]));
}

export function textsOf(record: SessionRecord): Texts {
  return Object.fromEntries(
    [...record.attributes].map(([name, { value }]) => [name, Buffer.from(value).toString()]),
  );
}

export function codeOf(error: unknown): string {
  return isSessionError(error) ? error.code : String(error);
}

/** The call must be refused with this code. */
export async function refused(call: Promise<unknown>, code: string): Promise<void> {
  const outcome = await call.then(
    () => "fulfilled",
    (error: unknown) => codeOf(error),
  );
  assert.equal(outcome, code);
}
