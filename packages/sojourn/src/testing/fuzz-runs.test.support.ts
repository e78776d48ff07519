/** How many cases each fuzzed parser gets: CI finds the rare ones, a developer waits for seconds. */
export const FUZZ_RUNS = process.env.CI ? 100_000 : 10_000;

/** What the runner allows one fuzzed test. */
export const FUZZ_TIMEOUT_MS = 300_000;
