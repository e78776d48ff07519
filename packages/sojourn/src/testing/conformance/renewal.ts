/** supersede: the old id's final state, its frozen snapshot for a grace period, and which successors live. */
import assert from "node:assert/strict";
import type { SessionKey } from "../../core/ids.ts";
import type { SessionRecord } from "../../core/record.ts";
import { bytesOf, type Promised, type Trial, textsOf } from "./trial.ts";

const GRACE_MS = 60_000;

/** Supersedes `key`, creates the successor from the final state as a renewal does, and returns its key. */
async function renewed(t: Trial, key: SessionKey, more: Record<string, string> = {}): Promise<SessionKey> {
  const successor = t.key();
  const final = await superseded(t, key, successor);
  await t.given({ ...textsOf(final), ...more }, { key: successor });
  return successor;
}

async function superseded(
  t: Trial,
  key: SessionKey,
  successor: SessionKey,
  graceMs = GRACE_MS,
): Promise<SessionRecord> {
  const result = await t.store.supersede(key, { successor, graceMs });
  assert.equal(result.status, "superseded");
  return (result as { final: SessionRecord }).final;
}

export const renewal: readonly Promised[] = [
  {
    name: "supersede() returns the final state and refuses later writes under the old id",
    async check(t) {
      const principal = t.principal("ada");
      const createdAtMs = t.clock.nowMs() - 60_000;
      const more = { principal: { principal, ageMs: 0 }, createdAtMs };
      const { key, session } = await t.given({ a: "1" }, more);
      await t.applied(key, { b: "2" });
      const final = await superseded(t, key, t.key());
      assert.deepEqual(textsOf(final), { a: "1", b: "2" });
      assert.equal(final.principal, principal);
      t.sameMoment(final.createdAtMs, createdAtMs, "createdAtMs");
      t.sameMoment(final.expiresAtMs, session.expiresAtMs, "expiresAtMs");
      t.sameMoment(final.absoluteExpiresAtMs, session.absoluteExpiresAtMs, "absoluteExpiresAtMs");
      for (const store of [t.store, t.other]) {
        assert.deepEqual(await store.apply(key, { set: bytesOf({ a: "late" }) }), { status: "gone" });
        assert.equal(await store.touch(key, t.clock.nowMs() + 900_000), false);
        assert.deepEqual(await store.create(t.session({}, { key })), { status: "taken" });
      }
      assert.deepEqual(textsOf(await t.present(key)), { a: "1", b: "2" });
    },
  },
  {
    name: "a superseded id answers reads with its snapshot, never with its successor",
    async check(t) {
      const { key } = await t.given({ cart: "1" });
      const successor = await renewed(t, key, { user: "ada" });
      await t.applied(successor, { cart: "2" });
      for (const store of [t.store, t.other]) {
        const old = await t.present(key, store);
        assert.equal(old.state, "superseded");
        assert.equal(old.principal, null);
        assert.deepEqual(textsOf(old), { cart: "1" });
      }
      assert.deepEqual(textsOf(await t.present(successor)), { cart: "2", user: "ada" });
    },
  },
  {
    name: "a superseded id is gone when its grace is over, and cannot be created again",
    async check(t) {
      const { key } = await t.given();
      const untilMs = t.clock.nowMs() + t.spanMs;
      await superseded(t, key, t.key(), t.spanMs);
      await t.justBefore(untilMs);
      await t.present(key);
      await t.reach(untilMs + t.toleranceMs);
      await t.absent(key);
      assert.deepEqual(await t.store.create(t.session({}, { key })), { status: "taken" });
      assert.deepEqual(await t.store.supersede(key, { successor: t.key() }), { status: "gone" });
    },
  },
  {
    name: "grace 0 ends the old id at once, and still returns its final state",
    async check(t) {
      const { key } = await t.given({ a: "1" });
      assert.deepEqual(textsOf(await superseded(t, key, t.key(), 0)), { a: "1" });
      await t.absent(key);
      assert.deepEqual(await t.store.create(t.session({}, { key })), { status: "taken" });
    },
  },
  {
    name: "a superseded id dies with its successor, created or not, through any number of renewals",
    async check(t) {
      const first = await t.given({ a: "1" });
      const second = await renewed(t, first.key);
      const third = await renewed(t, second);
      await t.present(first.key);
      await t.present(second);
      await t.store.destroy(third);
      for (const key of [third, second, first.key]) await t.absent(key);
      const { key } = await t.given();
      const unborn = t.key();
      await superseded(t, key, unborn);
      await t.store.destroy(unborn);
      await t.absent(key);
    },
  },
  {
    name: "superseding an id again starts from the same snapshot and ends the successor nobody came back with",
    async check(t) {
      const { key } = await t.given({ cart: "1" });
      const lost = await renewed(t, key, { user: "ada" });
      const next = t.key();
      assert.deepEqual(textsOf(await superseded(t, key, next)), { cart: "1" });
      await t.absent(lost);
      assert.deepEqual(await t.store.apply(lost, {}), { status: "gone" });
      await t.present(key);
      await t.given({}, { key: next });
      await t.store.destroy(next);
      await t.absent(key);
    },
  },
  {
    name: "a successor that was superseded away before its creation cannot be created",
    async check(t) {
      const { key } = await t.given();
      const unborn = t.key();
      await superseded(t, key, unborn);
      await superseded(t, key, t.key());
      assert.deepEqual(await t.store.create(t.session({}, { key: unborn })), { status: "taken" });
    },
  },
  {
    name: "superseding an id again leaves a successor alone whose browser has come back",
    async check(t) {
      for (const comesBack of ["touch", "apply"]) {
        const { key } = await t.given({ cart: "1" });
        const delivered = await renewed(t, key);
        if (comesBack === "apply") await t.applied(delivered, { cart: "2" });
        else assert.equal(await t.store.touch(delivered, t.clock.nowMs() + 900_000), true);
        assert.deepEqual(textsOf(await superseded(t, key, t.key())), { cart: "1" });
        await t.present(delivered);
      }
    },
  },
  {
    name: "superseding an id again does not prolong its grace",
    async check(t) {
      const { key } = await t.given();
      const untilMs = t.clock.nowMs() + t.spanMs;
      await superseded(t, key, t.key(), t.spanMs);
      await t.clock.advance(Math.floor(t.spanMs / 4));
      await superseded(t, key, t.key(), GRACE_MS);
      await t.reach(untilMs + t.toleranceMs);
      await t.absent(key);
    },
  },
  {
    name: "destroying a superseded id ends its snapshot too",
    async check(t) {
      const { key } = await t.given();
      await renewed(t, key);
      await t.store.destroy(key);
      await t.absent(key);
    },
  },
  {
    name: "supersede() of a session that is not there is gone",
    async check(t) {
      const key = t.key();
      assert.deepEqual(await t.store.supersede(key, { successor: t.key() }), { status: "gone" });
      await t.absent(key);
    },
  },
  {
    name: "a write in parallel with supersede is in the final state or answered gone",
    async check(t) {
      for (let round = 0; round < 40; round++) {
        const { key } = await t.given();
        const write = async (index: number) => {
          for (let wait = t.random(4); wait > 0; wait--) await Promise.resolve();
          const store = index % 2 ? t.store : t.other;
          return (await store.apply(key, { set: bytesOf({ [`n${index}`]: "1" }) })).status;
        };
        const early = Array.from({ length: t.random(6) }, (_, index) => write(index));
        const final = superseded(t, key, t.key());
        const late = Array.from({ length: 4 }, (_, index) => write(early.length + index));
        const statuses = await Promise.all([...early, ...late]);
        const inFinal = textsOf(await final);
        for (const [index, status] of statuses.entries()) {
          assert.equal(status, inFinal[`n${index}`] === "1" ? "applied" : "gone");
        }
        assert.deepEqual(textsOf(await t.present(key)), inFinal);
      }
    },
  },
  {
    name: "superseded sessions are neither listed nor counted",
    needs: ["enumerable"],
    async check(t) {
      const principal = t.principal("ada");
      const { key } = await t.given({}, { principal: { principal, ageMs: 0 } });
      await superseded(t, key, t.key());
      assert.deepEqual(await t.enumerable.list({ principal }), { sessions: [] });
      assert.deepEqual(await t.enumerable.list(), { sessions: [] });
      assert.equal(await t.enumerable.count({ principal }), 0);
      assert.equal(await t.enumerable.count(), 0);
    },
  },
];
