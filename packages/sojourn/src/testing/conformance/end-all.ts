/** endAll: every session of a principal, and every login of it that began before, committed or not. */
import assert from "node:assert/strict";
import { bytesOf, type Promised, type Trial, textsOf } from "./trial.ts";

/** More than any rounding on the way. */
const apart = (t: Trial) => t.clock.advance(5 + 2 * t.toleranceMs);

export const endAll: readonly Promised[] = [
  {
    name: "endAll() ends the principal's sessions for good, nobody else's, and says how many",
    needs: ["enumerable"],
    async check(t) {
      const [ada, bob] = [t.principal("ada"), t.principal("bob")];
      const owned = async (principal: string) =>
        (await t.given({}, { principal: { principal, ageMs: 0 } })).key;
      const adas = await t.parallel(9, () => owned(ada));
      const others = [await owned(bob), (await t.given()).key];
      const left = await owned(ada);
      await t.store.apply(left, { principal: { principal: null, ageMs: 0 } });
      await apart(t);
      assert.equal(await t.enumerable.endAll(ada), adas.length);
      for (const key of adas) {
        await t.absent(key);
        assert.deepEqual(await t.store.apply(key, {}), { status: "gone" });
        assert.deepEqual(await t.store.create(t.session({}, { key })), { status: "taken" });
      }
      for (const key of [...others, left]) await t.present(key);
      assert.equal(await t.enumerable.endAll(ada), 0);
      assert.equal(await t.enumerable.endAll(t.principal("nobody")), 0);
    },
  },
  {
    name: "endAll() leaves the excepted session alone, and what it wrote and writes",
    needs: ["enumerable"],
    async check(t) {
      const principal = t.principal("ada");
      const owned = () => t.given({ a: "1" }, { principal: { principal, ageMs: 0 } });
      const [here, there] = [await owned(), await owned()];
      await apart(t);
      assert.equal(await t.enumerable.endAll(principal, { except: here.key }), 1);
      await t.absent(there.key);
      await t.applied(here.key, { b: "2" });
      assert.deepEqual(textsOf(await t.present(here.key)), { a: "1", b: "2" });
    },
  },
  {
    name: "a login that began before endAll and commits after it is gone: a new session",
    needs: ["enumerable"],
    async check(t) {
      const principal = t.principal("ada");
      await t.enumerable.endAll(principal);
      await apart(t);
      const ageMs = 1_000 + 4 * t.toleranceMs;
      const session = t.session({}, { principal: { principal, ageMs } });
      assert.deepEqual(await t.other.create(session), { status: "gone" });
      await t.absent(session.key);
      assert.equal(await t.enumerable.count({ principal }), 0);
    },
  },
  {
    name: "a login that began before endAll and commits after it is gone, with the session it was made in",
    needs: ["enumerable"],
    async check(t) {
      const principal = t.principal("ada");
      const { key } = await t.given({ cart: "1" });
      await t.enumerable.endAll(principal);
      await apart(t);
      const delta = {
        set: bytesOf({ user: "ada" }),
        principal: { principal, ageMs: 1_000 + 4 * t.toleranceMs },
      };
      assert.deepEqual(await t.other.apply(key, delta), { status: "gone" });
      await t.absent(key);
      assert.deepEqual(await t.store.create(t.session({}, { key })), { status: "taken" });
    },
  },
  {
    name: "a login that began after endAll lives, and another principal's does anyway",
    needs: ["enumerable"],
    async check(t) {
      const [ada, bob] = [t.principal("ada"), t.principal("bob")];
      await t.enumerable.endAll(ada);
      const bobs = await t.given({}, { principal: { principal: bob, ageMs: 60_000 } });
      await apart(t);
      const created = await t.given({}, { principal: { principal: ada, ageMs: 0 } });
      const { key } = await t.given();
      const delta = { principal: { principal: ada, ageMs: 0 } };
      assert.equal((await t.store.apply(key, delta)).status, "applied");
      for (const each of [bobs.key, created.key, key]) await t.present(each);
    },
  },
  {
    name: "endAll() also ends what superseded ids of the principal still show",
    needs: ["enumerable"],
    async check(t) {
      const principal = t.principal("ada");
      const loggedIn = await t.given({}, { principal: { principal, ageMs: 0 } });
      await t.store.supersede(loggedIn.key, { successor: t.key(), graceMs: 60_000 });
      const anonymous = await t.given();
      const successor = t.key();
      await t.store.supersede(anonymous.key, { successor, graceMs: 60_000 });
      await t.given({}, { key: successor, principal: { principal, ageMs: 0 } });
      await apart(t);
      assert.equal(await t.enumerable.endAll(principal), 1);
      for (const key of [loggedIn.key, anonymous.key, successor]) await t.absent(key);
    },
  },
  {
    name: "no interleaving of endAll() with a login that began before it leaves a session of the principal",
    needs: ["enumerable"],
    timeoutMs: 60_000,
    async check(t) {
      for (let round = 0; round < 80; round++) {
        const principal = t.principal("ada");
        const here = await t.given({ cart: "1" });
        const already = await t.given({}, { principal: { principal, ageMs: 0 } });
        const unborn = t.key();
        const beganAtMs = t.clock.nowMs();
        await apart(t);
        const login = async (commit: (ageMs: number) => Promise<unknown>) => {
          for (let wait = t.random(5); wait > 0; wait--) await Promise.resolve();
          await commit(t.clock.nowMs() - beganAtMs + t.toleranceMs);
        };
        const end = async () => {
          for (let wait = t.random(5); wait > 0; wait--) await Promise.resolve();
          await t.enumerable.endAll(principal);
        };
        const moves = [
          () => login((ageMs) => t.store.apply(here.key, { principal: { principal, ageMs } })),
          () =>
            login((ageMs) => t.other.create(t.session({}, { key: unborn, principal: { principal, ageMs } }))),
          end,
        ];
        const first = t.random(moves.length);
        await Promise.all(moves.map((_, index) => moves[(first + index) % moves.length]!()));
        for (const key of [here.key, unborn, already.key]) await t.absent(key);
        assert.equal(await t.enumerable.count({ principal }), 0);
      }
    },
  },
];
