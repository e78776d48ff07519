/** watch: whoever keeps copies hears of every change, whoever made it. */
import assert from "node:assert/strict";
import type { SessionKey } from "../../core/ids.ts";
import { bytesOf, type Promised, type Trial, textsOf } from "./trial.ts";

class Listener {
  readonly told = new Set<SessionKey>();
  all = false;

  invalidated(keys: readonly SessionKey[] | "all"): void {
    if (keys === "all") this.all = true;
    else for (const key of keys) this.told.add(key);
  }

  heardOf(key: SessionKey): boolean {
    return this.all || this.told.has(key);
  }

  forget(): void {
    this.told.clear();
    this.all = false;
  }
}

/** Each kind of change of a session that is there. */
const CHANGES: Readonly<Record<string, (t: Trial, key: SessionKey, principal: string) => Promise<unknown>>> =
  {
    apply: (t, key) => t.other.apply(key, { set: bytesOf({ a: "2" }) }),
    "apply that deletes": (t, key) => t.other.apply(key, { delete: ["a"] }),
    "apply of a principal": (t, key) => t.other.apply(key, { principal: { principal: null, ageMs: 0 } }),
    touch: (t, key) => t.other.touch(key, t.clock.nowMs() + 900_000),
    supersede: (t, key) => t.other.supersede(key, { successor: t.key() }),
    "supersede without grace": (t, key) => t.other.supersede(key, { successor: t.key(), graceMs: 0 }),
    destroy: (t, key) => t.other.destroy(key),
    endAll: (t, _key, principal) => t.enumerable.endAll(principal),
  };

export const watching: readonly Promised[] = [
  ...Object.entries(CHANGES).map(
    ([change, make]): Promised => ({
      name: `a watch is told of ${change}, and what is read then is the change`,
      needs: change === "endAll" ? ["watchable", "enumerable"] : ["watchable"],
      async check(t) {
        const principal = t.principal("ada");
        const { key } = await t.given({ a: "1" }, { principal: { principal, ageMs: 0 } });
        await t.clock.advance(5 + 2 * t.toleranceMs);
        const listener = new Listener();
        const watch = await t.watchable.watch(listener);
        // A store may tell only of what this handle has read.
        const before = await t.present(key, t.store);
        listener.forget();
        await make(t, key, principal);
        await t.until(() => listener.heardOf(key), `the watch hears of ${change}`);
        assert.notDeepEqual(await t.store.read(key), before);
        watch.close();
      },
    }),
  ),
  {
    name: "a watch is told of its own handle's changes too",
    needs: ["watchable"],
    async check(t) {
      const { key } = await t.given({ a: "1" });
      const listener = new Listener();
      const watch = await t.watchable.watch(listener);
      for (let round = 0; round < 3; round++) {
        await t.present(key, t.store);
        listener.forget();
        await t.applied(key, { a: String(round) }, t.store);
        await t.until(() => listener.heardOf(key), "the watch hears of its own apply");
      }
      watch.close();
    },
  },
  {
    name: "a watch is told when the end of a successor takes the superseded id along",
    needs: ["watchable"],
    async check(t) {
      const { key } = await t.given();
      const successor = t.key();
      await t.store.supersede(key, { successor, graceMs: 60_000 });
      await t.given({}, { key: successor });
      const listener = new Listener();
      const watch = await t.watchable.watch(listener);
      await t.present(key, t.store);
      listener.forget();
      await t.other.destroy(successor);
      await t.until(() => listener.heardOf(key), "the watch hears of the superseded id's end");
      watch.close();
    },
  },
  {
    name: "copies kept on a watch's word become as new as the store",
    needs: ["watchable"],
    async check(t) {
      const keys = await t.parallel(8, async () => (await t.given({ n: "start" })).key);
      const stale = new Set<SessionKey>(keys);
      const watch = await t.watchable.watch({
        invalidated(told) {
          for (const key of told === "all" ? keys : told) stale.add(key);
        },
      });
      const copies = new Map<SessionKey, string | undefined>();
      const refresh = async () => {
        for (const key of [...stale]) {
          stale.delete(key);
          copies.set(key, textsOf(await t.present(key, t.store)).n);
        }
      };
      let writing = true;
      const last = new Map<SessionKey, string>();
      const writers = t
        .parallel(200, async (index) => {
          // One writer per session and time, so that the last answer is the last write.
          if (index % 8 !== index % keys.length) return;
          const key = keys[index % keys.length]!;
          await t.applied(key, { n: String(index) }, index % 2 ? t.other : t.store);
        })
        .finally(() => {
          writing = false;
        });
      while (writing) {
        await refresh();
        await t.pause();
      }
      await writers;
      for (const key of keys) last.set(key, textsOf(await t.present(key)).n!);
      await t.until(() => stale.size > 0 || same(copies, last), "the copies hear of the last writes");
      for (let rounds = 0; rounds < 100 && !same(copies, last); rounds++) {
        await refresh();
        await t.pause();
      }
      assert.deepEqual(copies, last);
      watch.close();
    },
  },
  {
    name: "a closed watch is told nothing more, and others still are",
    needs: ["watchable"],
    async check(t) {
      const { key } = await t.given();
      const [closed, open] = [new Listener(), new Listener()];
      const first = await t.watchable.watch(closed);
      const second = await t.watchable.watch(open);
      first.close();
      first.close();
      await t.present(key, t.store);
      await t.applied(key, { a: "1" }, t.other);
      await t.until(() => open.heardOf(key), "the open watch hears of apply");
      assert.equal(closed.heardOf(key), false);
      second.close();
    },
  },
];

function same(a: ReadonlyMap<SessionKey, unknown>, b: ReadonlyMap<SessionKey, unknown>): boolean {
  return [...b].every(([key, value]) => a.get(key) === value);
}
