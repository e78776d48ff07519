/** What can be stored: any bytes, any size within reason, any name. */
import assert from "node:assert/strict";
import { jsonCodec } from "../../core/codec.ts";
import { type Promised, textsOf } from "./trial.ts";

/** Every kind of value that an application may set. */
const VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -0,
  42,
  -1.5,
  Number.MAX_SAFE_INTEGER,
  Number.MIN_VALUE,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  "",
  "text",
  "🛒 \u0000 \u2028 é e\u0301 שלום",
  [],
  [1, [2, [3]]],
  {},
  { nested: { deep: ["list", { of: "things" }] } },
  undefined,
  { absent: undefined },
  new Date(0),
  new Date(1_700_000_000_123),
  123456789012345678901234567890n,
  -1n,
  new Map<unknown, unknown>([
    ["a", 1],
    [2, new Map([["inner", new Date(5)]])],
  ]),
  new Set([1, "two", null]),
  new Uint8Array([0, 1, 127, 128, 255]),
  new Uint8Array(0),
];

/** One name of each Unicode plane that has characters, and each that has tripped somebody's parser, map or path. */
const HOSTILE_NAMES: readonly string[] = [
  "",
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "length",
  "then",
  "0",
  "-1",
  "1e3",
  " leading and trailing ",
  "a.b.c",
  "a/b\\c",
  "a:b|c;d,e",
  "quote\"'`$",
  "%00%2e",
  "*",
  "{tag}",
  "nul\u0000inside",
  "line\r\nbreak",
  "\u2028\u2029",
  "\u00e9",
  "e\u0301",
  "Case",
  "case",
  "\u200b",
  "\u202eright to left",
  "\ufeffmark",
  "\uffff",
  // One character of each plane, 0 to 16.
  ...Array.from(
    { length: 17 },
    (_, plane) => `plane ${plane} ${String.fromCodePoint(plane * 0x10000 + 0x1234)}`,
  ),
  "x".repeat(8_192),
  "🛒".repeat(2_048),
];

export const values: readonly Promised[] = [
  {
    name: "every type of value comes back as it was, by create and by apply",
    async check(t) {
      const encoded = new Map(
        VALUES.map((value, index) => [`v${index}`, jsonCodec.encode(value, `v${index}`)]),
      );
      const created = await t.given(encoded);
      const { key } = await t.given();
      assert.equal((await t.store.apply(key, { set: encoded })).status, "applied");
      for (const record of [await t.present(created.key), await t.present(key)]) {
        assert.equal(record.attributes.size, VALUES.length);
        for (const [index, value] of VALUES.entries()) {
          const attribute = record.attributes.get(`v${index}`);
          assert.ok(attribute);
          assert.deepEqual(plain(jsonCodec.decode(attribute.value)), plain(value));
        }
      }
    },
  },
  {
    name: "values are bytes: every byte, none, and what no text encoding survives",
    async check(t) {
      const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);
      const bytes = new Map([
        ["all", all],
        ["none", new Uint8Array(0)],
        ["not utf-8", Uint8Array.of(0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80)],
        ["a view", all.subarray(100, 120)],
      ]);
      const { key } = await t.given(bytes);
      const { attributes } = await t.present(key);
      for (const [name, value] of bytes) {
        assert.deepEqual(Buffer.from(attributes.get(name)!.value), Buffer.from(value), name);
      }
    },
  },
  {
    name: "a value of 1 MB comes back whole, by create and by apply",
    async check(t) {
      const large = Buffer.alloc(1_048_576);
      for (let offset = 0; offset < large.length; offset += 4) large.writeUInt32LE(t.random(2 ** 32), offset);
      const { key } = await t.given(new Map([["by create", large]]));
      const applied = await t.store.apply(key, { set: new Map([["by apply", large]]) });
      assert.equal(applied.status, "applied");
      const { attributes } = await t.present(key);
      for (const name of ["by create", "by apply"]) {
        assert.ok(large.equals(attributes.get(name)!.value), `1 MB ${name} came back changed`);
      }
    },
  },
  {
    name: "1,000 attributes come back whole, and each can be changed alone",
    async check(t) {
      const expected: Record<string, string> = {};
      for (let index = 0; index < 1_000; index++) expected[`attribute-${index}`] = `value ${index}`;
      const { key } = await t.given(expected);
      assert.deepEqual(textsOf(await t.present(key)), expected);
      await t.applied(key, { "attribute-500": "changed" });
      assert.equal((await t.store.apply(key, { delete: ["attribute-501"] })).status, "applied");
      expected["attribute-500"] = "changed";
      delete expected["attribute-501"];
      assert.deepEqual(textsOf(await t.present(key)), expected);
    },
  },
  {
    name: "hostile names are names like any other: every Unicode plane, __proto__, empty, 8 KB",
    async check(t) {
      const named = (mark: string) =>
        new Map(HOSTILE_NAMES.map((name, index) => [name, Buffer.from(`${mark} ${index}`)]));
      const check = async (mark: string, gone: readonly string[] = []) => {
        const { attributes } = await t.present(key);
        const expected = named(mark);
        for (const name of gone) expected.delete(name);
        assert.equal(attributes.size, expected.size, `${mark}: the number of attributes`);
        for (const [name, value] of expected) {
          const found = attributes.get(name)?.value;
          assert.ok(found && value.equals(found), `${mark}: ${JSON.stringify(name.slice(0, 40))}`);
        }
      };
      const { key, version } = await t.given(named("created"));
      await check("created");
      const expect = new Map(HOSTILE_NAMES.map((name) => [name, version]));
      assert.equal((await t.store.apply(key, { set: named("applied"), expect })).status, "applied");
      await check("applied");
      assert.equal((await t.store.apply(key, { expect })).status, "conflict");
      const gone = HOSTILE_NAMES.filter((_, index) => index % 2 === 0);
      assert.equal((await t.store.apply(key, { delete: gone })).status, "applied");
      await check("applied", gone);
    },
  },
  {
    name: "hostile principals are principals like any other",
    needs: ["enumerable"],
    async check(t) {
      for (const principal of HOSTILE_NAMES) {
        const { key } = await t.given({}, { principal: { principal, ageMs: 0 } });
        assert.equal((await t.present(key)).principal, principal);
        const { sessions } = await t.enumerable.list({ principal });
        assert.deepEqual(
          sessions.map((session) => [session.key, session.principal]),
          [[key, principal]],
        );
        assert.equal(await t.enumerable.endAll(principal), 1);
        await t.absent(key);
      }
    },
  },
];

/** A decoder may give bytes as a Buffer; that is the same value. */
function plain(value: unknown): unknown {
  return value instanceof Uint8Array ? { bytes: Buffer.from(value).toString("hex") } : value;
}
