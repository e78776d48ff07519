import fc from "fast-check";
import { expect, test } from "vitest";
import { jsonCodec } from "../../core/codec.ts";
import { isSessionError } from "../../core/errors.ts";
import type { Attribute, SessionRecord } from "../../core/record.ts";
import type { Epoch } from "../../core/version.ts";
import { FUZZ_RUNS, FUZZ_TIMEOUT_MS } from "../../testing/fuzz-runs.test.support.ts";
import { fromBlob, type Stored, toBlob } from "./blob.ts";
import { FIELD } from "./blob-values.ts";
import { connectKey } from "./listing-connect-store.ts";

const KEY = connectKey("A".repeat(43));
const NOW_MS = 1_700_000_000_000;
const OPTIONS = { browserSessionMs: 60_000, absoluteTimeoutMs: 600_000 };
/** A run packs, hashes and parses a whole session. */
const RUNS = Math.ceil(FUZZ_RUNS / 20);

const someValue = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }),
  fc.date(),
  fc.bigInt(),
  fc.uint8Array({ maxLength: 20 }),
  fc.constantFrom(undefined, Number.NaN, -0, new Map([["a", new Date(5)]]), new Set([{ $t: 1 }])),
);
const someName = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("cookie", FIELD, "__proto__", "toJSON", "save", "id", "__lastAccess", "$t", "0", "\ud800"),
);
const someBytes = fc.oneof(
  someValue.map((value) => jsonCodec.encode(value, "a")),
  fc.uint8Array({ maxLength: 20 }),
);
const someStored = fc
  .record({
    attributes: fc.array(fc.tuple(someName, someBytes, fc.nat({ max: 2 })), { maxLength: 6 }),
    principal: fc.option(fc.string()),
    isDelivered: fc.boolean(),
    isSuperseded: fc.boolean(),
  })
  .map(({ attributes, principal, isDelivered, isSuperseded }): Stored => {
    const commits = [1, 2, 3].map((counter) => ({
      version: { epoch: "0123456789abcdef" as Epoch, counter },
      stamp: { physicalMs: NOW_MS + counter, logical: 0, member: "connect" },
    }));
    const record: SessionRecord = {
      key: KEY,
      birth: "00ff00ff00ff00ff",
      createdAtMs: NOW_MS - 5,
      touchedAtMs: NOW_MS - 1,
      expiresAtMs: NOW_MS + 1_000,
      absoluteExpiresAtMs: NOW_MS + 9_000,
      principal,
      state: isSuperseded ? "superseded" : "live",
      ...commits[2]!,
      lineage: new Map([[commits[2]!.version.epoch, 3]]),
      attributes: new Map<string, Attribute>(
        attributes.map(([name, value, commit]) => [name, { value: Buffer.from(value), ...commits[commit]! }]),
      ),
    };
    const alias = { untilMs: NOW_MS + 500, successor: connectKey("B".repeat(43)) };
    return { record, isDelivered, ...(isSuperseded && { alias }) };
  });

/** What a store that keeps JSON, its keys in an order of its own, gives back. */
function stored(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (_, each: unknown) =>
    typeof each === "object" && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).reverse())
      : each,
  );
}

function content({ record, isDelivered, alias }: Stored): unknown {
  const attributes = [...record.attributes].map(([name, { value, version, stamp }]) => {
    const bytes = Buffer.from(value);
    let shown: unknown = bytes.toString("hex");
    try {
      shown = jsonCodec.decode(bytes);
    } catch {
      // Bytes of another codec.
    }
    return [name, { shown, version, stamp }] as const;
  });
  return { ...record, attributes: new Map(attributes), isDelivered: isDelivered === true, alias };
}

test(
  "any session comes back as it was from a store that keeps JSON",
  () => {
    const property = fc.property(someStored, (before) => {
      const after = fromBlob(KEY, stored(toBlob(before, NOW_MS)), NOW_MS, OPTIONS);
      expect(content(after)).toEqual(content(before));
      const again = fromBlob(KEY, stored(toBlob(after, NOW_MS)), NOW_MS, OPTIONS);
      expect(content(again)).toEqual(content(before));
    });
    fc.assert(property, { numRuns: RUNS });
  },
  FUZZ_TIMEOUT_MS,
);

test(
  "whatever lies in the store is a session or STORED_DATA_UNREADABLE, and no prototype changes",
  () => {
    const before = Object.getOwnPropertyNames(Object.prototype).join();
    const someJson = fc.jsonValue({ maxDepth: 3 });
    const property = fc.property(
      someStored,
      fc.array(fc.tuple(fc.constantFrom("v", "key", "packed", "at", "json", "alias", "foreign"), someJson)),
      fc.array(fc.tuple(fc.oneof(someName, fc.constant("cookie")), someJson), { maxLength: 3 }),
      (given, inField, beside) => {
        const blob = stored(toBlob(given, NOW_MS)) as Record<string, Record<string, unknown>>;
        for (const [name, value] of inField) blob[FIELD]![name] = value;
        for (const [name, value] of beside) {
          Object.defineProperty(blob, name, { value, enumerable: true, configurable: true, writable: true });
        }
        try {
          const read = fromBlob(KEY, blob, NOW_MS, OPTIONS);
          // What was read can be written.
          fromBlob(KEY, stored(toBlob(read, NOW_MS)), NOW_MS, OPTIONS);
        } catch (error) {
          if (!isSessionError(error)) throw error;
          expect(error.code).toBe("STORED_DATA_UNREADABLE");
        }
        expect(Object.getOwnPropertyNames(Object.prototype).join()).toBe(before);
      },
    );
    fc.assert(property, { numRuns: RUNS });
  },
  FUZZ_TIMEOUT_MS,
);
