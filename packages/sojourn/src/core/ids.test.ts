import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { systemClock } from "./clock.ts";
import {
  isSessionId,
  isSessionKey,
  newOperationId,
  newSessionId,
  type SessionId,
  sessionKeyOf,
} from "./ids.ts";

const COUNT = 200_000;

test("200,000 ids: no two alike, every one of 256 bits as often 1 as 0", () => {
  const seen = new Set<string>();
  const ones = new Array<number>(256).fill(0);
  for (let at = 0; at < COUNT; at++) {
    const id = newSessionId(systemClock);
    seen.add(id);
    const bytes = Buffer.from(id, "base64url");
    for (let bit = 0; bit < 256; bit++) ones[bit]! += (bytes[bit >> 3]! >> (bit & 7)) & 1;
  }
  expect(seen.size).toBe(COUNT);
  // Seven standard deviations: a fair generator fails this once in a billion runs, for all bits together.
  const tolerated = (7 * Math.sqrt(COUNT)) / 2;
  for (const count of ones) expect(Math.abs(count - COUNT / 2)).toBeLessThan(tolerated);
});

test("neighbouring ids share no more bits than chance gives", () => {
  let previous = Buffer.from(newSessionId(systemClock), "base64url");
  let equal = 0;
  const pairs = 2_000;
  for (let at = 0; at < pairs; at++) {
    const next = Buffer.from(newSessionId(systemClock), "base64url");
    for (let bit = 0; bit < 256; bit++) {
      if (((previous[bit >> 3]! ^ next[bit >> 3]!) & (1 << (bit & 7))) === 0) equal++;
    }
    previous = next;
  }
  const bits = pairs * 256;
  expect(Math.abs(equal - bits / 2)).toBeLessThan((7 * Math.sqrt(bits)) / 2);
});

test("an id is 43 characters that every cookie can hold", () => {
  for (let at = 0; at < 1_000; at++) {
    const id = newSessionId(systemClock);
    expect(id).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(isSessionId(id)).toBe(true);
  }
});

test("32 bytes have one spelling: whatever else decodes to them is not an id", () => {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const id = newSessionId(systemClock);
  const spellings = [...alphabet].filter((last) =>
    Buffer.from(id.slice(0, 42) + last, "base64url").equals(Buffer.from(id, "base64url")),
  );
  expect(spellings).toHaveLength(4);
  expect(spellings.filter((last) => isSessionId(id.slice(0, 42) + last))).toEqual([id[42]]);
});

test("exactly the texts that 32 bytes are written as are ids", () => {
  const text = fc.oneof(
    fc.uint8Array({ minLength: 31, maxLength: 33 }).map((bytes) => Buffer.from(bytes).toString("base64url")),
    fc.string({ unit: fc.constantFrom(..."AEab09-_=.+/ \n"), minLength: 42, maxLength: 44 }),
    fc.string({ unit: "binary", maxLength: 50 }),
  );
  fc.assert(
    fc.property(text, (each) => {
      const bytes = Buffer.from(each, "base64url");
      const isWritten = bytes.length === 32 && bytes.toString("base64url") === each;
      expect(isSessionId(each)).toBe(isWritten);
      expect(isSessionKey(each)).toBe(isWritten);
    }),
    { numRuns: 2_000 },
  );
});

test("the key is SHA-256 of the id, looks like one, and is another for another id", () => {
  const keys = new Set<string>();
  for (let at = 0; at < 1_000; at++) {
    const id = newSessionId(systemClock);
    const key = sessionKeyOf(id);
    expect(key).toBe(createHash("sha256").update(id).digest("base64url"));
    expect(isSessionKey(key)).toBe(true);
    keys.add(key);
  }
  expect(keys.size).toBe(1_000);
  // For ever: stored sessions are found by it.
  expect(sessionKeyOf("A".repeat(43) as SessionId)).toBe(
    createHash("sha256").update("A".repeat(43)).digest("base64url"),
  );
});

test("operation ids are 24 characters and never the same twice", () => {
  const ids = Array.from({ length: 10_000 }, () => newOperationId(systemClock));
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids.slice(0, 100)) expect(id).toMatch(/^[A-Za-z0-9_-]{24}$/);
});
