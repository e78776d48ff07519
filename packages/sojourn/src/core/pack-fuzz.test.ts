import fc from "fast-check";
import { expect, test } from "vitest";
import { DAMAGE_KINDS, damaged, PLACES, prototypeKeys } from "../testing/damage.test.support.ts";
import { FUZZ_RUNS, FUZZ_TIMEOUT_MS } from "../testing/fuzz-runs.test.support.ts";
import { isSessionError } from "./errors.ts";
import type { SessionKey } from "./ids.ts";
import { packRecord, unpackRecord } from "./pack.ts";
import type { Attribute, SessionRecord } from "./record.ts";
import type { Epoch } from "./version.ts";

const key = "A".repeat(43) as SessionKey;
const times = { createdAtMs: 1, touchedAtMs: 2, expiresAtMs: 3, absoluteExpiresAtMs: 4 };
const EPOCHS = ["0123456789abcdef", "ffffffffffffffff", "0000000000000001"] as Epoch[];

/** A record of `count` attributes, written by as many commits of three epochs. */
function record(count: number, overrides: Partial<SessionRecord> = {}): SessionRecord {
  const attributes = new Map<string, Attribute>();
  const commit = (at: number) => ({
    version: { epoch: EPOCHS[at % 3]!, counter: 1 + at },
    stamp: { physicalMs: 2e12 + at * 977, logical: at % 4, member: `shop-${at % 2}` },
  });
  for (let at = 0; at < count; at++) {
    attributes.set(`${["name", "\ud800", "naïve", "__proto__"][at % 4]}${at}`, {
      value: Buffer.alloc(at * 3, at),
      ...commit(at),
    });
  }
  return {
    key,
    birth: "00ff00ff00ff00ff",
    ...times,
    principal: "ada",
    state: "live",
    ...commit(count),
    lineage: new Map(EPOCHS.map((epoch, at) => [epoch, count + at])),
    attributes,
    ...overrides,
  };
}

const CORPUS = [
  record(0, { principal: null }),
  record(1),
  record(8),
  record(5, { state: "superseded", principal: "\udfff" }),
  record(3, { unknownFields: Buffer.from([9, 3, 1, 2, 3, 200, 0, 9, 1, 7]) }),
  record(30),
].map(packRecord);

const someDamage = fc.array(
  fc.record({
    kind: fc.constantFrom(...DAMAGE_KINDS),
    at: fc.nat({ max: PLACES - 1 }),
    byte: fc.oneof(
      fc.integer({ min: 0, max: 255 }),
      fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x7f, 0x80, 0xff),
    ),
  }),
  { minLength: 1, maxLength: 4 },
);
const field = fc
  .tuple(
    fc.integer({ min: 0, max: 12 }),
    fc.uint8Array({ maxLength: 20 }),
    fc.constantFrom(0, 0, 0, 1, -1, 100),
  )
  .map(([tag, content, wrong]) => Buffer.from([tag, Math.max(0, content.length + wrong), ...content]));

/** Keeps every length in place, so that the damage is to one number or name. */
const changedByte = fc
  .tuple(fc.constantFrom(...CORPUS), fc.nat({ max: PLACES - 1 }), fc.integer({ min: 0, max: 255 }))
  .map(([bytes, at, byte]) => damaged(bytes, [{ kind: "set", at, byte }]));

const anyInput = fc.oneof(
  { weight: 4, arbitrary: changedByte },
  { weight: 6, arbitrary: fc.tuple(fc.constantFrom(...CORPUS), someDamage).map(([b, d]) => damaged(b, d)) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(...CORPUS), fc.array(field, { minLength: 1, maxLength: 3 }))
      .map(([bytes, fields]) => Buffer.concat([bytes, ...fields])),
  },
  {
    weight: 1,
    arbitrary: fc.array(field, { maxLength: 10 }).map((fields) => Buffer.concat([Buffer.of(1), ...fields])),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)) },
);

test(
  "any bytes are a record that can be packed again, or STORED_DATA_UNREADABLE, and no view leaves them",
  () => {
    const prototypes = prototypeKeys();
    let readable = 0;
    fc.assert(
      fc.property(anyInput, (bytes) => {
        let unpacked: SessionRecord;
        try {
          unpacked = unpackRecord(key, times, bytes);
        } catch (error) {
          if (isSessionError(error) && error.code === "STORED_DATA_UNREADABLE") return;
          throw error;
        }
        readable++;
        for (const { value } of unpacked.attributes.values()) {
          const begin = value.byteOffset - bytes.byteOffset;
          const isInside = begin >= 0 && begin + value.byteLength <= bytes.length;
          if (value.buffer !== bytes.buffer || !isInside) throw new Error("a value lies outside the bytes");
        }
        const packed = packRecord(unpacked);
        if (!packRecord(unpackRecord(key, times, packed)).equals(packed))
          throw new Error("packing is not stable");
      }),
      { numRuns: FUZZ_RUNS },
    );
    expect(prototypeKeys()).toBe(prototypes);
    expect(readable).toBeGreaterThan(FUZZ_RUNS / 20);
    expect(readable).toBeLessThan(FUZZ_RUNS);
  },
  FUZZ_TIMEOUT_MS,
);
