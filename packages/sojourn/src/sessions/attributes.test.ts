import fc from "fast-check";
import { expect, test } from "vitest";
import { jsonCodec } from "../core/codec.ts";
import type { Epoch, Version } from "../core/version.ts";
import { Attributes, type Changes, type StoredAttributes } from "./attributes.ts";

const version = (counter: number): Version => ({ epoch: "0123456789abcdef" as Epoch, counter });
const NO_LIMITS = {
  sessionBytesMax: Infinity,
  attributesMax: Infinity,
  writeContents: "GET_AND_SET_ATTRIBUTES",
} as const;

function stored(values: Readonly<Record<string, unknown>>): StoredAttributes {
  return new Map(
    Object.entries(values).map(([name, value]) => [
      name,
      { value: jsonCodec.encode(value, name), version: version(1) },
    ]),
  );
}

/** What the store holds after these changes. */
function after(before: ReadonlyMap<string, unknown>, changes: Changes | null): Map<string, unknown> {
  const next = new Map(before);
  for (const name of changes?.delete ?? []) next.delete(name);
  for (const [name, bytes] of changes?.set ?? []) next.set(name, jsonCodec.decode(bytes));
  return next;
}

const names = fc.constantFrom("a", "b", "c", "__proto__", "");
const values = fc.oneof(
  fc.nat(3),
  fc.string({ maxLength: 3 }),
  fc.array(fc.nat(3), { maxLength: 3 }),
  fc.constant(null),
);
const change = fc.oneof(
  fc.record({ kind: fc.constant("set" as const), name: names, value: values }),
  fc.record({ kind: fc.constant("delete" as const), name: names }),
  fc.record({ kind: fc.constant("mutate" as const), name: names }),
  fc.record({ kind: fc.constant("commit" as const) }),
);

test("whatever a handler does, the changes turn what was stored into what it sees, and are minimal", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(names, values), { selector: ([name]) => name }),
      fc.array(change, { maxLength: 12 }),
      (initial, steps) => {
        let store = new Map<string, unknown>(initial);
        const attributes = new Attributes(jsonCodec, NO_LIMITS, stored(Object.fromEntries(initial)));
        // Object.fromEntries drops nothing: "__proto__" becomes an own property there.
        const seen = new Map<string, unknown>(structuredClone(initial));
        let counter = 1;
        const commit = () => {
          const changes = attributes.changes();
          for (const [name, bytes] of changes?.set ?? []) {
            expect(jsonCodec.decode(bytes), "a set of what is stored").not.toEqual(
              store.has(name) ? store.get(name) : NaN,
            );
          }
          for (const name of changes?.delete ?? []) expect(store.has(name), "a delete of nothing").toBe(true);
          store = after(store, changes);
          if (changes) attributes.committed(changes, version(++counter));
          expect(attributes.changes()).toBeNull();
          expect(new Map([...store].sort())).toEqual(new Map([...seen].sort()));
        };
        for (const step of steps) {
          if (step.kind === "commit") commit();
          else if (step.kind === "set") {
            const value = structuredClone(step.value);
            attributes.set(step.name, value);
            seen.set(step.name, structuredClone(value));
          } else if (step.kind === "delete") {
            attributes.delete(step.name);
            seen.delete(step.name);
          } else {
            const value = attributes.get(step.name);
            if (Array.isArray(value)) {
              value.push(9);
              seen.set(step.name, structuredClone(value));
            }
          }
          expect([...attributes.keys()].sort()).toEqual([...seen.keys()].sort());
          for (const name of ["a", "b", "c", "__proto__", ""]) {
            expect(attributes.has(name)).toBe(seen.has(name));
            expect(attributes.get(name)).toEqual(seen.get(name));
          }
        }
        commit();
      },
    ),
    { numRuns: 2_000 },
  );
});

test("values are decoded when first asked for, and once", () => {
  let decoded = 0;
  const counting = {
    encode: jsonCodec.encode,
    decode(bytes: Uint8Array) {
      decoded++;
      return jsonCodec.decode(bytes);
    },
  };
  const attributes = new Attributes(counting, NO_LIMITS, stored({ a: [1], b: [2], c: 3 }));
  expect(attributes.has("a")).toBe(true);
  expect(decoded).toBe(0);
  expect(attributes.get("a")).toBe(attributes.get("a"));
  expect(decoded).toBe(1);
});

test("primitives are not encoded again at the commit, objects are", () => {
  let encoded = 0;
  const counting = {
    decode: jsonCodec.decode,
    encode(value: unknown, name: string) {
      encoded++;
      return jsonCodec.encode(value, name);
    },
  };
  const attributes = new Attributes(counting, NO_LIMITS, stored({ text: "x", list: [1], unread: [2] }));
  attributes.get("text");
  attributes.get("list");
  expect(attributes.changes()).toBeNull();
  expect(encoded).toBe(1);
});

test("the byte limit counts names and values, exactly", () => {
  const limits = { ...NO_LIMITS, sessionBytesMax: 20 };
  const attributes = new Attributes(jsonCodec, limits);
  // Name 2 bytes, codec byte, quotes and 15 characters: 20.
  expect(() => attributes.set("é", "x".repeat(16))).toThrow(
    expect.objectContaining({ code: "SESSION_TOO_LARGE" }),
  );
  expect(attributes.keys()).toEqual([]);
  attributes.set("é", "x".repeat(15));
  expect(() => attributes.set("", 1)).toThrow(expect.objectContaining({ code: "SESSION_TOO_LARGE" }));
  attributes.set("é", "x".repeat(12));
  attributes.set("", 1);
  attributes.delete("é");
  attributes.set("n", "x".repeat(14));
});

test("growth inside objects is counted together with what was set", () => {
  const attributes = new Attributes(jsonCodec, { ...NO_LIMITS, sessionBytesMax: 40 }, stored({ l: [1] }));
  const list = attributes.get("l") as number[];
  attributes.set("text", "x".repeat(20));
  for (let n = 0; n < 10; n++) list.push(n);
  expect(() => attributes.changes()).toThrow(
    expect.objectContaining({ code: "SESSION_TOO_LARGE", message: expect.stringContaining('"l"') }),
  );
  list.length = 3;
  expect([...attributes.changes()!.set.keys()].sort()).toEqual(["l", "text"]);
});
