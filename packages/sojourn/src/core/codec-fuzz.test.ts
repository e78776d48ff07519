import fc from "fast-check";
import { expect, test } from "vitest";
import { DAMAGE_KINDS, damaged, PLACES, prototypeKeys } from "../testing/damage.test.support.ts";
import { FUZZ_RUNS, FUZZ_TIMEOUT_MS } from "../testing/fuzz-runs.test.support.ts";
import { jsonCodec } from "./codec.ts";
import { isSessionError } from "./errors.ts";

const someDamage = fc.array(
  fc.record({
    kind: fc.constantFrom(...DAMAGE_KINDS),
    at: fc.nat({ max: PLACES - 1 }),
    byte: fc.oneof(
      fc.integer({ min: 0, max: 255 }),
      fc.constantFrom(...Buffer.from('"\\$[]{},:0\u0001\u0002')),
    ),
  }),
  { minLength: 1, maxLength: 4 },
);

const CORPUS = [
  { user: { id: 1, name: "Ada \ud83d\ude00" }, roles: ["a", "b"], at: new Date(1e12), none: undefined },
  new Map<unknown, unknown>([
    [new Set([1, "x", -0]), [Number.NaN, 10n ** 30n]],
    [{ $t: 1, $$: { $v: [] } }, new Uint8Array([1, 2, 3, 255])],
  ]),
  [[[[[[Buffer.from("hello"), Infinity, null, true, "\ud800", "\u0000\n\\"]]]]]],
  "plain text",
  12.5,
].map((value) => Buffer.from(jsonCodec.encode(value, "a")));

/** JSON as another program may write it: tags and their parts anywhere, keys twice, escapes in keys. */
const { json: oddJson } = fc.letrec<{ json: string }>((tie) => {
  const key = fc.constantFrom(
    ...[
      '"$t"',
      '"v"',
      '"$$t"',
      '"$"',
      '"\\u0024t"',
      '"__proto__"',
      '"\\u005f_proto__"',
      '"constructor"',
      '"a"',
      '"0"',
    ],
  );
  const tag = fc.constantFrom(
    ...["Date", "Map", "Set", "BigInt", "Bytes", "Buffer", "Number", "undefined", "toString"].map(
      (name) => `"${name}"`,
    ),
  );
  const scalar = fc.constantFrom(
    ...[
      "0",
      "-0",
      "1e999",
      "1.5",
      "null",
      "true",
      '"x"',
      '"12"',
      '"AQI="',
      '"NaN"',
      '"-0"',
      '"\\ud800"',
      "{}",
      "[]",
      "",
    ],
  );
  return {
    json: fc.oneof(
      { maxDepth: 5 },
      scalar,
      tag,
      fc.tuple(tag, tie("json")).map(([name, value]) => `{"$t":${name},"v":${value}}`),
      fc.array(tie("json"), { maxLength: 4 }).map((items) => `[${items.join()}]`),
      fc
        .array(fc.tuple(tie("json"), tie("json")), { maxLength: 3 })
        .map((entries) => `{"$t":"Map","v":[${entries.map((entry) => `[${entry.join()}]`).join()}]}`),
      fc
        .array(fc.tuple(key, tie("json")), { maxLength: 4 })
        .map((members) => `{${members.map((member) => member.join(":")).join()}}`),
    ),
  };
});

const anyInput = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom(...CORPUS), someDamage).map(([b, d]) => damaged(b, d)) },
  { weight: 4, arbitrary: oddJson.map((text) => Buffer.from(`\u0001${text}`)) },
  {
    weight: 1,
    arbitrary: fc.tuple(oddJson, someDamage).map(([t, d]) => damaged(Buffer.from(`\u0001${t}`), d)),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)) },
);

test(
  "any bytes are a value that can be stored again, or STORED_DATA_UNREADABLE, and touch no prototype",
  () => {
    const prototypes = prototypeKeys();
    let readable = 0;
    fc.assert(
      fc.property(anyInput, (bytes) => {
        let value: unknown;
        try {
          value = jsonCodec.decode(bytes);
        } catch (error) {
          if (isSessionError(error) && error.code === "STORED_DATA_UNREADABLE") return;
          throw error;
        }
        readable++;
        // The value is of the supported kind throughout, and from now on its bytes are stable.
        const again = jsonCodec.encode(value, "a");
        if (Buffer.compare(jsonCodec.encode(jsonCodec.decode(again), "a"), again) !== 0) {
          throw new Error("the value changed on its second way through the codec");
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
    expect(prototypeKeys()).toBe(prototypes);
    // Otherwise the generator only makes noise and the test proves nothing.
    expect(readable).toBeGreaterThan(FUZZ_RUNS / 20);
    expect(readable).toBeLessThan(FUZZ_RUNS);
  },
  FUZZ_TIMEOUT_MS,
);
