import fc from "fast-check";
import { expect, test } from "vitest";
import { DAMAGE_KINDS, damaged, PLACES } from "../testing/damage.test.support.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { FUZZ_RUNS, FUZZ_TIMEOUT_MS } from "../testing/fuzz-runs.test.support.ts";
import { newSessionId, sessionKeyOf } from "./ids.ts";
import { deriveKeys } from "./keys.ts";
import { type FreshnessToken, signToken, verifyToken } from "./token.ts";
import { newEpoch } from "./version.ts";

const clock = new FakeClock({ seed: 7 });
const keys = deriveKeys(["the newest secret", "the former secret"]).token;
const strangers = deriveKeys("somebody else's secret").token;
const sessions = Array.from({ length: 3 }, () => sessionKeyOf(newSessionId(clock)));

/** Every token this domain signed, by session. */
const issued = new Map<string, FreshnessToken>();
const tokens: string[] = [];
for (let at = 0; at < 60; at++) {
  const token = {
    version: { epoch: newEpoch(clock), counter: at * 7_919 },
    physicalMs: clock.nowMs() + at,
    logical: at % 3,
  };
  const session = sessions[at % sessions.length]!;
  const text = signToken(token, session, [keys[at % 2]!]);
  issued.set(`${session} ${text}`, token);
  tokens.push(text, signToken(token, session, strangers));
}

const someDamage = fc.array(
  fc.record({
    kind: fc.constantFrom(...DAMAGE_KINDS),
    at: fc.nat({ max: PLACES - 1 }),
    byte: fc.integer({ min: 0, max: 255 }),
  }),
  { maxLength: 3 },
);

const anyInput = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...tokens) },
  // Damage to the text, and to the bytes below it: other fields under the same signature.
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom(...tokens), someDamage)
      .map(([token, damage]) => damaged(Buffer.from(token), damage).toString("latin1")),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom(...tokens), someDamage)
      .map(([token, damage]) => damaged(Buffer.from(token, "base64url"), damage).toString("base64url")),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(...tokens), fc.constantFrom(...tokens), fc.nat({ max: 52 }))
      .map(([a, b, at]) => a.slice(0, at) + b.slice(at)),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 60 }) },
  {
    weight: 1,
    arbitrary: fc.string({ unit: fc.constantFrom(..."AZaz09-_=+/"), minLength: 52, maxLength: 52 }),
  },
);

test(
  "a token that verifies was signed by this domain for this session; anything else is null",
  () => {
    let accepted = 0;
    fc.assert(
      fc.property(anyInput, fc.constantFrom(...sessions), (text, session) => {
        const token = verifyToken(text, session, keys);
        const expected = issued.get(`${session} ${text}`);
        if (token) accepted++;
        if (JSON.stringify(token) !== JSON.stringify(expected ?? null))
          throw new Error("not what was issued");
      }),
      { numRuns: FUZZ_RUNS },
    );
    expect(accepted).toBeGreaterThan(FUZZ_RUNS / 100);
    expect(accepted).toBeLessThan(FUZZ_RUNS / 2);
  },
  FUZZ_TIMEOUT_MS,
);
