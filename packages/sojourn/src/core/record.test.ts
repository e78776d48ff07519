import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { SessionKey } from "./ids.ts";
import {
  applyDelta,
  attributeBytes,
  type Commit,
  expectationsHold,
  movedDeadline,
  type NewSession,
  recordFrom,
  type SessionDelta,
  type SessionRecord,
} from "./record.ts";
import { covers, type Epoch, type Version } from "./version.ts";

const key = "A".repeat(43) as SessionKey;
const epoch = "0123456789abcdef" as Epoch;

function commit(counter: number, nowMs = 1_000 + counter): Commit {
  return { version: { epoch, counter }, stamp: { physicalMs: nowMs, logical: counter, member: "m" }, nowMs };
}

const name = fc.constantFrom("a", "b", "c", "d", "__proto__", "");
const value = fc.uint8Array({ maxLength: 4 });
const session: fc.Arbitrary<NewSession> = fc
  .record({
    attributes: fc.array(fc.tuple(name, value), { maxLength: 5 }).map((entries) => new Map(entries)),
    expiresAtMs: fc.integer({ min: 2_000, max: 9_000 }),
    absoluteExpiresAtMs: fc.integer({ min: 2_000, max: 9_000 }),
  })
  .map((rest) => ({ key, ...rest }));
const delta: fc.Arbitrary<SessionDelta> = fc.record(
  {
    set: fc.array(fc.tuple(name, value), { maxLength: 3 }).map((entries) => new Map(entries)),
    delete: fc.array(name, { maxLength: 3 }),
    expiresAtMs: fc.integer({ min: 0, max: 20_000 }),
    principal: fc.record({ principal: fc.constantFrom("ada", null), ageMs: fc.nat() }),
  },
  { requiredKeys: [] },
);

/** Names and bytes alone, without who wrote them when. */
function content(record: SessionRecord): string {
  return JSON.stringify(
    [...record.attributes].map(([each, { value }]) => [each, Buffer.from(value).toString("hex")]).sort(),
  );
}

describe("recordFrom", () => {
  test("a new session has one commit, which wrote everything in it", () => {
    fc.assert(
      fc.property(session, (wanted) => {
        const record = recordFrom(wanted, "00ff00ff00ff00ff", commit(1));
        expect(record.lineage).toEqual(new Map([[epoch, 1]]));
        expect([...record.attributes.keys()]).toEqual([...wanted.attributes.keys()]);
        for (const attribute of record.attributes.values()) expect(attribute.version).toEqual(record.version);
        expect(record.expiresAtMs).toBe(Math.min(wanted.expiresAtMs, wanted.absoluteExpiresAtMs));
        expect(record).toMatchObject({
          state: "live",
          principal: null,
          createdAtMs: 1_001,
          touchedAtMs: 1_001,
        });
      }),
    );
  });

  test("over a renewal the session keeps its beginning", () => {
    const wanted = {
      key,
      attributes: new Map(),
      expiresAtMs: 5_000,
      absoluteExpiresAtMs: 9_000,
      createdAtMs: 7,
    };
    expect(recordFrom(wanted, "00ff00ff00ff00ff", commit(1)).createdAtMs).toBe(7);
  });
});

describe("applyDelta", () => {
  test("each attribute is what the delta says, else what it was; the record before is unchanged", () => {
    fc.assert(
      fc.property(session, delta, (wanted, change) => {
        const before = recordFrom(wanted, "00ff00ff00ff00ff", commit(1));
        const kept = structuredClone(before);
        const after = applyDelta(before, change, commit(2));
        expect(structuredClone(before)).toEqual(kept);
        const names = new Set([
          ...before.attributes.keys(),
          ...(change.set?.keys() ?? []),
          ...(change.delete ?? []),
        ]);
        for (const each of names) {
          const expected =
            change.set?.get(each) ??
            ([...(change.delete ?? [])].includes(each) ? undefined : before.attributes.get(each)?.value);
          expect(after.attributes.get(each)?.value).toEqual(expected);
          const isWritten = change.set?.has(each) ?? false;
          if (expected) expect(after.attributes.get(each)?.version.counter).toBe(isWritten ? 2 : 1);
        }
        expect(after.version).toEqual(commit(2).version);
        expect(covers(after.lineage, before.version) && covers(after.lineage, after.version)).toBe(true);
        expect(after.principal).toBe(change.principal ? change.principal.principal : before.principal);
        expect(after).toMatchObject({
          birth: before.birth,
          createdAtMs: before.createdAtMs,
          touchedAtMs: 1_002,
        });
      }),
      { numRuns: 500 },
    );
  });

  test("parallel deltas on different attributes give the same content in either order, and none is lost", () => {
    const disjoint = fc.tuple(delta, delta).map(([a, b]): [SessionDelta, SessionDelta] => {
      const namesOf = (each: SessionDelta) => new Set([...(each.set?.keys() ?? []), ...(each.delete ?? [])]);
      const taken = namesOf(a);
      return [
        a,
        {
          set: new Map([...(b.set ?? [])].filter(([each]) => !taken.has(each))),
          delete: [...(b.delete ?? [])].filter((each) => !taken.has(each)),
          ...(b.expiresAtMs !== undefined && { expiresAtMs: b.expiresAtMs }),
        },
      ];
    });
    fc.assert(
      fc.property(session, disjoint, (wanted, [a, b]) => {
        const start = recordFrom(wanted, "00ff00ff00ff00ff", commit(1));
        const ab = applyDelta(applyDelta(start, a, commit(2)), b, commit(3));
        const ba = applyDelta(applyDelta(start, b, commit(2)), a, commit(3));
        expect(content(ab)).toBe(content(ba));
        expect(ab.expiresAtMs).toBe(ba.expiresAtMs);
        for (const each of [a, b]) {
          for (const [attribute, bytes] of each.set ?? [])
            expect(ab.attributes.get(attribute)?.value).toEqual(bytes);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("an attribute both set and deleted by one delta is set", () => {
    const start = recordFrom(
      { key, attributes: new Map(), expiresAtMs: 5, absoluteExpiresAtMs: 9 },
      "00",
      commit(1),
    );
    const after = applyDelta(start, { set: new Map([["a", Buffer.of(1)]]), delete: ["a"] }, commit(2));
    expect(after.attributes.get("a")?.value).toEqual(Buffer.of(1));
  });

  test("fields of a newer release stay", () => {
    const unknownFields = Buffer.from([9, 1, 7]);
    const start = recordFrom(
      { key, attributes: new Map(), expiresAtMs: 5, absoluteExpiresAtMs: 9 },
      "00",
      commit(1),
    );
    expect(applyDelta({ ...start, unknownFields }, {}, commit(2)).unknownFields).toBe(unknownFields);
  });
});

describe("deadlines", () => {
  test("the idle deadline never moves back and never past the absolute one", () => {
    fc.assert(
      fc.property(session, fc.array(fc.option(fc.integer(), { nil: undefined })), (wanted, moves) => {
        let record = recordFrom(wanted, "00ff00ff00ff00ff", commit(1));
        for (const [at, expiresAtMs] of moves.entries()) {
          const next = applyDelta(record, expiresAtMs === undefined ? {} : { expiresAtMs }, commit(at + 2));
          expect(next.expiresAtMs).toBe(movedDeadline(record, expiresAtMs));
          expect(next.expiresAtMs).toBeGreaterThanOrEqual(record.expiresAtMs);
          expect(next.expiresAtMs).toBeLessThanOrEqual(record.absoluteExpiresAtMs);
          expect(next.absoluteExpiresAtMs).toBe(wanted.absoluteExpiresAtMs);
          record = next;
        }
      }),
    );
  });

  test("a deadline that lies between is taken as it is", () => {
    expect(movedDeadline({ expiresAtMs: 10, absoluteExpiresAtMs: 30 }, 20)).toBe(20);
    expect(movedDeadline({ expiresAtMs: 10, absoluteExpiresAtMs: 30 }, 40)).toBe(30);
    expect(movedDeadline({ expiresAtMs: 10, absoluteExpiresAtMs: 30 }, 5)).toBe(10);
    expect(movedDeadline({ expiresAtMs: 10, absoluteExpiresAtMs: 30 }, undefined)).toBe(10);
  });
});

describe("expectations", () => {
  const start = recordFrom(
    { key, attributes: new Map([["a", Buffer.of(1)]]), expiresAtMs: 5, absoluteExpiresAtMs: 9 },
    "00ff00ff00ff00ff",
    commit(1),
  );
  const expectOf = (attribute: string, version: Version | null) => ({
    expect: new Map([[attribute, version]]),
  });

  test.each<[string, SessionDelta, boolean]>([
    ["none", {}, true],
    ["the version that wrote it", expectOf("a", { epoch, counter: 1 }), true],
    ["another counter", expectOf("a", { epoch, counter: 2 }), false],
    ["another epoch", expectOf("a", { epoch: "f".repeat(16) as Epoch, counter: 1 }), false],
    ["absent where there is something", expectOf("a", null), false],
    ["absent where there is nothing", expectOf("b", null), true],
    ["something where there is nothing", expectOf("b", { epoch, counter: 1 }), false],
    ["a name of the prototype, absent", expectOf("__proto__", null), true],
  ])("%s", (_name, change, holds) => {
    expect(expectationsHold(start, change)).toBe(holds);
  });

  test("of several, each must hold", () => {
    const expected = new Map<string, Version | null>([
      ["b", null],
      ["a", { epoch, counter: 2 }],
    ]);
    expect(expectationsHold(start, { expect: expected })).toBe(false);
  });

  test("whoever read before somebody else's write finds that its expectation fails", () => {
    fc.assert(
      fc.property(session, delta, name, (wanted, change, read) => {
        const before = recordFrom(wanted, "00ff00ff00ff00ff", commit(1));
        const after = applyDelta(before, change, commit(2));
        const isTouched =
          (change.set?.has(read) ?? false) ||
          (before.attributes.has(read) && [...(change.delete ?? [])].includes(read));
        expect(expectationsHold(after, expectOf(read, before.attributes.get(read)?.version ?? null))).toBe(
          !isTouched,
        );
      }),
      { numRuns: 500 },
    );
  });
});

test("attributeBytes counts names in UTF-8 and values, for records and for new sessions alike", () => {
  const values = new Map([
    ["é", Buffer.alloc(10)],
    ["", Buffer.alloc(0)],
    ["abc", Buffer.alloc(1)],
  ]);
  const record = recordFrom(
    { key, attributes: values, expiresAtMs: 5, absoluteExpiresAtMs: 9 },
    "00",
    commit(1),
  );
  expect(attributeBytes(values)).toBe(16);
  expect(attributeBytes(record.attributes)).toBe(16);
});
