import fc from "fast-check";
import { expect, test } from "vitest";
import { FakeClock } from "../testing/fake-clock.ts";
import { newSessionId, sessionKeyOf } from "./ids.ts";
import { deriveKeys } from "./keys.ts";
import { type FreshnessToken, signToken, verifyToken } from "./token.ts";
import type { Epoch } from "./version.ts";

const clock = new FakeClock();
const session = sessionKeyOf(newSessionId(clock));
const other = sessionKeyOf(newSessionId(clock));
const [newest, former] = deriveKeys(["the newest secret", "the former secret"]).token as [Buffer, Buffer];

const u48 = fc.oneof(fc.constantFrom(0, 1, 2 ** 48 - 1), fc.integer({ min: 0, max: 2 ** 48 - 1 }));
const anyToken: fc.Arbitrary<FreshnessToken> = fc.record({
  version: fc.record({
    epoch: fc.uint8Array({ minLength: 8, maxLength: 8 }).map((b) => Buffer.from(b).toString("hex") as Epoch),
    counter: u48,
  }),
  physicalMs: u48,
  logical: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
});
const example: FreshnessToken = {
  version: { epoch: "0123456789abcdef" as Epoch, counter: 7 },
  physicalMs: 1_700_000_000_000,
  logical: 2,
};

test("what was signed comes back, in 52 characters that a cookie can hold", () => {
  fc.assert(
    fc.property(anyToken, (token) => {
      const text = signToken(token, session, [newest, former]);
      expect(text).toMatch(/^[A-Za-z0-9_-]{52}$/);
      expect(verifyToken(text, session, [newest])).toEqual(token);
      expect(signToken(token, session, [newest])).toBe(text);
    }),
  );
});

test("a token of one session is null for every other session", () => {
  expect(verifyToken(signToken(example, session, [newest]), other, [newest])).toBeNull();
});

test("a former key verifies while it is in the list, and not after", () => {
  const text = signToken(example, session, [former]);
  expect(verifyToken(text, session, [newest, former])).toEqual(example);
  expect(verifyToken(text, session, [former, newest])).toEqual(example);
  expect(verifyToken(text, session, [newest])).toBeNull();
  expect(verifyToken(text, session, [])).toBeNull();
});

test("every single flipped bit makes a token null", () => {
  const bytes = Buffer.from(signToken(example, session, [newest]), "base64url");
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    expect(verifyToken(flipped.toString("base64url"), session, [newest, former])).toBeNull();
  }
});

test("keys whose one-byte ids collide are both tried", () => {
  const byId = new Map<number, Buffer>();
  for (let at = 0; ; at++) {
    const key = deriveKeys(`a secret with number ${at}`).token[0]!;
    const id = Buffer.from(signToken(example, session, [key]), "base64url")[0]!;
    const twin = byId.get(id);
    byId.set(id, key);
    if (!twin) continue;
    const text = signToken(example, session, [key]);
    expect(verifyToken(text, session, [twin, key])).toEqual(example);
    expect(verifyToken(text, session, [twin])).toBeNull();
    return;
  }
});

test.each([
  ["a negative counter", { ...example, version: { ...example.version, counter: -1 } }],
  ["a fraction", { ...example, physicalMs: 0.5 }],
  ["2^48", { ...example, physicalMs: 2 ** 48 }],
  ["NaN", { ...example, logical: Number.NaN }],
  ["2^32", { ...example, logical: 2 ** 32 }],
  ["an epoch that is none", { ...example, version: { epoch: "xyz" as Epoch, counter: 1 } }],
])("%s is never signed", (_name, token) => {
  expect(() => signToken(token, session, [newest])).toThrow(RangeError);
});

test("without a key nothing is signed", () => {
  expect(() => signToken(example, session, [])).toThrow(RangeError);
});
