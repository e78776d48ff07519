/**
 * What a driver author gives to the suite, and what a case of the suite is. No test runner is imported here: cases are
 * data, and `registerConformance` takes the runner's functions.
 */
import type { SessionStore } from "../../store/store.ts";

/** What not every store or every test set-up can do. A harness that lacks one says so, and its cases show as skipped. */
export type Capability =
  /** The store is an EnumerableStore. */
  | "enumerable"
  /** The store is a WatchableStore. */
  | "watchable"
  /** The harness can open a store that is soon full. */
  | "small"
  /** The harness can step the wall clock of the authority without time passing. */
  | "wall-step";

export interface TrialClock {
  /** Wall time as the store's caller sees it, ms since 1970. */
  nowMs(): number;
  /** Lets at least `ms` pass for the store; a real-time harness waits. */
  advance(ms: number): Promise<void>;
  /** For "wall-step": sets the wall clock of everything that nowMs() is read from. */
  stepWall?(ms: number): void;
}

export interface OpenedStore {
  readonly store: SessionStore;
  /** Another handle on the same data: a second client or process. Parallel cases use both. */
  readonly second?: SessionStore;
  readonly clock: TrialClock;
  /** Ends everything `open` began, also when the store was closed already. */
  close(): Promise<void>;
}

export interface ConformanceHarness {
  /** For messages: "memory", "redis 7.2, one node". */
  readonly name: string;
  /** An empty store, at defaults. */
  open(): Promise<OpenedStore>;
  /** For "small": an empty store that takes between 20 and 2,000 sessions of 2 KB before it is full. */
  openSmall?(): Promise<OpenedStore>;
  readonly lacks?: readonly Capability[];
  /** Cases that this store is known to fail. A name that is no case throws: nothing is skipped by a typing mistake. */
  readonly skip?: readonly { readonly case: string; readonly reason: string }[];
  /**
   * How much a deadline may be off as seen by a caller, in ms: transport and scheduling. Default 0: every deadline is
   * then checked to the millisecond, which needs a clock moved by hand.
   */
  readonly toleranceMs?: number;
  /** Calls under way at once. Default 64. */
  readonly concurrency?: number;
  /** Sessions that the paging case creates. Default 50_000. */
  readonly pagingSessions?: number;
  /** A call that has not settled after this much real time hangs. Default 10_000. */
  readonly hangMs?: number;
  /** Chooses interleavings. Default 1. */
  readonly seed?: number;
}

export interface ConformanceCase {
  readonly name: string;
  /** What the runner should allow, in real ms. */
  readonly timeoutMs: number;
  /** Why it does not run with this harness. */
  readonly skipped?: string;
  /** Opens a store of its own, checks one promise, closes it. Rejects with an AssertionError when the promise is broken. */
  run(): Promise<void>;
}
