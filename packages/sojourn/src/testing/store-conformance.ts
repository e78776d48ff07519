/**
 * The store contract as tests. A driver is done when it passes: memory, session servers, Redis, and any store somebody
 * else writes. How to run it: docs/drivers.md.
 *
 * The suite is data. It imports no test runner, needs nothing but `node:assert`, and every case opens a store of its own.
 */
import { basics } from "./conformance/basics.ts";
import { deadlines } from "./conformance/deadlines.ts";
import { endAll } from "./conformance/end-all.ts";
import { ending } from "./conformance/ending.ts";
import { fullness } from "./conformance/fullness.ts";
import type { Capability, ConformanceCase, ConformanceHarness } from "./conformance/harness.ts";
import { listing } from "./conformance/listing.ts";
import { merging } from "./conformance/merging.ts";
import { operations } from "./conformance/operations.ts";
import { renewal } from "./conformance/renewal.ts";
import { type Promised, Trial } from "./conformance/trial.ts";
import { values } from "./conformance/values.ts";
import { watching } from "./conformance/watching.ts";

export type {
  Capability,
  ConformanceCase,
  ConformanceHarness,
  OpenedStore,
  TrialClock,
} from "./conformance/harness.ts";

const TIMEOUT_MS_DEFAULT = 30_000;

const PROMISES: readonly Promised[] = [
  ...basics,
  ...merging,
  ...operations,
  ...deadlines,
  ...ending,
  ...renewal,
  ...values,
  ...listing,
  ...endAll,
  ...watching,
  ...fullness,
];

const MISSING: Readonly<Record<Capability, string>> = {
  enumerable: "the store is not enumerable",
  watchable: "the store is not watchable",
  small: "the harness opens no store that is soon full",
  "wall-step": "the harness cannot step the wall clock",
};

/**
 * Every case of the contract for one store.
 *
 * @throws {RangeError} when `harness.skip` names a case that does not exist
 */
export function storeConformance(harness: ConformanceHarness): ConformanceCase[] {
  for (const { case: name } of harness.skip ?? []) {
    if (!PROMISES.some((promised) => promised.name === name)) {
      throw new RangeError(`Cannot skip "${name}" for ${harness.name}: there is no such case`);
    }
  }
  return PROMISES.map((promised) => {
    const skipped = whySkipped(promised, harness);
    return {
      name: promised.name,
      timeoutMs: promised.timeoutMs ?? TIMEOUT_MS_DEFAULT,
      ...(skipped === undefined ? {} : { skipped }),
      run: () => run(promised, harness),
    };
  });
}

/** What `registerConformance` needs of a test runner; vitest's and node:test's `test` and `describe` fit. */
export interface Runner {
  readonly test: {
    (name: string, run: () => Promise<void>, timeoutMs?: number): unknown;
    skip(name: string, run: () => Promise<void>): unknown;
  };
  readonly describe?: (name: string, register: () => void) => unknown;
}

/** Registers every case as a test; what is skipped shows with its reason. */
export function registerConformance(runner: Runner, harness: ConformanceHarness): void {
  const register = () => {
    for (const { name, skipped, timeoutMs, run } of storeConformance(harness)) {
      if (skipped === undefined) runner.test(name, run, timeoutMs);
      else runner.test.skip(`${name} (skipped: ${skipped})`, run);
    }
  };
  if (runner.describe) runner.describe(`store conformance: ${harness.name}`, register);
  else register();
}

function whySkipped(promised: Promised, harness: ConformanceHarness): string | undefined {
  const named = harness.skip?.find((skip) => skip.case === promised.name);
  if (named) return named.reason;
  const lacking = promised.needs?.find((need) => harness.lacks?.includes(need));
  return lacking && MISSING[lacking];
}

async function run(promised: Promised, harness: ConformanceHarness): Promise<void> {
  const open = promised.needs?.includes("small") ? harness.openSmall : harness.open;
  if (!open) throw new Error('the harness has no openSmall: name "small" in its "lacks"');
  const opened = await open.call(harness);
  try {
    await promised.check(new Trial(opened, harness));
  } finally {
    await opened.close();
  }
}
