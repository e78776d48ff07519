/**
 * Generated tests use one seed, so that a red run means a change and not a lucky draw. `SOJOURN_SEED=random npm test` (or a
 * number) draws others; a seed that fails becomes a test of its own.
 */
import fc from "fast-check";

const given = process.env.SOJOURN_SEED;
if (given !== "random") fc.configureGlobal({ seed: Number(given ?? 20_261_120) });
