/** A full store refuses what would make it fuller, and nothing else. It evicts nobody. */
import assert from "node:assert/strict";
import type { SessionKey } from "../../core/ids.ts";
import { codeOf, type Promised, refused, type Trial } from "./trial.ts";

const SESSION_BYTES = 2_048;
const SESSIONS_MAX = 2_000;

async function filled(t: Trial): Promise<SessionKey[]> {
  const keys: SessionKey[] = [];
  for (let made = 0; made <= SESSIONS_MAX; made++) {
    const session = t.session(new Map([["bulk", Buffer.alloc(SESSION_BYTES, made)]]));
    try {
      assert.equal((await t.store.create(session)).status, "created");
    } catch (error) {
      assert.equal(codeOf(error), "STORE_FULL");
      await t.absent(session.key);
      assert.ok(keys.length >= 20, `the store was full after ${keys.length} sessions`);
      return keys;
    }
    keys.push(session.key);
  }
  return assert.fail(`the store took ${SESSIONS_MAX} sessions of ${SESSION_BYTES} bytes and is not full`);
}

export const fullness: readonly Promised[] = [
  {
    name: "a full store refuses create with STORE_FULL, and evicted nobody before it did",
    needs: ["small"],
    async check(t) {
      const keys = await filled(t);
      for (const [index, key] of keys.entries()) {
        const bulk = (await t.present(key)).attributes.get("bulk")!.value;
        assert.ok(Buffer.alloc(SESSION_BYTES, index).equals(bulk));
      }
    },
  },
  {
    name: "a full store refuses growing writes whole, and takes shrinking ones",
    needs: ["small"],
    async check(t) {
      const keys = await filled(t);
      const [key, another] = [keys[0]!, keys[1]!];
      const before = await t.present(key);
      const set = new Map([
        ["bulk", Buffer.alloc(SESSION_BYTES * 200, 1)],
        ["more", Buffer.from("x")],
      ]);
      await refused(t.store.apply(key, { set }), "STORE_FULL");
      assert.deepEqual((await t.present(key)).version, before.version);
      assert.equal((await t.present(key)).attributes.has("more"), false);
      const smaller = { set: new Map([["bulk", Buffer.alloc(SESSION_BYTES - 1, 7)]]) };
      assert.equal((await t.store.apply(key, smaller)).status, "applied");
      assert.equal((await t.store.apply(another, { delete: ["bulk"] })).status, "applied");
    },
  },
  {
    name: "a full store goes on reading, touching and ending, and takes sessions again afterwards",
    needs: ["small"],
    async check(t) {
      const keys = await filled(t);
      for (const key of keys.slice(0, 10)) {
        assert.equal(await t.store.touch(key, t.clock.nowMs() + 900_000), true);
        await t.present(key);
      }
      assert.equal(
        (await t.store.supersede(keys[0]!, { successor: t.key(), graceMs: 0 })).status,
        "superseded",
      );
      for (const key of keys.slice(1)) assert.equal(await t.store.destroy(key), true);
      for (const key of keys) await t.absent(key);
      await t.given(new Map([["bulk", Buffer.alloc(SESSION_BYTES, 1)]]));
    },
  },
];
