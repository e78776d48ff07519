/** Operation ids: a write repeated with its id changes nothing and gives the first answer, whatever happened since. */
import assert from "node:assert/strict";
import type { SessionRecord } from "../../core/record.ts";
import { OPERATION_ID_KEPT_MS } from "../../store/store.ts";
import { assertSameContent } from "./merging.ts";
import { bytesOf, type Promised, textsOf } from "./trial.ts";

export const operations: readonly Promised[] = [
  {
    name: "a repeated create gives the first answer, also after a later write and after the session ended",
    async check(t) {
      const operationId = t.operationId();
      const session = t.session({ a: "1" });
      const first = await t.store.create(session, { operationId });
      assert.equal(first.status, "created");
      assert.deepEqual(await t.other.create(session, { operationId }), first);
      await t.applied(session.key, { a: "2" });
      assert.deepEqual(await t.store.create(session, { operationId }), first);
      assert.deepEqual(textsOf(await t.present(session.key)), { a: "2" });
      await t.store.destroy(session.key);
      assert.deepEqual(await t.other.create(session, { operationId }), first);
      await t.absent(session.key);
    },
  },
  {
    name: "a repeated apply gives the first answer and does not undo a later write",
    async check(t) {
      const { key } = await t.given({ a: "0" });
      const operationId = t.operationId();
      const delta = { set: bytesOf({ a: "1" }) };
      const first = await t.store.apply(key, delta, { operationId });
      assert.equal(first.status, "applied");
      const once = await t.present(key);
      assert.deepEqual(await t.other.apply(key, delta, { operationId }), first);
      assertSameContent(await t.present(key), once);
      await t.applied(key, { a: "2" });
      assert.deepEqual(await t.store.apply(key, delta, { operationId }), first);
      assert.deepEqual(textsOf(await t.present(key)), { a: "2" });
      await t.store.destroy(key);
      assert.deepEqual(await t.store.apply(key, delta, { operationId }), first);
      await t.absent(key);
    },
  },
  {
    name: "the operation id is looked up before expectations: a repeated conditional write is no conflict",
    async check(t) {
      const { key, version } = await t.given({ n: "0" });
      const operationId = t.operationId();
      const delta = { expect: new Map([["n", version]]), set: bytesOf({ n: "1" }) };
      const first = await t.store.apply(key, delta, { operationId });
      assert.equal(first.status, "applied");
      assert.deepEqual(await t.store.apply(key, delta, { operationId }), first);
      assert.deepEqual(textsOf(await t.present(key)), { n: "1" });
    },
  },
  {
    name: "the operation id is looked up before atLeast: a repeated write is not behind",
    async check(t) {
      const { key, version } = await t.given();
      const operationId = t.operationId();
      const delta = { set: bytesOf({ n: "1" }) };
      const first = await t.store.apply(key, delta, { operationId, atLeast: version });
      assert.equal(first.status, "applied");
      const atLeast = { ...version, counter: version.counter + 100 };
      assert.deepEqual(await t.store.apply(key, delta, { operationId, atLeast }), first);
    },
  },
  {
    name: "a repeated apply that conflicted conflicts again with the same state, even if it would hold now",
    async check(t) {
      const { key } = await t.given({ n: "0" });
      const operationId = t.operationId();
      const delta = { expect: new Map([["n", null]]), set: bytesOf({ n: "ghost" }) };
      const first = await t.store.apply(key, delta, { operationId });
      assert.equal(first.status, "conflict");
      assert.equal((await t.store.apply(key, { delete: ["n"] })).status, "applied");
      const again = await t.store.apply(key, delta, { operationId });
      assert.equal(again.status, "conflict");
      assertSameContent(
        (again as { current: SessionRecord }).current,
        (first as { current: SessionRecord }).current,
      );
      assert.deepEqual(textsOf(await t.present(key)), {});
    },
  },
  {
    name: "a repeated touch gives the first answer and moves nothing",
    async check(t) {
      const session = t.session();
      const operationId = t.operationId();
      const laterMs = session.expiresAtMs + 60_000;
      assert.equal(await t.store.touch(session.key, laterMs, { operationId }), false);
      await t.store.create(session);
      assert.equal(await t.store.touch(session.key, laterMs, { operationId }), false);
      t.sameMoment((await t.present(session.key)).expiresAtMs, session.expiresAtMs, "expiresAtMs");
      const second = t.operationId();
      assert.equal(await t.store.touch(session.key, laterMs, { operationId: second }), true);
      await t.store.destroy(session.key);
      assert.equal(await t.other.touch(session.key, laterMs, { operationId: second }), true);
      await t.absent(session.key);
    },
  },
  {
    name: "a repeated supersede gives the same final state, also when the old id is gone",
    async check(t) {
      for (const graceMs of [0, 60_000]) {
        const { key } = await t.given({ cart: "3" });
        const options = { operationId: t.operationId(), successor: t.key(), graceMs };
        const first = await t.store.supersede(key, options);
        assert.equal(first.status, "superseded");
        await t.store.create(t.session({ cart: "4" }, { key: options.successor }));
        const again = await t.other.supersede(key, options);
        assert.equal(again.status, "superseded");
        assertSameContent(
          (again as { final: SessionRecord }).final,
          (first as { final: SessionRecord }).final,
        );
        assert.deepEqual(textsOf(await t.present(options.successor)), { cart: "4" });
      }
    },
  },
  {
    name: "a repeated destroy answers that it ended the session, again",
    async check(t) {
      const { key } = await t.given();
      const operationId = t.operationId();
      assert.equal(await t.store.destroy(key, { operationId }), true);
      assert.equal(await t.other.destroy(key, { operationId }), true);
      assert.equal(await t.store.destroy(key), false);
    },
  },
  {
    name: "a repeated endAll answers the same number and does not end who logged in since",
    needs: ["enumerable"],
    async check(t) {
      const principal = t.principal("ada");
      const login = () => t.given({}, { principal: { principal, ageMs: 0 } });
      const before = [await login(), await login()];
      const operationId = t.operationId();
      await t.clock.advance(5 + t.toleranceMs);
      assert.equal(await t.enumerable.endAll(principal, { operationId }), 2);
      await t.clock.advance(5 + t.toleranceMs);
      const since = await login();
      assert.equal(await t.enumerable.endAll(principal, { operationId }), 2);
      for (const { key } of before) await t.absent(key);
      await t.present(since.key);
    },
  },
  {
    name: "parallel duplicates of one write have one effect and one answer",
    async check(t) {
      const { key, version } = await t.given({ log: "" });
      for (let round = 0; round < 10; round++) {
        const operationId = t.operationId();
        const delta = { set: bytesOf({ [`round-${round}`]: "1" }) };
        const answers = await t.parallel(8, (index) =>
          (index % 2 ? t.store : t.other).apply(key, delta, { operationId }),
        );
        for (const answer of answers) assert.deepEqual(answer, answers[0]);
      }
      const { version: last } = await t.present(key);
      if (last.epoch === version.epoch) assert.equal(last.counter, version.counter + 10);
    },
  },
  {
    name: `operation ids are remembered for at least ${OPERATION_ID_KEPT_MS} ms, however many writes follow`,
    timeoutMs: 60_000,
    async check(t) {
      const { key } = await t.given({ a: "0" });
      const firstMs = t.clock.nowMs();
      const operationId = t.operationId();
      const delta = { set: bytesOf({ a: "1" }) };
      const first = await t.store.apply(key, delta, { operationId });
      await t.parallel(1_000, (index) => t.applied(key, { other: String(index) }));
      for (const share of [0.5, 0.99]) {
        await t.reach(firstMs + share * OPERATION_ID_KEPT_MS - 3 * t.toleranceMs);
        await t.store.touch(key, 0, { operationId: t.operationId() });
      }
      assert.deepEqual(await t.store.apply(key, delta, { operationId }), first);
    },
  },
];
