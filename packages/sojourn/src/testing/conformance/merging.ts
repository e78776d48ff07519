/** apply: one commit is one atomic merge; expectations; versions and lineage. */
import assert from "node:assert/strict";
import type { SessionRecord } from "../../core/record.ts";
import { compareStamps } from "../../core/stamp.ts";
import { covers, type Epoch, type Version } from "../../core/version.ts";
import { bytesOf, type Promised, type Trial, textsOf } from "./trial.ts";

export const merging: readonly Promised[] = [
  {
    name: "parallel deltas on different attributes all survive",
    async check(t) {
      const { key } = await t.given({ kept: "yes" });
      const written: Record<string, string> = { kept: "yes" };
      for (let index = 0; index < 100; index++) written[`a${index}`] = String(index);
      await t.parallel(100, (index) =>
        t.applied(key, { [`a${index}`]: String(index) }, index % 2 ? t.store : t.other),
      );
      assert.deepEqual(textsOf(await t.present(key)), written);
    },
  },
  {
    name: "a commit is atomic: what was written together is always read together",
    async check(t) {
      const { key } = await t.given({ left: "0", right: "0" });
      let writing = true;
      const writers = t
        .parallel(200, (index) => {
          const value = String(index);
          return t.applied(key, { left: value, right: value }, index % 2 ? t.store : t.other);
        })
        .finally(() => {
          writing = false;
        });
      const readers = Array.from({ length: 4 }, async (_, index) => {
        while (writing) {
          const { left, right } = textsOf(await t.present(key, index % 2 ? t.store : t.other));
          assert.equal(left, right, "half a commit was read");
          await t.pause();
        }
      });
      await Promise.all([writers, ...readers]);
    },
  },
  {
    name: "a delta deletes what it names, sets win over deletes, and the rest stays",
    async check(t) {
      const { key } = await t.given({ a: "1", b: "2", c: "3" });
      const delta = { delete: ["a", "b", "never-there"], set: bytesOf({ b: "new", d: "4" }) };
      assert.equal((await t.store.apply(key, delta)).status, "applied");
      assert.deepEqual(textsOf(await t.present(key)), { b: "new", c: "3", d: "4" });
    },
  },
  {
    name: "an expectation that fails answers the current state and changes nothing",
    async check(t) {
      const { key, version } = await t.given({ a: "1", b: "1" });
      const newer = await t.applied(key, { a: "2" });
      const before = await t.present(key);
      const wrong: ReadonlyMap<string, Version | null>[] = [
        new Map([["a", version]]),
        new Map([["a", null]]),
        new Map([["absent", version]]),
        new Map<string, Version | null>([
          ["a", newer],
          ["b", null],
        ]),
        new Map([["a", { epoch: "0123456789abcdef" as Epoch, counter: newer.counter }]]),
      ];
      for (const expect of wrong) {
        const set = bytesOf({ a: "3", c: "3" });
        const delta = { expect, set, delete: ["b"], expiresAtMs: t.clock.nowMs() + 900_000 };
        const result = await t.store.apply(key, delta);
        assert.equal(result.status, "conflict");
        assertSameContent((result as { current: SessionRecord }).current, before);
        assertSameContent(await t.present(key), before);
      }
    },
  },
  {
    name: "an expectation that holds commits, also on attributes the delta does not write",
    async check(t) {
      const { key, version } = await t.given({ a: "1", b: "1" });
      const newer = await t.applied(key, { a: "2" });
      const expect = new Map([
        ["a", newer],
        ["b", version],
        ["absent", null],
      ]);
      assert.equal((await t.store.apply(key, { expect, set: bytesOf({ c: "1" }) })).status, "applied");
      assert.deepEqual(textsOf(await t.present(key)), { a: "2", b: "1", c: "1" });
    },
  },
  {
    name: "of parallel applies with one expectation exactly one commits, and counting with it is exact",
    async check(t) {
      const { key } = await t.given({ n: "0" });
      const increment = async (index: number) => {
        const store = index % 2 ? t.store : t.other;
        let record = await t.present(key, store);
        for (let attempt = 0; attempt < 1_000; attempt++) {
          const attribute = record.attributes.get("n");
          assert.ok(attribute);
          const n = Number(Buffer.from(attribute.value).toString());
          const expect = new Map([["n", attribute.version]]);
          const result = await store.apply(key, { expect, set: bytesOf({ n: String(n + 1) }) });
          if (result.status === "applied") return;
          assert.equal(result.status, "conflict");
          record = (result as { current: SessionRecord }).current;
        }
        assert.fail("1,000 conflicts in a row");
      };
      await t.parallel(60, increment);
      assert.deepEqual(textsOf(await t.present(key)), { n: "60" });
    },
  },
  {
    name: "the version in an answer is the one read afterwards, and names the commit in each attribute it wrote",
    async check(t) {
      const { key, version: created } = await t.given({ first: "1", both: "1" });
      const earlier: Version[] = [created];
      let { stamp, birth } = await t.present(key);
      for (let round = 0; round < 5; round++) {
        const version = await t.applied(key, { both: String(round), [`own-${round}`]: "1" });
        const record = await t.present(key, round % 2 ? t.store : t.other);
        assert.deepEqual(record.version, version);
        assert.deepEqual(record.attributes.get("both")?.version, version);
        assert.deepEqual(record.attributes.get(`own-${round}`)?.version, version);
        assert.deepEqual(record.attributes.get("first")?.version, created);
        const last = earlier.at(-1)!;
        if (version.epoch === last.epoch) assert.equal(version.counter, last.counter + 1);
        earlier.push(version);
        for (const each of earlier) assert.ok(covers(record.lineage, each), "a commit left the lineage");
        assert.ok(!covers(record.lineage, { ...version, counter: version.counter + 1 }));
        assert.ok(compareStamps(record.stamp, stamp) > 0, "the stamp did not grow");
        assert.equal(record.birth, birth);
        ({ stamp, birth } = record);
      }
    },
  },
  {
    name: "commits of different sessions are counted apart",
    async check(t) {
      const a = await t.given();
      for (let round = 0; round < 3; round++) await t.applied(a.key, { n: String(round) });
      const b = await t.given();
      const version = await t.applied(b.key, { n: "1" });
      if (version.epoch === b.version.epoch) assert.equal(version.counter, b.version.counter + 1);
    },
  },
  {
    name: "apply changes the principal, and leaves it when the delta names none",
    async check(t) {
      const [ada, bob] = [t.principal("ada"), t.principal("bob")];
      const { key } = await t.given();
      for (const principal of [ada, bob, null]) {
        const delta = { principal: { principal, ageMs: 0 } };
        assert.equal((await t.store.apply(key, delta)).status, "applied");
        assert.equal((await t.present(key)).principal, principal);
        await t.applied(key, { n: "1" });
        assert.equal((await t.present(key)).principal, principal);
      }
    },
  },
  {
    name: "apply answers behind when the store lacks the write the browser has seen, and changes nothing",
    async check(t) {
      const { key, version } = await t.given({ a: "1" });
      const newest = await t.applied(key, { a: "2" });
      const before = await t.present(key);
      const unseen: Version[] = [
        { ...newest, counter: newest.counter + 1 },
        { epoch: "fedcba9876543210" as Epoch, counter: 1 },
      ];
      for (const atLeast of unseen) {
        const delta = { set: bytesOf({ a: "3" }), expiresAtMs: t.clock.nowMs() + 900_000 };
        assert.deepEqual(await t.store.apply(key, delta, { atLeast }), { status: "behind" });
        assertSameContent(await t.present(key), before);
      }
      for (const atLeast of [version, newest]) {
        const result = await t.store.apply(key, { set: bytesOf({ a: "4" }) }, { atLeast });
        assert.equal(result.status, "applied");
      }
      assert.deepEqual(await t.store.apply(t.key(), {}, { atLeast: newest }), { status: "gone" });
    },
  },
  {
    name: "apply on a session that is not there answers gone and creates nothing",
    async check(t) {
      const key = t.key();
      const set = bytesOf({ a: "1" });
      const principal = { principal: t.principal("ada"), ageMs: 0 };
      const expiresAtMs = t.clock.nowMs() + 600_000;
      assert.deepEqual(await t.store.apply(key, { set, principal, expiresAtMs }), { status: "gone" });
      assert.deepEqual(await t.store.apply(key, { expect: new Map([["a", null]]), set }), { status: "gone" });
      await t.absent(key);
      assert.equal((await t.store.create(t.session({}, { key }))).status, "created");
      assert.deepEqual(textsOf(await t.present(key)), {});
    },
  },
  {
    name: "parallel mixed deltas end in a state that some order of them explains",
    check: explainedByAnOrder,
  },
];

/** Everything but the deadlines, which a networked authority may tell a little differently each time. */
export function assertSameContent(actual: SessionRecord, expected: SessionRecord): void {
  assert.ok(actual?.attributes, "the answer holds no record");
  const content = (record: SessionRecord) => ({
    birth: record.birth,
    principal: record.principal,
    state: record.state,
    version: record.version,
    lineage: new Map(record.lineage),
    stamp: record.stamp,
    attributes: new Map(
      [...record.attributes].map(([name, { value, version, stamp }]) => [
        name,
        { value: Buffer.from(value).toString("hex"), version, stamp },
      ]),
    ),
  });
  assert.deepEqual(content(actual), content(expected));
}

/** Replays the commits by their counters: the store's answers themselves say in which order they happened. */
async function explainedByAnOrder(t: Trial): Promise<void> {
  const names = ["a", "b", "c", "d"];
  for (let round = 0; round < 10; round++) {
    const { key, version } = await t.given({ a: "0", b: "0" });
    const plans = Array.from({ length: 24 }, (_, index) => {
      const roles = names.map((name) => ({ name, role: t.random(3) }));
      return {
        set: Object.fromEntries(roles.filter(({ role }) => role === 1).map(({ name }) => [name, `${index}`])),
        delete: roles.filter(({ role }) => role === 2).map(({ name }) => name),
      };
    });
    const commits = await t.parallel(plans.length, async (index) => {
      const plan = plans[index]!;
      const store = index % 2 ? t.store : t.other;
      const result = await store.apply(key, { set: bytesOf(plan.set), delete: plan.delete });
      assert.equal(result.status, "applied");
      return { plan, version: (result as { version: Version }).version };
    });
    // A store that changed its epoch meanwhile (a fail-over) has no such order to show.
    if (commits.some((commit) => commit.version.epoch !== version.epoch)) continue;
    commits.sort((a, b) => a.version.counter - b.version.counter);
    const expected = new Map([
      ["a", "0"],
      ["b", "0"],
    ]);
    for (const { plan } of commits) {
      for (const name of plan.delete) expected.delete(name);
      for (const [name, value] of Object.entries(plan.set)) expected.set(name, value);
    }
    const counters = commits.map((commit) => commit.version.counter);
    assert.equal(new Set(counters).size, counters.length, "two commits have one version");
    assert.deepEqual(new Map(Object.entries(textsOf(await t.present(key)))), expected);
  }
}
