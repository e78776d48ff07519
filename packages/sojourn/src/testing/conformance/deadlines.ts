/** Idle and absolute deadlines, touch, expiry. */
import assert from "node:assert/strict";
import { bytesOf, type Promised, textsOf } from "./trial.ts";

export const deadlines: readonly Promised[] = [
  {
    name: "a session is there until its idle deadline and gone from it on",
    async check(t) {
      const expiresAtMs = t.clock.nowMs() + t.spanMs;
      const { key } = await t.given({ a: "1" }, { expiresAtMs });
      await t.justBefore(expiresAtMs);
      await t.present(key);
      await t.reach(expiresAtMs);
      await t.absent(key);
    },
  },
  {
    name: "a session is there until its absolute deadline and gone from it on, whatever touched it",
    async check(t) {
      const absoluteExpiresAtMs = t.clock.nowMs() + t.spanMs;
      const farMs = absoluteExpiresAtMs + 600_000;
      const { key } = await t.given({}, { absoluteExpiresAtMs, expiresAtMs: farMs });
      t.sameMoment((await t.present(key)).expiresAtMs, absoluteExpiresAtMs, "expiresAtMs after create");
      assert.equal(await t.store.touch(key, farMs), true);
      t.sameMoment((await t.present(key)).expiresAtMs, absoluteExpiresAtMs, "expiresAtMs after touch");
      const applied = await t.store.apply(key, { expiresAtMs: farMs });
      assert.equal(applied.status, "applied");
      const answered = (applied as { expiresAtMs: number }).expiresAtMs;
      t.sameMoment(answered, absoluteExpiresAtMs, "expiresAtMs of the answer");
      await t.justBefore(absoluteExpiresAtMs);
      await t.present(key);
      await t.reach(absoluteExpiresAtMs);
      await t.absent(key);
    },
  },
  {
    name: "touch() moves the idle deadline and the time of the last activity, and nothing else",
    async check(t) {
      const { key, version, session } = await t.given({ a: "1" });
      await t.clock.advance(t.spanMs);
      const nowMs = t.clock.nowMs();
      const laterMs = session.expiresAtMs + 60_000;
      assert.equal(await t.store.touch(key, laterMs), true);
      const record = await t.present(key);
      t.sameMoment(record.expiresAtMs, laterMs, "expiresAtMs");
      t.sameMoment(record.touchedAtMs, nowMs, "touchedAtMs");
      t.sameMoment(record.absoluteExpiresAtMs, session.absoluteExpiresAtMs, "absoluteExpiresAtMs");
      assert.deepEqual(record.version, version);
      assert.deepEqual(textsOf(record), { a: "1" });
    },
  },
  {
    name: "a touched session lives to its new deadline, and no longer",
    async check(t) {
      const firstMs = t.clock.nowMs() + t.spanMs;
      const secondMs = firstMs + t.spanMs;
      const { key } = await t.given({}, { expiresAtMs: firstMs });
      assert.equal(await t.store.touch(key, secondMs), true);
      await t.justBefore(secondMs);
      await t.present(key);
      await t.reach(secondMs);
      await t.absent(key);
    },
  },
  {
    name: "touch() and apply() never move the deadline back",
    async check(t) {
      const { key, session } = await t.given();
      for (const earlierMs of [session.expiresAtMs - 1 - t.toleranceMs, t.clock.nowMs() + 1, 0]) {
        assert.equal(await t.store.touch(key, earlierMs), true);
        t.sameMoment((await t.present(key)).expiresAtMs, session.expiresAtMs, "expiresAtMs after touch");
        const applied = await t.store.apply(key, { expiresAtMs: earlierMs });
        assert.equal(applied.status, "applied");
        t.sameMoment(
          (applied as { expiresAtMs: number }).expiresAtMs,
          session.expiresAtMs,
          "the answer's expiresAtMs",
        );
        t.sameMoment((await t.present(key)).expiresAtMs, session.expiresAtMs, "expiresAtMs after apply");
      }
    },
  },
  {
    name: "parallel touches leave the latest deadline",
    async check(t) {
      const { key, session } = await t.given();
      await t.parallel(40, (index) =>
        (index % 2 ? t.store : t.other).touch(key, session.expiresAtMs + ((index * 17) % 40) * 1_000),
      );
      t.sameMoment((await t.present(key)).expiresAtMs, session.expiresAtMs + 39_000, "expiresAtMs");
    },
  },
  {
    name: "apply() moves the deadline with the commit, and leaves it when the delta names none",
    async check(t) {
      const { key, session } = await t.given();
      await t.applied(key, { a: "1" });
      t.sameMoment((await t.present(key)).expiresAtMs, session.expiresAtMs, "expiresAtMs");
      await t.clock.advance(t.spanMs);
      const nowMs = t.clock.nowMs();
      const laterMs = session.expiresAtMs + 60_000;
      const applied = await t.store.apply(key, { set: bytesOf({ a: "2" }), expiresAtMs: laterMs });
      assert.equal(applied.status, "applied");
      t.sameMoment((applied as { expiresAtMs: number }).expiresAtMs, laterMs, "the answer's expiresAtMs");
      const record = await t.present(key);
      t.sameMoment(record.expiresAtMs, laterMs, "expiresAtMs");
      t.sameMoment(record.touchedAtMs, nowMs, "touchedAtMs");
    },
  },
  {
    name: "nothing revives an expired session: apply is gone, touch false, supersede gone, destroy false",
    async check(t) {
      const calls = {
        apply: async (key: Parameters<typeof t.absent>[0]) =>
          (await t.store.apply(key, { set: bytesOf({ a: "2" }), expiresAtMs: t.clock.nowMs() + 600_000 }))
            .status,
        touch: (key: Parameters<typeof t.absent>[0]) => t.store.touch(key, t.clock.nowMs() + 600_000),
        supersede: async (key: Parameters<typeof t.absent>[0]) =>
          (await t.store.supersede(key, { successor: t.key() })).status,
        destroy: (key: Parameters<typeof t.absent>[0]) => t.store.destroy(key),
      };
      const answers = { apply: "gone", touch: false, supersede: "gone", destroy: false };
      // Each on a session of its own: the first look at an expired session may be what removes it.
      const expiresAtMs = t.clock.nowMs() + t.spanMs;
      const names = Object.keys(calls) as (keyof typeof calls)[];
      const keys = await Promise.all(names.map(async () => (await t.given({ a: "1" }, { expiresAtMs })).key));
      await t.reach(expiresAtMs);
      for (const [index, name] of names.entries()) {
        assert.equal(await calls[name](keys[index]!), answers[name], `${name} on an expired session`);
        await t.absent(keys[index]!);
      }
    },
  },
  {
    name: "touch() on a session that is not there is false and creates nothing",
    async check(t) {
      const key = t.key();
      assert.equal(await t.store.touch(key, t.clock.nowMs() + 600_000), false);
      await t.absent(key);
    },
  },
  {
    name: "stepping the wall clock neither ends a session nor prolongs it",
    needs: ["wall-step"],
    async check(t) {
      const { clock } = t;
      assert.ok(clock.stepWall, 'the clock cannot step: name "wall-step" in the harness\'s "lacks"');
      for (const stepMs of [86_400_000, -86_400_000]) {
        const { key } = await t.given({}, { expiresAtMs: clock.nowMs() + t.spanMs });
        clock.stepWall(stepMs);
        const { expiresAtMs } = await t.present(key);
        t.sameMoment(expiresAtMs, clock.nowMs() + t.spanMs, "expiresAtMs after the step");
        await t.justBefore(expiresAtMs);
        await t.present(key);
        await t.reach(expiresAtMs);
        await t.absent(key);
      }
    },
  },
];
