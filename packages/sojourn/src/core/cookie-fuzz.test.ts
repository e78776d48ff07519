import fc from "fast-check";
import { expect, test } from "vitest";
import { DAMAGE_KINDS, damaged, PLACES, prototypeKeys } from "../testing/damage.test.support.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { FUZZ_RUNS, FUZZ_TIMEOUT_MS } from "../testing/fuzz-runs.test.support.ts";
import {
  COOKIE_HEADER_CHARS_MAX,
  COOKIE_VALUES_MAX,
  IdVerifier,
  parseCookies,
  signId,
  splitCloneId,
} from "./cookie.ts";
import { newSessionId } from "./ids.ts";
import { deriveKeys } from "./keys.ts";

const clock = new FakeClock({ seed: 11 });
const keys = deriveKeys(["the newest secret", "the former secret"]).cookie;
const strangers = deriveKeys("somebody else's secret").cookie;

/** Every signed value this domain issued, with its id. */
const issued = new Map<string, string>();
const forged: string[] = [];
for (let at = 0; at < 40; at++) {
  const id = newSessionId(clock);
  issued.set(signId(id, keys[at % 2]!), id);
  forged.push(signId(newSessionId(clock), strangers[0]!));
}
const signedValues = [...issued.keys()];

const someDamage = fc.array(
  fc.record({
    kind: fc.constantFrom(...DAMAGE_KINDS),
    at: fc.nat({ max: PLACES - 1 }),
    byte: fc.integer({ min: 0, max: 255 }),
  }),
  { minLength: 1, maxLength: 3 },
);
const damagedValue = fc
  .tuple(fc.constantFrom(...signedValues), someDamage)
  .map(([value, damage]) => damaged(Buffer.from(value), damage).toString("latin1"));
const spliced = fc
  .tuple(fc.constantFrom(...signedValues), fc.constantFrom(...signedValues, ...forged), fc.nat({ max: 87 }))
  .map(([a, b, at]) => a.slice(0, at) + b.slice(at));

const value = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...signedValues) },
  { weight: 2, arbitrary: damagedValue },
  { weight: 1, arbitrary: spliced },
  { weight: 1, arbitrary: fc.constantFrom(...forged, "", '"', '""', "__proto__", "a=b", "sid=x", " ") },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 20 }) },
);
const suffix = fc.constantFrom("", "", "", ":b1", ":b1:b2", ":", "::", ":\u0000");
const pair = fc
  .tuple(
    fc.constantFrom("", " ", "\t", "  "),
    fc.constantFrom(
      "sid",
      "sid",
      "sid",
      "SID",
      "xsid",
      "sidx",
      "sid sid",
      "",
      "__proto__",
      "$Version",
      "sid=sid",
    ),
    fc.constantFrom("=", "=", "=", " = ", "", "=="),
    value,
    suffix,
    fc.constantFrom("plain", "plain", "quoted", "half"),
  )
  .map(([blank, name, equals, text, clone, quoting]) => {
    const quote = quoting === "plain" ? "" : '"';
    return `${blank}${name}${equals}${quote}${text}${clone}${quoting === "quoted" ? '"' : ""}`;
  });
const anyHeader = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(fc.array(pair, { maxLength: 4 }), fc.constantFrom("; ", ";", " ; ", ";;", ","))
      .map(([pairs, separator]) => pairs.join(separator)),
  },
  { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom(...'sid=;" \t:.x'), maxLength: 40 }) },
);

/** The rule in its plainest form: split, trim, compare. */
function parsedPlainly(header: string, name: string): string[] {
  const isCut = header.length > COOKIE_HEADER_CHARS_MAX;
  const parts = header.slice(0, COOKIE_HEADER_CHARS_MAX).split(";");
  if (isCut) parts.pop();
  const values: string[] = [];
  for (const part of parts) {
    const equals = part.indexOf("=");
    if (equals < 0 || part.slice(0, equals).replace(/^[ \t]+|[ \t]+$/g, "") !== name) continue;
    const found = part.slice(equals + 1).replace(/^[ \t]+|[ \t]+$/g, "");
    values.push(/^".*"$/s.test(found) ? found.slice(1, -1) : found);
  }
  return values.slice(0, COOKIE_VALUES_MAX);
}

test(
  "any header is read as by the plainest parser, and only issued ids verify",
  () => {
    const prototypes = prototypeKeys();
    const verifier = new IdVerifier(keys, { cacheEntriesMax: 16 });
    let accepted = 0;
    fc.assert(
      fc.property(anyHeader, (header) => {
        const values = parseCookies(header, "sid");
        if (values.join("\n") !== parsedPlainly(header, "sid").join("\n"))
          throw new Error("read differently");
        for (const each of values) {
          const { signed } = splitCloneId(each);
          const id = verifier.verify(signed)?.id ?? null;
          if (id !== (issued.get(signed) ?? null))
            throw new Error("verified what was not issued, or not what was");
          if (id) accepted++;
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
    expect(prototypeKeys()).toBe(prototypes);
    expect(accepted).toBeGreaterThan(FUZZ_RUNS / 20);
  },
  FUZZ_TIMEOUT_MS,
);
