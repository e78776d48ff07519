import vm from "node:vm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BIGINT_DIGITS_MAX, jsonCodec, VALUE_BYTES_MAX, VALUE_DEPTH_MAX } from "./codec.ts";
import { isSessionError } from "./errors.ts";

const encode = (value: unknown): Buffer => Buffer.from(jsonCodec.encode(value, "cart"));
const textOf = (value: unknown): string => encode(value).toString("utf8", 1);
const decode = (bytes: Uint8Array): unknown => jsonCodec.decode(bytes);
const decodeText = (text: string): unknown => decode(Buffer.from(`\u0001${text}`));

function errorOf(action: () => unknown): { code: string; message: string } {
  try {
    action();
  } catch (error) {
    if (isSessionError(error)) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error("Expected an error, but nothing was thrown");
}

/** Stricter than any matcher: -0 is not 0, a Buffer is not a Uint8Array, and the order of keys counts. */
function same(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return Object.is(a, b);
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (a instanceof Date && b instanceof Date) return Object.is(a.getTime(), b.getTime());
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  const left = entriesOf(a);
  const right = entriesOf(b);
  return (
    left.length === right.length &&
    left.every(([key, value], at) => same(key, right[at]?.[0]) && same(value, right[at]?.[1]))
  );
}

function entriesOf(value: object): [unknown, unknown][] {
  if (value instanceof Map) return [...value.entries()];
  if (value instanceof Set) return [...value].map((item, at) => [at, item]);
  return Object.keys(value).map((key) => [key, (value as Record<string, unknown>)[key]]);
}

const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  // Every code unit, so lone surrogates, too.
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 6 })
    .map((codes) => String.fromCharCode(...codes)),
);
const anyKey = fc
  .oneof(
    fc.constantFrom("$t", "v", "$", "$$", "$$t", "constructor", "prototype", "toJSON", "0", "10", ""),
    anyText,
  )
  .filter((key) => key !== "__proto__");
const anyScalar = fc.oneof(
  fc.constantFrom(null, undefined, true, false, -0, 0, NaN, Infinity, -Infinity, "$t", "__proto__", 2 ** 53),
  fc.double(),
  fc.integer(),
  fc.bigInt(),
  anyText,
  fc.date({ noInvalidDate: false }),
  fc.uint8Array().map((bytes) => new Uint8Array(bytes)),
  fc.uint8Array().map((bytes) => Buffer.from(bytes)),
);
const { value: anyValue } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, depthSize: "small" },
    anyScalar,
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(anyKey, tie("value"), { maxKeys: 4, noNullPrototype: true }),
    fc.array(fc.tuple(tie("value"), tie("value")), { maxLength: 3 }).map((entries) => new Map(entries)),
    fc.array(tie("value"), { maxLength: 3 }).map((items) => new Set(items)),
  ),
}));

describe("what goes in comes out", () => {
  test("every supported value comes back as it was, keys in order", () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        expect(same(decode(encode(value)), value)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test("encoding again what was decoded gives the same bytes, so unchanged values are never written", () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        const bytes = encode(value);
        expect(encode(value).equals(bytes)).toBe(true);
        expect(encode(decode(bytes)).equals(bytes)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test("values that differ have different bytes, so no change is missed", () => {
    const pair = fc.oneof(
      fc.tuple(anyScalar, anyScalar),
      fc.tuple(anyValue, anyValue),
      anyValue.map((value) => [value, [value]] as const),
      anyValue.map((value) => [{ $t: value }, { v: value }] as const),
      anyValue.map((value) => [new Map([[value, 1]]), [[value, 1]]] as const),
      anyText.map((text) => [text, { $t: text }] as const),
    );
    fc.assert(
      fc.property(pair, ([a, b]) => {
        expect(encode(a).equals(encode(b))).toBe(same(a, b));
      }),
      { numRuns: 3_000 },
    );
  });

  test("what JSON can say is stored as JSON.stringify writes it", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        fc.pre(!/"\$|__proto__|-0/.test(JSON.stringify(value)) && !hasNegativeZero(value));
        expect(textOf(value)).toBe(JSON.stringify(value));
      }),
    );
  });

  test("the stored text is JSON in UTF-8 that any language reads", () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
          encode(value).subarray(1),
        );
        expect(() => JSON.parse(text)).not.toThrow();
      }),
    );
  });

  test.each([
    ["Date", new Date(0), '{"$t":"Date","v":0}'],
    ["Date", new Date(Number.NaN), '{"$t":"Date","v":null}'],
    ["Map", new Map<unknown, unknown>([["a", 1]]), '{"$t":"Map","v":[["a",1]]}'],
    ["Set", new Set(["a"]), '{"$t":"Set","v":["a"]}'],
    ["BigInt", 12n, '{"$t":"BigInt","v":"12"}'],
    ["Uint8Array", new Uint8Array([1, 2]), '{"$t":"Bytes","v":"AQI="}'],
    ["Buffer", Buffer.from([1, 2]), '{"$t":"Buffer","v":"AQI="}'],
    ["undefined", undefined, '{"$t":"undefined"}'],
    ["NaN", Number.NaN, '{"$t":"Number","v":"NaN"}'],
    ["-0", -0, '{"$t":"Number","v":"-0"}'],
    ["key $t", { $t: 1, $: 2, a: 3 }, '{"$$t":1,"$$":2,"a":3}'],
    ["lone surrogate", "\ud800", '"\\ud800"'],
  ])("%s is written the way the format page says", (_name, value, text) => {
    expect(textOf(value)).toBe(text);
    expect(same(decodeText(text), value)).toBe(true);
  });

  test("a decoded value shares no memory with the stored bytes or with another decoding", () => {
    const bytes = encode({ raw: new Uint8Array([7, 7]), list: [1] });
    const kept = Buffer.from(bytes);
    const first = decode(bytes) as { raw: Uint8Array; list: number[] };
    first.raw.fill(0);
    first.list.push(2);
    expect(bytes.equals(kept)).toBe(true);
    expect(decode(bytes)).toEqual({ raw: new Uint8Array([7, 7]), list: [1] });
    expect(first.raw.buffer.byteLength).toBe(2);
  });

  test("a view into larger memory is stored as just the view", () => {
    const memory = new Uint8Array([1, 2, 3, 4]);
    expect(decode(encode(memory.subarray(1, 3)))).toEqual(new Uint8Array([2, 3]));
    const stored = Buffer.concat([Buffer.of(9), encode("a"), Buffer.of(9)]);
    expect(decode(new Uint8Array(stored.buffer, stored.byteOffset + 1, stored.length - 2))).toBe("a");
  });

  test("objects of another realm or without a prototype are plain data, too", () => {
    const foreign = vm.runInNewContext("({ list: [1, { a: 2 }], none: Object.create(null) })") as unknown;
    expect(decode(encode(foreign))).toStrictEqual({ list: [1, { a: 2 }], none: {} });
    const bare = Object.assign(Object.create(null), { a: 1 }) as unknown;
    expect(decode(encode(bare))).toStrictEqual({ a: 1 });
  });

  test("an object reached on two ways comes back twice, and is no cycle", () => {
    const shared = { a: 1 };
    expect(decode(encode([shared, shared, { shared }]))).toEqual([{ a: 1 }, { a: 1 }, { shared: { a: 1 } }]);
  });
});

function hasNegativeZero(value: unknown): boolean {
  if (Object.is(value, -0)) return true;
  return typeof value === "object" && value !== null && Object.values(value).some(hasNegativeZero);
}

class Money {
  amount = 5;
}

const cyclic = { list: [{}] as unknown[] };
cyclic.list[0] = { back: cyclic };
const cyclicMap = new Map<unknown, unknown>();
cyclicMap.set("me", { here: cyclicMap });
const hole = [1, 2, 3];
delete hole[1];

describe("what cannot come back is refused, naming attribute and path", () => {
  test.each<[string, unknown, string]>([
    ["a function", { items: [0, 1, 2, { price: () => 1 }] }, "cart.items[3].price is a function"],
    ["a symbol", [Symbol("s")], "cart[0] is a symbol"],
    ["a class instance", { total: new Money() }, "cart.total is an instance of Money"],
    ["an instance of an unnamed class", new (class {})(), "cart is an instance of an unnamed class"],
    ["an error", new Error("x"), "cart is an instance of Error"],
    ["a regular expression", /x/, "cart is an instance of RegExp"],
    ["a boxed number", Object(1), "cart is an instance of Number"],
    ["a promise", Promise.resolve(), "cart is an instance of Promise"],
    ["another typed array", new Float64Array(1), "cart is an instance of Float64Array"],
    ["an ArrayBuffer", new ArrayBuffer(1), "cart is an instance of ArrayBuffer"],
    ["a WeakMap", new WeakMap(), "cart is an instance of WeakMap"],
    ["a subclass of Map", new (class Cart extends Map {})(), "cart is an instance of Cart"],
    ["a subclass of Array", new (class Stack extends Array {})(), "cart is an instance of Stack"],
    ["a subclass of Date", new (class Day extends Date {})(), "cart is an instance of Day"],
    ["a look-alike of a Map", Object.create(Map.prototype), "cart is an instance of Map"],
    ["a look-alike of a Date", Object.create(Date.prototype), "cart is an instance of Date"],
    ["an object that inherits data", Object.create({ a: 1 }), "cart is an instance of Object"],
    ["a hole", hole, "cart[1] is a hole in an array"],
    ["a match of a pattern", "ab".match(/a(?<x>b)/), "cart is an array with named properties"],
    ["a Map with a property", Object.assign(new Map(), { a: 1 }), "cart is a Map with properties of its own"],
    [
      "a Date with a property",
      Object.assign(new Date(), { a: 1 }),
      "cart is a Date with properties of its own",
    ],
    ["a symbol as key", { a: { [Symbol("k")]: 1 } }, "cart.a has a symbol as a key"],
    ["a symbol as key of an array", Object.assign([1], { [Symbol("k")]: 1 }), "cart has a symbol as a key"],
    ["a value in a Map", new Map([["k", [() => 1]]]), "cart<value 0>[0] is a function"],
    ["a key of a Map", new Map([[{ f: () => 1 }, 1]]), "cart<key 0>.f is a function"],
    ["an item of a Set", new Set([1, () => 1]), "cart<item 1> is a function"],
    ["an odd key", { "a b": { "": () => 1 } }, 'cart["a b"][""] is a function'],
    ["a cycle", cyclic, "cart.list[0].back is a cycle: it contains itself"],
    ["a cycle through a Map", { m: cyclicMap }, "cart.m<value 0>.here is a cycle: it contains itself"],
    [
      "a getter that throws",
      {
        get a() {
          throw new Error("private");
        },
      },
      "cart.a cannot be read: a getter or a proxy threw",
    ],
    ["too large a BigInt", 10n ** BigInt(BIGINT_DIGITS_MAX), "cart is a BigInt of more than 10000 digits"],
    [
      "a bound method in a list after others",
      [{ ok: 1 }, { deep: { er: [Math.max] } }],
      "cart[1].deep.er[0] is a function",
    ],
  ])("%s", (_name, value, found) => {
    expect(errorOf(() => encode(value))).toEqual({
      code: "UNSUPPORTED_VALUE",
      message: `Cannot store attribute "cart": ${found}`,
    });
  });

  test("an endless array of holes is refused at the first", () => {
    expect(errorOf(() => encode({ a: new Array(4_294_967_295) })).message).toContain(
      "cart.a[0] is a hole in an array",
    );
  });

  test("the message names keys only as far as a message can be read", () => {
    const key = "k".repeat(10_000);
    let value: unknown = () => 1;
    for (let level = 0; level < 30; level++) value = { [key]: value };
    const { message } = errorOf(() => jsonCodec.encode(value, "a".repeat(8_192)));
    expect(message.length).toBeLessThan(1_200);
    expect(errorOf(() => jsonCodec.encode(() => 1, "line\nbreak")).message).not.toContain("\n");
  });

  test("no message ever holds a value", () => {
    const secret = "s3cr3t-value";
    const bad = fc.constantFrom<unknown>(
      () => secret,
      Symbol(secret),
      new Error(secret),
      new URL(`http://${secret}`),
    );
    const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        bad,
        fc.tuple(fc.constant(secret), tie("tree")),
        tie("tree").map((value) => ({ a: secret, b: value })),
        tie("tree").map((value) => new Map([[secret, value]])),
        tie("tree").map((value) => new Map([[value, secret]])),
        tie("tree").map((value) => new Set([secret, value])),
      ),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        const { code, message } = errorOf(() => encode(value));
        expect(code).toBe("UNSUPPORTED_VALUE");
        expect(message).not.toContain(secret);
      }),
    );
  });

  test("toJSON is never called: not an own one, not an inherited one", () => {
    let calls = 0;
    const toJSON = () => {
      calls++;
      return "called";
    };
    expect(errorOf(() => encode({ toJSON })).message).toContain("cart.toJSON is a function");
    Object.defineProperty(Object.prototype, "toJSON", { value: toJSON, configurable: true });
    try {
      expect(textOf({ a: [1n, new Date(0), "x".repeat(100)] })).toContain('"BigInt"');
    } finally {
      delete (Object.prototype as { toJSON?: unknown }).toJSON;
    }
    expect(calls).toBe(0);
  });

  test("a getter is read once, and what it gave is stored", () => {
    let reads = 0;
    const value = {
      get a() {
        return ++reads;
      },
    };
    expect(decode(encode(value))).toStrictEqual({ a: 1 });
    expect(reads).toBe(1);
  });
});

describe("limits", () => {
  const nested = (levels: number, wrap: (inner: unknown) => unknown): unknown => {
    let value: unknown = 1;
    for (let level = 0; level < levels; level++) value = wrap(value);
    return value;
  };

  test.each<[string, (inner: unknown) => unknown]>([
    ["arrays", (inner) => [inner]],
    ["objects", (inner) => ({ a: inner })],
    ["Maps", (inner) => new Map([["$a", inner]])],
    ["Map keys", (inner) => new Map([[inner, 1]])],
    ["Sets", (inner) => new Set([inner])],
  ])("%s nest to VALUE_DEPTH_MAX levels and not one more", (_name, wrap) => {
    const deepest = nested(VALUE_DEPTH_MAX, wrap);
    expect(same(decode(encode(deepest)), deepest)).toBe(true);
    const { code, message } = errorOf(() => encode(wrap(deepest)));
    expect(code).toBe("UNSUPPORTED_VALUE");
    expect(message).toContain(`deeper than ${VALUE_DEPTH_MAX} levels`);
  });

  test("reading refuses what writing would have refused for its depth", () => {
    const brackets = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
    expect(decodeText(brackets(VALUE_DEPTH_MAX))).toBeInstanceOf(Array);
    expect(errorOf(() => decodeText(brackets(VALUE_DEPTH_MAX + 1))).code).toBe("STORED_DATA_UNREADABLE");
    // With a tag inside, so that the careful path is taken.
    const tagged = (levels: number) => `${"[".repeat(levels)}{"$t":"Date","v":0}${"]".repeat(levels)}`;
    expect(decodeText(tagged(VALUE_DEPTH_MAX))).toBeInstanceOf(Array);
    expect(errorOf(() => decodeText(tagged(VALUE_DEPTH_MAX + 1))).code).toBe("STORED_DATA_UNREADABLE");
    // Many brackets beside each other are no depth, and brackets in strings are none at all.
    expect(decodeText(`[${"[],".repeat(500)}"${"[".repeat(500)}\\"["]`)).toHaveLength(501);
  });

  test("a whole value of brackets is refused before it costs anything", () => {
    const bytes = Buffer.alloc(VALUE_BYTES_MAX, "[");
    bytes[0] = 1;
    const startedAtMs = performance.now();
    expect(errorOf(() => decode(bytes)).code).toBe("STORED_DATA_UNREADABLE");
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
  });

  test("a value takes VALUE_BYTES_MAX encoded bytes and not one more", () => {
    const largest = "x".repeat(VALUE_BYTES_MAX - 3);
    const bytes = jsonCodec.encode(largest, "cart");
    expect(bytes.byteLength).toBe(VALUE_BYTES_MAX);
    expect(decode(bytes)).toBe(largest);
    for (const value of [
      `${largest}x`,
      "é".repeat(VALUE_BYTES_MAX / 2),
      new Uint8Array(VALUE_BYTES_MAX),
      ["y", largest],
    ]) {
      expect(errorOf(() => encode(value)).code).toBe("SESSION_TOO_LARGE");
    }
    expect(errorOf(() => decode(Buffer.alloc(VALUE_BYTES_MAX + 1, 1))).code).toBe("STORED_DATA_UNREADABLE");
  });

  test("branches that share an object and multiply end at the size limit", () => {
    let value: unknown = ["x".repeat(1_000)];
    for (let level = 1; level < VALUE_DEPTH_MAX; level++) value = [value, value];
    expect(errorOf(() => encode(value)).code).toBe("SESSION_TOO_LARGE");
  });
});

describe("reading what somebody else wrote", () => {
  test.each<[string, Buffer]>([
    ["nothing", Buffer.alloc(0)],
    ["no text", Buffer.of(1)],
    ["another codec", Buffer.from('\u0002"a"')],
    ["plain JSON without a codec byte", Buffer.from('"a"')],
    ["broken UTF-8", Buffer.from([1, 0x22, 0xff, 0x22])],
    ["a surrogate in UTF-8", Buffer.from([1, 0x22, 0xed, 0xa0, 0x80, 0x22])],
    ["an overlong slash", Buffer.from([1, 0x22, 0xc0, 0xaf, 0x22])],
    ["a byte order mark", Buffer.from([1, 0xef, 0xbb, 0xbf, 0x31])],
    ...[
      "{",
      "nul",
      "[1,]",
      "1 2",
      '{"$t":"Date"}',
      '{"$t":"Date","v":"2020"}',
      '{"$t":"Date","v":0.5}',
      '{"$t":"Date","v":9e15}',
      '{"$t":"Date","v":0,"w":1}',
      '{"$t":"undefined","v":1}',
      '{"$t":"Money","v":1}',
      '{"$t":"constructor","v":1}',
      '{"$t":1,"v":1}',
      '{"$t":null}',
      '{"$t":"Map","v":{}}',
      '{"$t":"Map","v":[1]}',
      '{"$t":"Map","v":[["a",1],["a",2]]}',
      '{"$t":"Map","v":[["a"]]}',
      '{"$t":"Set","v":[1,1]}',
      '{"$t":"Set"}',
      '{"$t":"BigInt","v":"1e9"}',
      '{"$t":"BigInt","v":"0x1f"}',
      '{"$t":"BigInt","v":"-0"}',
      '{"$t":"BigInt","v":""}',
      '{"$t":"BigInt","v":5}',
      `{"$t":"BigInt","v":"${"9".repeat(BIGINT_DIGITS_MAX + 2)}"}`,
      '{"$t":"Bytes","v":"AQI"}',
      '{"$t":"Bytes","v":"AQ=="x}',
      '{"$t":"Bytes","v":"AR=="}',
      '{"$t":"Buffer","v":"*"}',
      '{"$t":"Buffer","v":[1]}',
      '{"$t":"Number","v":"1"}',
      '{"$t":"Number","v":"toString"}',
      '{"$t":"Number","v":"__proto__"}',
      '{"$x":1}',
      '{"a":[{"$":1}]}',
    ].map((text): [string, Buffer] => [text.slice(0, 40), Buffer.from(`\u0001${text}`)]),
  ])("%s is STORED_DATA_UNREADABLE", (_name, bytes) => {
    expect(errorOf(() => decode(bytes)).code).toBe("STORED_DATA_UNREADABLE");
  });

  test("the message does not quote what was read, nor does a cause", () => {
    for (const text of ['{"secret": s3cr3t}', '{"$t":"s3cr3t","v":1}', '{"$s3cr3t":1}', '"s3cr3t']) {
      let caught: unknown;
      try {
        decodeText(text);
      } catch (error) {
        caught = error;
      }
      expect(isSessionError(caught)).toBe(true);
      expect(String(caught)).not.toContain("s3cr3t");
      expect((caught as Error).cause).toBeUndefined();
    }
  });

  test("__proto__ keys are dropped, whatever their spelling, and no prototype changes", () => {
    for (const key of ["__proto__", "\\u005f_proto__", "__pr\\u006fto__"]) {
      for (const text of [`{"a":1,"${key}":{"admin":true}}`, `{"a":1,"${key}":{"$t":"Date","v":0}}`]) {
        const value = decodeText(text) as object;
        expect(Reflect.ownKeys(value)).toEqual(["a"]);
        expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
      }
    }
    expect(({} as { admin?: unknown }).admin).toBeUndefined();
    const own = JSON.parse('{"__proto__":{"admin":true},"b":1}') as unknown;
    expect(textOf(own)).toBe('{"b":1}');
    // Only the key is special: as text, or with a $ before it, it is data.
    expect(same(decode(encode(["__proto__", { $__proto__: 1 }])), ["__proto__", { $__proto__: 1 }])).toBe(
      true,
    );
  });

  test("a tag spelled with escapes is the same tag", () => {
    expect(decodeText('{"\\u0024t":"Date","v":0}')).toEqual(new Date(0));
    expect(decodeText('{"\\u0024$t":1}')).toEqual({ $t: 1 });
  });

  test("text that merely looks like a tag stays text", () => {
    const value = ['{"$t":"Date","v":0}', '"$t"', "\\$t", "$12.50", "\ufffd"];
    expect(decode(encode(value))).toEqual(value);
  });
});
