import fc from "fast-check";
import { expect, test } from "vitest";
import { FUZZ_RUNS, FUZZ_TIMEOUT_MS } from "../../testing/fuzz-runs.test.support.ts";
import {
  agreedProtocol,
  checkDomain,
  decodeHello,
  decodeWelcome,
  encodeHello,
  encodeRefusal,
  encodeWelcome,
  type Hello,
  protocolText,
} from "./hello.ts";

const range = fc
  .tuple(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0, max: 0xffff }))
  .map(([a, b]) => ({ min: Math.min(a, b), max: Math.max(a, b) }));
const ourRange = fc.constant({ min: 1, max: 1 });
const name = fc.string({ unit: "grapheme-ascii", maxLength: 64 });
const hello = (protocols: fc.Arbitrary<{ min: number; max: number }>): fc.Arbitrary<Hello> =>
  fc.record({
    protocols,
    role: fc.constantFrom("client", "member"),
    features: fc.nat(0xffff_ffff),
    domain: name,
    member: name,
    incarnation: fc
      .uint8Array({ minLength: 8, maxLength: 8 })
      .map((bytes) => Buffer.from(bytes).toString("hex")),
    software: name,
  });

/** Valid bytes with a few of them changed, cut or followed by more: what reaches the deep branches. */
function damaged(bytes: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Buffer> {
  return fc
    .tuple(
      bytes,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
      fc.option(fc.nat()),
      fc.uint8Array({ maxLength: 4 }),
    )
    .map(([valid, changes, end, tail]) => {
      const copy = Buffer.from(valid);
      for (const [place, value] of changes) if (copy.length > 0) copy[place % copy.length] = value;
      return Buffer.concat([end === null ? copy : copy.subarray(0, end % (copy.length + 1)), tail]);
    });
}

function onlyInvalidFrame(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    if ((error as { code?: string }).code !== "INVALID_FRAME") throw error;
  }
}

test("a hello arrives as it was sent, also when a newer release adds fields at its end", () => {
  fc.assert(
    fc.property(hello(ourRange), fc.uint8Array({ maxLength: 20 }), (sent, tail) => {
      expect(decodeHello(encodeHello(sent))).toEqual(sent);
      expect(decodeHello(Buffer.concat([encodeHello(sent), tail]))).toEqual(sent);
    }),
  );
});

test("a welcome and a refusal arrive as they were sent", () => {
  fc.assert(
    fc.property(hello(range), fc.nat(0xffff), fc.double({ noNaN: true }), (sent, protocol, authorityMs) => {
      const welcome = { ...sent, protocol, authorityMs };
      expect(decodeWelcome(encodeWelcome(welcome))).toEqual(welcome);
    }),
  );
  const refusal = {
    protocols: { min: 3, max: 4 },
    code: "WRONG_DOMAIN",
    domain: "a",
    message: "no",
  } as const;
  expect(decodeWelcome(encodeRefusal(refusal))).toEqual(refusal);
});

test("of a hello in another protocol only the range is read, whatever follows", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 0xffff }), fc.uint8Array({ maxLength: 40 }), (protocol, rest) => {
      const protocols = { min: protocol, max: protocol };
      const head = encodeHello({
        protocols,
        role: "client",
        features: 0,
        domain: "",
        member: "",
        incarnation: "0".repeat(16),
        software: "",
      }).subarray(0, 9);
      expect(decodeHello(Buffer.concat([head, rest]))).toEqual({ protocols, role: null });
    }),
  );
});

test(
  "no first frame makes the parsers throw anything but INVALID_FRAME",
  () => {
    const welcome = fc
      .tuple(hello(range), fc.nat(0xffff), fc.double())
      .map(([sent, protocol, authorityMs]) => encodeWelcome({ ...sent, protocol, authorityMs }));
    const frame = fc.oneof(
      damaged(hello(fc.oneof(range, ourRange)).map(encodeHello)),
      damaged(welcome),
      fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(frame, (bytes) => {
        onlyInvalidFrame(() => decodeHello(bytes));
        onlyInvalidFrame(() => decodeWelcome(bytes));
      }),
      { numRuns: FUZZ_RUNS },
    );
  },
  FUZZ_TIMEOUT_MS,
);

test("the newest protocol that both speak is agreed on, or none", () => {
  expect(agreedProtocol({ min: 1, max: 3 }, { min: 2, max: 5 })).toBe(3);
  expect(agreedProtocol({ min: 2, max: 5 }, { min: 1, max: 3 })).toBe(3);
  expect(agreedProtocol({ min: 4, max: 5 }, { min: 1, max: 3 })).toBe(null);
  expect(agreedProtocol({ min: 1, max: 1 }, { min: 1, max: 1 })).toBe(1);
  expect([protocolText({ min: 3, max: 3 }), protocolText({ min: 1, max: 2 })]).toEqual(["3", "1..2"]);
});

test("a domain is a short plain name", () => {
  for (const good of ["shop", "A1", "eu-west.shop_2", "x".repeat(63)]) expect(checkDomain(good)).toBe(good);
  for (const bad of ["", "-a", "a b", "a:b", "a\n", "x".repeat(64), "가게"]) {
    expect(() => checkDomain(bad)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  }
});
