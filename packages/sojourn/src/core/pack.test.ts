import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isSessionError } from "./errors.ts";
import type { SessionKey } from "./ids.ts";
import { packRecord, unpackRecord } from "./pack.ts";
import { PackedView } from "./packed-view.ts";
import { type Attribute, applyDelta, type SessionRecord } from "./record.ts";
import type { Epoch } from "./version.ts";

const key = "A".repeat(43) as SessionKey;
const times = { createdAtMs: 1, touchedAtMs: 2, expiresAtMs: 3, absoluteExpiresAtMs: 4 };

const hex16 = fc
  .uint8Array({ minLength: 8, maxLength: 8 })
  .map((bytes) => Buffer.from(bytes).toString("hex"));
const epoch = fc.oneof(fc.constantFrom("0123456789abcdef", "ffffffffffffffff"), hex16) as fc.Arbitrary<Epoch>;
const anyText = fc.oneof(
  fc.constantFrom("", "__proto__", "constructor", "cart", "\ufffd", "\ud83d\ude00", "\ude00\ud83d", "\u0000"),
  fc.string({ unit: "binary" }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 6 })
    .map((codes) => String.fromCharCode(...codes)),
);
const whole = fc.oneof(fc.constantFrom(0, 127, 128, Number.MAX_SAFE_INTEGER), fc.maxSafeNat());
const commit = fc.record({
  version: fc.record({ epoch, counter: whole }),
  stamp: fc.record({
    physicalMs: fc.integer({ min: 0, max: 2 ** 52 - 1 }),
    logical: whole,
    member: fc.oneof(fc.constantFrom("shop-1", "shop-2"), anyText),
  }),
});
/** As the pool commits, so that attributes share some of them. */
const anyRecord: fc.Arbitrary<SessionRecord> = fc
  .array(commit, { minLength: 1, maxLength: 5 })
  .chain((commits) =>
    fc.record({
      birth: hex16,
      principal: fc.option(anyText),
      state: fc.constantFrom("live" as const, "superseded" as const),
      own: fc.constantFrom(...commits),
      lineage: fc.uniqueArray(fc.tuple(epoch, whole), { selector: ([each]) => each, maxLength: 9 }),
      attributes: fc.uniqueArray(fc.tuple(anyText, fc.uint8Array(), fc.constantFrom(...commits)), {
        selector: ([name]) => name,
        maxLength: 8,
      }),
      unknown: fc.array(fc.tuple(fc.integer({ min: 9, max: 255 }), fc.uint8Array({ maxLength: 9 })), {
        maxLength: 3,
      }),
    }),
  )
  .map(({ own, lineage, attributes, unknown, ...rest }) => ({
    key,
    ...times,
    ...rest,
    version: own.version,
    stamp: own.stamp,
    lineage: new Map(lineage),
    attributes: new Map(
      attributes.map(([name, value, { version, stamp }]): [string, Attribute] => [
        name,
        { value, version, stamp },
      ]),
    ),
    ...(unknown.length > 0 && { unknownFields: fieldBytes(unknown) }),
  }));

function fieldBytes(fields: readonly (readonly [number, Uint8Array])[]): Buffer {
  return Buffer.concat(fields.map(([tag, content]) => Buffer.from([tag, content.length, ...content])));
}

/** Comparable: orders kept, bytes as hex. */
function plain(record: SessionRecord): unknown {
  return {
    ...record,
    lineage: [...record.lineage],
    attributes: [...record.attributes].map(([name, attribute]) => [
      name,
      { ...attribute, value: hexOf(attribute.value) },
    ]),
    unknownFields: record.unknownFields && hexOf(record.unknownFields),
  };
}
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

function attribute(value: Uint8Array, counter = 1): Attribute {
  const version = { epoch: "0123456789abcdef" as Epoch, counter };
  return {
    value,
    version,
    stamp: { physicalMs: 2e12 + counter * 60_000, logical: 0, member: "10.0.0.17:5701" },
  };
}

function recordOf(
  attributes: ReadonlyMap<string, Attribute>,
  own = attribute(Buffer.alloc(0), 99),
): SessionRecord {
  const { version, stamp } = own;
  const lineage = new Map([[version.epoch, version.counter]]);
  const base = { key, birth: "00ff00ff00ff00ff", ...times, principal: "ada", state: "live" as const };
  return { ...base, version, stamp, lineage, attributes };
}

function errorCodeOf(bytes: Uint8Array): string {
  try {
    unpackRecord(key, times, bytes);
  } catch (error) {
    if (isSessionError(error)) return error.code;
    throw error;
  }
  return "none";
}

describe("packing keeps everything", () => {
  test("any record comes back as it was, orders included, and packs to the same bytes again", () => {
    fc.assert(
      fc.property(anyRecord, (record) => {
        const bytes = packRecord(record);
        const unpacked = unpackRecord(key, times, bytes);
        expect(plain(unpacked)).toEqual(plain(record));
        expect(packRecord(unpacked).equals(bytes)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  test("key and times come from beside the bytes", () => {
    const bytes = packRecord(recordOf(new Map()));
    const otherKey = "B".repeat(43) as SessionKey;
    const later = { createdAtMs: 10, touchedAtMs: 20, expiresAtMs: 30, absoluteExpiresAtMs: 40 };
    expect(unpackRecord(otherKey, later, bytes)).toMatchObject({ key: otherKey, ...later });
  });

  test("names of every plane, hostile ones and very long ones are kept exactly", () => {
    const names = [
      "",
      "__proto__",
      "x".repeat(8_192),
      "é".repeat(4_096),
      "\ud800".repeat(4_096),
      "\ufeffbom",
      "a\u0000b",
    ];
    for (let plane = 0; plane <= 16; plane++) names.push(String.fromCodePoint(plane * 0x10000 + 0x1234));
    for (const [at, name] of ["\ud800", "\udc00", "\ufffd", "\ud800a", "\udc00\ud800"].entries())
      names.push(`${name}${at}`);
    const record = recordOf(new Map(names.map((name, at) => [name, attribute(Buffer.of(at))])));
    const unpacked = unpackRecord(key, times, packRecord(record));
    expect([...unpacked.attributes.keys()]).toEqual(names);
    expect(({} as { value?: unknown }).value).toBeUndefined();
  });

  test("1,000 attributes and a value of 1 MB are kept", () => {
    const attributes = new Map<string, Attribute>();
    for (let at = 0; at < 1_000; at++) attributes.set(`attribute ${at}`, attribute(Buffer.of(at & 0xff), at));
    attributes.set("large", attribute(Buffer.alloc(1 << 20, 7)));
    const record = recordOf(attributes);
    expect(plain(unpackRecord(key, times, packRecord(record)))).toEqual(plain(record));
  });

  test("fields of a newer release survive a change by this one byte for byte", () => {
    const future = fieldBytes([
      [200, Buffer.from("first")],
      [9, Buffer.alloc(0)],
      [200, Buffer.from("again")],
    ]);
    const known = packRecord(recordOf(new Map([["a", attribute(Buffer.of(1))]])));
    // Written by a newer release in its own order: unknown fields before, between and after.
    const mixed = Buffer.concat([
      known.subarray(0, 1),
      future.subarray(0, 7),
      known.subarray(1),
      future.subarray(7),
    ]);
    const read = unpackRecord(key, times, mixed);
    const changed = applyDelta(
      read,
      { set: new Map([["b", Buffer.of(2)]]) },
      { ...attribute(Buffer.alloc(0), 100), nowMs: 5 },
    );
    const again = unpackRecord(key, times, packRecord(changed));
    expect(hexOf(again.unknownFields!)).toBe(hexOf(future));
    expect([...again.attributes.keys()]).toEqual(["a", "b"]);
  });

  test("values are views of the packed bytes, not copies; the packed bytes own their memory", () => {
    const bytes = packRecord(recordOf(new Map([["a", attribute(Buffer.alloc(100, 1))]])));
    expect(bytes.buffer.byteLength).toBe(bytes.length);
    const value = unpackRecord(key, times, bytes).attributes.get("a")!.value;
    expect(value.buffer).toBe(bytes.buffer);
    // A plain Uint8Array somewhere inside other memory does as well.
    const inside = new Uint8Array(bytes.length + 10);
    inside.set(bytes, 5);
    expect(plain(unpackRecord(key, times, inside.subarray(5, 5 + bytes.length)))).toEqual(
      plain(unpackRecord(key, times, bytes)),
    );
  });
});

describe("packing is small", () => {
  const eight = (commitOf: (at: number) => number): SessionRecord =>
    recordOf(
      new Map(
        Array.from({ length: 8 }, (_, at) => [
          `attribute${at}`,
          attribute(Buffer.alloc(128, at), commitOf(at)),
        ]),
      ),
    );

  test("8 attributes of 128 bytes take less than 1.3 KB, names included, even when 8 commits wrote them", () => {
    expect(packRecord(eight((at) => at + 1)).length).toBeLessThan(1_300);
  });

  test("attributes written together share their commit: a few bytes each beyond name and value", () => {
    const one = packRecord(eight(() => 1)).length;
    expect(one - 8 * (128 + "attribute0".length)).toBeLessThan(110);
  });
});

describe("malformed bytes are STORED_DATA_UNREADABLE", () => {
  const good = packRecord(
    recordOf(
      new Map([
        ["a", attribute(Buffer.from("value"), 1)],
        ["b", attribute(Buffer.from("value"), 2)],
      ]),
    ),
  );
  const minimal = (...fields: [number, number[]][]): Buffer =>
    Buffer.concat([Buffer.of(1), fieldBytes(fields.map(([tag, content]) => [tag, Buffer.from(content)]))]);
  const birth: [number, number[]] = [1, [0, 0, 0, 0, 0, 0, 0, 1]];
  const epochs: [number, number[]] = [4, [1, 1, 1, 1, 1, 1, 1, 1]];
  const members: [number, number[]] = [5, [2, 0x6d]];
  const lineage: [number, number[]] = [6, [0, 1]];
  const commits: [number, number[]] = [7, [0, 1, 5, 0, 0]];

  test("the smallest record there is can be read", () => {
    expect(errorCodeOf(minimal(birth, epochs, members, lineage, commits))).toBe("none");
    expect(errorCodeOf(minimal(commits, lineage, members, epochs, birth))).toBe("none");
  });

  test("every cut is noticed, except between two fields that can be missing", () => {
    const readable = Array.from({ length: good.length }, (_, length) => length).filter(
      (length) => errorCodeOf(good.subarray(0, length)) === "none",
    );
    // Right before the attributes, the last field: that is a record without any.
    expect(readable).toHaveLength(1);
    expect(unpackRecord(key, times, good.subarray(0, readable[0])).attributes.size).toBe(0);
  });

  test.each<[string, Buffer]>([
    ["nothing", Buffer.alloc(0)],
    ["a format of another time", Buffer.concat([Buffer.of(2), good.subarray(1)])],
    ["only the format", Buffer.of(1)],
    ["no birth", minimal(epochs, members, lineage, commits)],
    ["a birth of 7 bytes", minimal([1, [0, 0, 0, 0, 0, 0, 0]], epochs, members, lineage, commits)],
    ["no commit", minimal(birth, epochs, members, lineage)],
    ["half an epoch", minimal(birth, [4, [1, 1, 1, 1]], members, lineage, commits)],
    [
      "a commit of an epoch that is not there",
      minimal(birth, epochs, members, lineage, [7, [1, 1, 5, 0, 0]]),
    ],
    [
      "a commit of a member that is not there",
      minimal(birth, epochs, members, lineage, [7, [0, 1, 5, 0, 1]]),
    ],
    ["half a commit", minimal(birth, epochs, members, lineage, [7, [0, 1, 5]])],
    ["a stamp before 1970", minimal(birth, epochs, members, lineage, [7, [0, 1, 5, 0, 0, 0, 2, 99, 0, 0]])],
    ["a lineage with an epoch twice", minimal(birth, epochs, members, [6, [0, 1, 0, 2]], commits)],
    ["a field twice", minimal(birth, epochs, members, lineage, commits, birth)],
    ["the tag 0", minimal(birth, epochs, members, lineage, commits, [0, []])],
    ["an unknown state", minimal(birth, [3, [2]], epochs, members, lineage, commits)],
    ["bytes after the principal", minimal(birth, [2, [2, 0x61, 0x62]], epochs, members, lineage, commits)],
    ["a principal that is not UTF-8", minimal(birth, [2, [2, 0xff]], epochs, members, lineage, commits)],
    ["half a character of UTF-16", minimal(birth, [2, [3, 0x61]], epochs, members, lineage, commits)],
    [
      "an attribute twice",
      minimal(birth, epochs, members, lineage, commits, [8, [2, 0x61, 0, 0, 2, 0x61, 0, 0]]),
    ],
    ["an attribute of no commit", minimal(birth, epochs, members, lineage, commits, [8, [2, 0x61, 1, 0]])],
    ["a value beyond the end", minimal(birth, epochs, members, lineage, commits, [8, [2, 0x61, 0, 1]])],
    ["a name beyond the end", minimal(birth, epochs, members, lineage, commits, [8, [8, 0x61]])],
    ["a number in a longer form", minimal(birth, epochs, members, [6, [0, 0x81, 0x00]], commits)],
    ["a number of 10 bytes", minimal(birth, epochs, members, [6, [0, ...Array(9).fill(0xff), 1]], commits)],
    [
      "a number of 2^53",
      minimal(birth, epochs, members, [6, [0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 16]], commits),
    ],
    ["a field of 4 GB", Buffer.concat([good, Buffer.from([9, 0xff, 0xff, 0xff, 0xff, 0x0f])])],
  ])("%s", (_name, bytes) => {
    expect(errorCodeOf(bytes)).toBe("STORED_DATA_UNREADABLE");
  });

  test("the message quotes nothing of what was read", () => {
    const bytes = Buffer.from(packRecord(recordOf(new Map([["s3cr3t", attribute(Buffer.from("s3cr3t"))]]))));
    for (let at = 0; at < bytes.length; at++) {
      const copy = Buffer.from(bytes);
      copy[at]! ^= 0x80;
      try {
        unpackRecord(key, times, copy);
      } catch (error) {
        expect(String(error)).not.toContain("s3cr3t");
      }
    }
  });
});

test.each<[string, Partial<SessionRecord>]>([
  ["a birth that is none", { birth: "xyz" }],
  ["an epoch that is none", { version: { epoch: "XYZ" as Epoch, counter: 1 } }],
  ["a negative counter", { version: { epoch: "0123456789abcdef" as Epoch, counter: -1 } }],
  ["a fraction of a millisecond", { stamp: { physicalMs: 1.5, logical: 0, member: "m" } }],
  ["no number", { stamp: { physicalMs: Number.NaN, logical: 0, member: "m" } }],
  ["a lineage beyond 2^53", { lineage: new Map([["0123456789abcdef" as Epoch, 2 ** 53]]) }],
])("a record with %s is refused rather than packed wrongly", (_name, wrong) => {
  expect(() => packRecord({ ...recordOf(new Map()), ...wrong })).toThrow(RangeError);
});

test("a view shows of any record what unpacking it shows, whatever is asked for first", () => {
  fc.assert(
    fc.property(anyRecord, fc.array(anyText), (record, names) => {
      const bytes = packRecord(record);
      const view = new PackedView(key, times, 0, record.principal, record.state, bytes);
      const whole = unpackRecord(key, times, bytes);
      for (const name of [...names, ...whole.attributes.keys()]) {
        const seen = view.attributes.get(name);
        const attribute = whole.attributes.get(name);
        expect(seen && Buffer.from(seen.value)).toEqual(attribute && Buffer.from(attribute.value));
        expect(seen?.version).toEqual(attribute?.version);
        expect(seen?.stamp).toEqual(attribute?.stamp);
        expect(view.attributes.has(name)).toBe(attribute !== undefined);
      }
      expect(view.attributes.size).toBe(whole.attributes.size);
      expect(new Map(view.attributes)).toEqual(whole.attributes);
      const { version, birth, lineage, stamp, principal, state } = view;
      expect({ version, birth, lineage, stamp, principal, state }).toEqual({
        version: whole.version,
        birth: whole.birth,
        lineage: whole.lineage,
        stamp: whole.stamp,
        principal: whole.principal,
        state: whole.state,
      });
    }),
  );
});
