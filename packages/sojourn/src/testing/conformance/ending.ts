/** destroy: final, against every late writer. */
import assert from "node:assert/strict";
import { bytesOf, type Promised } from "./trial.ts";

export const ending: readonly Promised[] = [
  {
    name: "destroy() ends a session for good, and ending it again is harmless",
    async check(t) {
      const { key } = await t.given({ a: "1" });
      assert.equal(await t.store.destroy(key), true);
      await t.absent(key);
      assert.equal(await t.store.destroy(key), false);
      assert.equal(await t.other.destroy(key), false);
      await t.absent(key);
    },
  },
  {
    name: "of parallel destroys exactly one says that it ended the session",
    async check(t) {
      const { key } = await t.given();
      const answers = await t.parallel(12, (index) => (index % 2 ? t.store : t.other).destroy(key));
      assert.equal(answers.filter(Boolean).length, 1);
      await t.absent(key);
    },
  },
  {
    name: "nothing revives a destroyed session: create is taken, apply gone, touch false, supersede gone",
    async check(t) {
      const { key } = await t.given({ a: "1" });
      await t.store.destroy(key);
      for (const store of [t.store, t.other]) {
        assert.deepEqual(await store.create(t.session({}, { key })), { status: "taken" });
        assert.deepEqual(await store.apply(key, { set: bytesOf({ a: "2" }) }), { status: "gone" });
        assert.equal(await store.touch(key, t.clock.nowMs() + 600_000), false);
        assert.deepEqual(await store.supersede(key, { successor: t.key() }), { status: "gone" });
        await t.absent(key);
      }
    },
  },
  {
    name: "destroying an unknown key is remembered: it cannot be created afterwards",
    async check(t) {
      const key = t.key();
      assert.equal(await t.store.destroy(key), false);
      assert.deepEqual(await t.other.create(t.session({}, { key })), { status: "taken" });
      await t.absent(key);
    },
  },
  {
    name: "an end outlives the deadlines of what it ended",
    async check(t) {
      const expiresAtMs = t.clock.nowMs() + t.spanMs;
      const { key } = await t.given({}, { expiresAtMs, absoluteExpiresAtMs: expiresAtMs });
      await t.store.destroy(key);
      await t.reach(expiresAtMs + t.spanMs);
      assert.deepEqual(await t.store.create(t.session({}, { key })), { status: "taken" });
      await t.absent(key);
    },
  },
  {
    name: "no late writer brings back a session whose end was answered",
    async check(t) {
      for (let round = 0; round < 60; round++) {
        const { key } = await t.given({ a: "1" });
        const before = t.random(6);
        const write = async (index: number) => {
          for (let wait = t.random(4); wait > 0; wait--) await Promise.resolve();
          const store = index % 2 ? t.store : t.other;
          if (index % 3 === 0) await store.apply(key, { set: bytesOf({ [`n${index}`]: "1" }) });
          else if (index % 3 === 1) await store.touch(key, t.clock.nowMs() + 900_000);
          else await store.create(t.session({}, { key }));
        };
        const early = Array.from({ length: before }, (_, index) => write(index));
        const end = (round % 2 ? t.store : t.other).destroy(key);
        const late = Array.from({ length: 6 }, (_, index) => write(index));
        assert.equal(await end, true);
        await t.absent(key);
        await Promise.all([...early, ...late]);
        await t.absent(key);
      }
    },
  },
];
