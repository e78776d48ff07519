/** Creating, reading, closing. */
import assert from "node:assert/strict";
import { isSessionError } from "../../core/errors.ts";
import { covers, type Epoch } from "../../core/version.ts";
import { bytesOf, type Promised, refused, textsOf } from "./trial.ts";

export const basics: readonly Promised[] = [
  {
    name: "read() of an unknown key is null",
    async check(t) {
      assert.equal(await t.store.read(t.key()), null);
    },
  },
  {
    name: "create() stores every part of a session and answers its version",
    async check(t) {
      const principal = t.principal("ada");
      const createdAtMs = t.clock.nowMs() - 5_000;
      const nowMs = t.clock.nowMs();
      const { key, version, session } = await t.given(
        { cart: "3 books", theme: "dark" },
        { principal: { principal, ageMs: 0 }, createdAtMs },
      );
      const record = await t.present(key);
      assert.deepEqual(textsOf(record), { cart: "3 books", theme: "dark" });
      assert.equal(record.key, key);
      assert.match(record.birth, /^[0-9a-f]{16}$/);
      assert.equal(record.state, "live");
      assert.equal(record.principal, principal);
      assert.deepEqual(record.version, version);
      assert.ok(covers(record.lineage, version), "the lineage does not contain the version");
      assert.match(version.epoch, /^[0-9a-f]{16}$/);
      for (const [name, attribute] of record.attributes) {
        assert.deepEqual(attribute.version, version, `${name} does not name the commit that wrote it`);
        assert.deepEqual(attribute.stamp, record.stamp);
      }
      t.sameMoment(record.createdAtMs, createdAtMs, "createdAtMs");
      t.sameMoment(record.touchedAtMs, nowMs, "touchedAtMs");
      t.sameMoment(record.expiresAtMs, session.expiresAtMs, "expiresAtMs");
      t.sameMoment(record.absoluteExpiresAtMs, session.absoluteExpiresAtMs, "absoluteExpiresAtMs");
    },
  },
  {
    name: "a session created without attributes or principal is there, and began now",
    async check(t) {
      const nowMs = t.clock.nowMs();
      const { key } = await t.given();
      const record = await t.present(key);
      assert.equal(record.attributes.size, 0);
      assert.equal(record.principal, null);
      t.sameMoment(record.createdAtMs, nowMs, "createdAtMs");
    },
  },
  {
    name: "create() refuses a taken key and leaves what is there",
    async check(t) {
      const { key } = await t.given({ owner: "first" });
      const before = await t.present(key);
      for (const store of [t.store, t.other]) {
        assert.deepEqual(await store.create(t.session({ owner: "second" }, { key })), { status: "taken" });
      }
      assert.deepEqual(await t.present(key), before);
    },
  },
  {
    name: "of parallel creates of one key exactly one succeeds, and it is the one that is read",
    async check(t) {
      for (let round = 0; round < 10; round++) {
        const key = t.key();
        const results = await t.parallel(12, (index) =>
          (index % 2 ? t.store : t.other).create(t.session({ winner: String(index) }, { key })),
        );
        const winners = results.flatMap(({ status }, index) => (status === "created" ? [String(index)] : []));
        assert.equal(winners.length, 1);
        assert.deepEqual(textsOf(await t.present(key)).winner, winners[0]);
      }
    },
  },
  {
    name: "what one handle wrote the other reads at once",
    async check(t) {
      const { key } = await t.given({ n: "0" });
      for (let n = 1; n <= 20; n++) {
        const [writer, reader] = n % 2 ? [t.store, t.other] : [t.other, t.store];
        await t.applied(key, { n: String(n) }, writer);
        assert.deepEqual(textsOf(await t.present(key, reader)), { n: String(n) });
      }
    },
  },
  {
    name: "records and arguments are the caller's: changing them changes nothing in the store",
    async check(t) {
      const attributes = bytesOf({ a: "original", b: "original" });
      const { key } = await t.given(attributes);
      const change = bytesOf({ b: "original" });
      assert.equal((await t.store.apply(key, { set: change })).status, "applied");
      const spoil = (values: Iterable<Uint8Array>) => {
        for (const value of values) value.fill(0x21);
      };
      const intact = async () =>
        assert.deepEqual(textsOf(await t.present(key, t.store)), { a: "original", b: "original" });
      spoil(attributes.values());
      spoil(change.values());
      attributes.set("c", Buffer.from("smuggled"));
      await intact();
      const read = await t.present(key, t.store);
      spoil([...read.attributes.values()].map(({ value }) => value));
      (read.attributes as Map<string, unknown>).clear();
      (read.lineage as Map<Epoch, number>).clear();
      await intact();
      const conflict = await t.store.apply(key, { expect: new Map([["a", null]]) });
      assert.equal(conflict.status, "conflict");
      const { current } = conflict as { current: typeof read };
      spoil([...current.attributes.values()].map(({ value }) => value));
      await intact();
      const superseded = await t.store.supersede(key, { successor: t.key(), graceMs: t.spanMs * 10 });
      assert.equal(superseded.status, "superseded");
      const { final } = superseded as { final: typeof read };
      spoil([...final.attributes.values()].map(({ value }) => value));
      await intact();
    },
  },
  {
    name: "a call with an aborted signal rejects and does nothing",
    async check(t) {
      const { key } = await t.given({ a: "1" });
      const before = await t.present(key);
      const signal = AbortSignal.abort();
      const unborn = t.session();
      const calls = [
        t.store.read(key, { signal }),
        t.store.create(unborn, { signal }),
        t.store.apply(key, { set: bytesOf({ a: "2" }) }, { signal }),
        t.store.touch(key, t.clock.nowMs() + 900_000, { signal }),
        t.store.supersede(key, { successor: t.key(), signal }),
        t.store.destroy(key, { signal }),
      ];
      const outcomes = await Promise.allSettled(calls);
      assert.deepEqual(
        outcomes.map(({ status }) => status),
        calls.map(() => "rejected"),
      );
      assert.deepEqual(await t.present(key), before);
      await t.absent(unborn.key);
    },
  },
  {
    name: "a call aborted in the middle settles; its commit happened whole or not at all, and the store goes on",
    async check(t) {
      const { key } = await t.given();
      const outcomes = await t.parallel(40, async (index) => {
        const abort = new AbortController();
        const set = bytesOf({ [`left-${index}`]: "x", [`right-${index}`]: "x" });
        const call = t.store.apply(key, { set }, { signal: abort.signal });
        if (index % 4) await (index % 4 === 1 ? t.pause() : Promise.resolve());
        abort.abort();
        return t.settles(
          call.then(
            ({ status }) => status,
            () => "rejected",
          ),
          "an aborted apply",
        );
      });
      // What was sent before its abort may still be on its way; a write behind it on the same handle is not.
      await t.applied(key, { last: "1" });
      const { attributes } = await t.present(key, t.store);
      for (const [index, outcome] of outcomes.entries()) {
        assert.ok(outcome === "applied" || outcome === "rejected", outcome);
        const [left, right] = [attributes.has(`left-${index}`), attributes.has(`right-${index}`)];
        assert.equal(left, right, "half a commit");
        if (outcome === "applied") assert.ok(left, "an answered commit is missing");
      }
    },
  },
  {
    name: "close() while busy settles every call, and later calls reject with STORE_CLOSED",
    async check(t) {
      const { key } = await t.given();
      const busy = Array.from({ length: 4 * t.concurrency }, (_, index) =>
        index % 2 ? t.store.read(key) : t.store.apply(key, { set: bytesOf({ [`n${index % 16}`]: "1" }) }),
      );
      const outcomes = Promise.allSettled(busy);
      await t.settles(t.store.close(), "close()");
      for (const outcome of await t.settles(outcomes, "a call under way at close()")) {
        if (outcome.status === "rejected") {
          assert.ok(isSessionError(outcome.reason), `a call failed with ${String(outcome.reason)}`);
        }
      }
      await t.settles(t.store.close(), "a second close()");
      await refused(t.settles(t.store.read(key), "read() after close()"), "STORE_CLOSED");
      await refused(t.settles(t.store.create(t.session()), "create() after close()"), "STORE_CLOSED");
      await refused(t.settles(t.store.apply(key, {}), "apply() after close()"), "STORE_CLOSED");
      await refused(t.settles(t.store.touch(key, 0), "touch() after close()"), "STORE_CLOSED");
      await refused(t.settles(t.store.destroy(key), "destroy() after close()"), "STORE_CLOSED");
      const successor = t.key();
      await refused(t.settles(t.store.supersede(key, { successor }), "supersede()"), "STORE_CLOSED");
    },
  },
];
