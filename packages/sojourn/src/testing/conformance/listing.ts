/** Looking through a store: metadata only, each session once, also while everything changes. */
import assert from "node:assert/strict";
import type { SessionKey } from "../../core/ids.ts";
import type { ListOptions, SessionSummary } from "../../store/store.ts";
import { bytesOf, type Promised, refused, type Trial } from "./trial.ts";

/** Follows the cursor to the last page, running `between` after each. */
async function paged(
  t: Trial,
  options: ListOptions,
  between?: () => Promise<unknown>,
): Promise<SessionSummary[]> {
  const all: SessionSummary[] = [];
  const cursors = new Set<string>();
  let cursor: string | undefined;
  do {
    const page = await t.enumerable.list(cursor === undefined ? options : { ...options, cursor });
    assert.ok(page.sessions.length <= (options.limit ?? 100), "a page is longer than its limit");
    all.push(...page.sessions);
    cursor = page.next;
    if (cursor !== undefined) assert.ok(!cursors.has(cursor), "a cursor came twice: paging never ends");
    cursors.add(cursor ?? "");
    await between?.();
  } while (cursor !== undefined);
  return all;
}

function keysOf(sessions: readonly SessionSummary[]): SessionKey[] {
  return sessions.map(({ key }) => key).sort();
}

export const listing: readonly Promised[] = [
  {
    name: "list() gives a session's metadata and no values",
    needs: ["enumerable"],
    async check(t) {
      assert.deepEqual(await t.enumerable.list(), { sessions: [] });
      const principal = t.principal("ada");
      const attributes = bytesOf({ cart: "secret-value", é: "12" });
      const { key } = await t.given(attributes, { principal: { principal, ageMs: 0 } });
      const page = await t.enumerable.list();
      assert.equal(page.next, undefined);
      assert.equal(page.sessions.length, 1);
      const summary = page.sessions[0]!;
      const record = await t.present(key);
      assert.equal(summary.key, key);
      assert.equal(summary.principal, principal);
      assert.equal(summary.attributeCount, 2);
      assert.equal(summary.attributeBytes, "cart".length + "secret-value".length + 2 + 2);
      t.sameMoment(summary.createdAtMs, record.createdAtMs, "createdAtMs");
      t.sameMoment(summary.touchedAtMs, record.touchedAtMs, "touchedAtMs");
      t.sameMoment(summary.expiresAtMs, record.expiresAtMs, "expiresAtMs");
      t.sameMoment(summary.absoluteExpiresAtMs, record.absoluteExpiresAtMs, "absoluteExpiresAtMs");
      assert.ok(!JSON.stringify(page).includes("secret-value"), "a listing holds a value");
    },
  },
  {
    name: "pages of any size list each session exactly once",
    needs: ["enumerable"],
    async check(t) {
      const made = await t.parallel(137, async () => (await t.given()).key);
      for (const limit of [1, 7, 100, 137, 1000]) {
        assert.deepEqual(keysOf(await paged(t, { limit })), [...made].sort(), `pages of ${limit}`);
      }
      assert.equal(await t.enumerable.count(), made.length);
    },
  },
  {
    name: "list() and count() by principal know who owns a session now",
    needs: ["enumerable"],
    async check(t) {
      const [ada, bob] = [t.principal("ada"), t.principal("bob")];
      const owned = (principal: string) => t.given({}, { principal: { principal, ageMs: 0 } });
      const adas = await t.parallel(12, async () => (await owned(ada)).key);
      const bobs = await t.parallel(5, async () => (await owned(bob)).key);
      await t.given();
      assert.deepEqual(keysOf(await paged(t, { principal: ada, limit: 5 })), [...adas].sort());
      const handedOver = adas.pop()!;
      await t.store.apply(handedOver, { principal: { principal: bob, ageMs: 0 } });
      await t.store.apply(bobs.pop()!, { principal: { principal: null, ageMs: 0 } });
      await t.store.destroy(adas.pop()!);
      assert.deepEqual(keysOf(await paged(t, { principal: ada, limit: 5 })), [...adas].sort());
      assert.deepEqual(keysOf(await paged(t, { principal: bob, limit: 5 })), [...bobs, handedOver].sort());
      assert.equal(await t.enumerable.count({ principal: ada }), adas.length);
      assert.equal(await t.enumerable.count({ principal: bob }), bobs.length + 1);
      assert.equal(await t.enumerable.count({ principal: t.principal("nobody") }), 0);
    },
  },
  {
    name: "expired and destroyed sessions are neither listed nor counted",
    needs: ["enumerable"],
    async check(t) {
      const principal = { principal: t.principal("ada"), ageMs: 0 };
      const expiresAtMs = t.clock.nowMs() + t.spanMs;
      await t.given({}, { expiresAtMs, principal });
      await t.store.destroy((await t.given({}, { principal })).key);
      const { key } = await t.given({}, { principal });
      await t.reach(expiresAtMs);
      for (const options of [{}, { principal: principal.principal }]) {
        assert.deepEqual(keysOf((await t.enumerable.list(options)).sessions), [key]);
        assert.equal(await t.enumerable.count(options), 1);
      }
    },
  },
  {
    name: "list() refuses a limit outside 1..1000",
    needs: ["enumerable"],
    async check(t) {
      for (const limit of [0, -1, 1001, 1.5, Number.NaN]) {
        await refused(t.enumerable.list({ limit }), "INVALID_OPTION");
      }
    },
  },
  {
    name: "paging through very many sessions under change lists each that lived throughout exactly once",
    needs: ["enumerable"],
    timeoutMs: 300_000,
    async check(t) {
      const count = t.pagingSessions;
      const keys = await t.parallel(count, async () => (await t.given({ n: "0" })).key);
      // Every fifth is destroyed on the way, every seventh written to; as many are born as die.
      const doomed = keys.filter((_, index) => index % 5 === 0);
      const survivors = keys.filter((_, index) => index % 5 !== 0);
      const changesPerPage = Math.ceil(doomed.length / Math.max(1, count / 1000));
      let [ended, written] = [0, 0];
      const between = () =>
        t.parallel(changesPerPage, async (index) => {
          const victim = doomed[ended++];
          if (victim) await t.other.destroy(victim);
          if (index % 2 === 0) await t.given();
          const target = survivors[(7 * written++) % survivors.length]!;
          if (index % 3 === 0) await t.applied(target, { n: "1" }, t.other);
          else if (index % 3 === 1) await t.other.touch(target, t.clock.nowMs() + 900_000);
        });
      const times = new Map<SessionKey, number>();
      for (const { key } of await paged(t, { limit: 1000 }, between)) {
        times.set(key, (times.get(key) ?? 0) + 1);
      }
      assert.equal(survivors.filter((key) => !times.has(key)).length, 0, "sessions that lived were skipped");
      assert.equal([...times.values()].filter((n) => n > 1).length, 0, "sessions were listed twice");
    },
  },
];
