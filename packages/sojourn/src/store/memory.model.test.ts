/**
 * Random histories on the memory store and on the plain one, which is obviously right: every answer must be the same.
 * Both live on one clock; what each draws for itself (epoch, birth, stamps) is left out of the comparison.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newOperationId, newSessionId, type SessionKey, sessionKeyOf } from "../core/ids.ts";
import type { SessionDelta, SessionRecord } from "../core/record.ts";
import type { Version } from "../core/version.ts";
import { FakeClock, seededWords } from "../testing/fake-clock.ts";
import { PlainStore } from "../testing/plain-store.test.support.ts";
import { type MemoryStore, memoryStore } from "./memory.ts";
import { type ApplyOptions, OPERATION_ID_KEPT_MS } from "./store.ts";

const KEYS = 5;
const PRINCIPALS = ["ada", "bob", null] as const;
const NAMES = ["a", "b", "__proto__"];

type Store = MemoryStore | PlainStore;

const CALLS = [
  ...(["read", "create", "apply", "touch", "supersede", "destroy", "endAll", "list"] as const),
  ...(["create", "apply", "create", "apply", "supersede", "retry", "retry", "advance", "advance"] as const),
] as const;

/** One call, or time passing. Numbers choose keys, names and principals. */
interface Action {
  readonly call: (typeof CALLS)[number];
  readonly key: number;
  readonly other: number;
  readonly principal: number;
  readonly name: number;
  readonly ms: number;
  readonly flag: boolean;
  /** With an operation id, so that it may be retried. */
  readonly identified: boolean;
}

const action: fc.Arbitrary<Action> = fc.record({
  call: fc.constantFrom(...CALLS),
  key: fc.nat(KEYS - 1),
  other: fc.nat(KEYS - 1),
  principal: fc.nat(PRINCIPALS.length - 1),
  name: fc.nat(NAMES.length - 1),
  ms: fc.oneof(fc.constantFrom(0, 1, 5_000, 10_000), fc.nat(12_000)),
  flag: fc.boolean(),
  identified: fc.boolean(),
});

class World {
  readonly clock = new FakeClock();
  readonly memory = memoryStore({ clock: this.clock, sweepIntervalMs: 5_000 });
  readonly plain = new PlainStore({ clock: this.clock });
  readonly #keys = Array.from({ length: KEYS }, () => sessionKeyOf(newSessionId(this.clock)));
  readonly #done: { readonly act: Act; readonly atMs: number }[] = [];

  key(index: number): SessionKey {
    return this.#keys[index]!;
  }

  /** An ended key stays taken, so histories draw new ones on the way. */
  renewKey(index: number): void {
    this.#keys[index] = sessionKeyOf(newSessionId(this.clock));
  }

  remember(act: Act): void {
    this.#done.push({ act, atMs: this.clock.monotonicMs() });
  }

  /** A write that every store must still remember. */
  retry(choice: number): Act | undefined {
    const sinceMs = this.clock.monotonicMs() - OPERATION_ID_KEPT_MS;
    const recent = this.#done.filter(({ atMs }) => atMs >= sinceMs);
    return recent[choice % recent.length]?.act;
  }

  close(): Promise<void> {
    return this.memory.close();
  }
}

type Act = (store: Store) => Promise<unknown>;

/** Prepared once and done to both stores, so that both see the same keys, ids and moments. */
function prepared(world: World, action: Action): Act {
  if (action.call === "retry") return world.retry(action.ms) ?? ((store) => store.read(world.key(0)));
  const { call, name, flag } = action;
  if (call === "create" && flag && name === 0) world.renewKey(action.key);
  if (call === "supersede" && flag && action.key !== action.other) world.renewKey(action.other);
  const [key, other] = [world.key(action.key), world.key(action.other)];
  const options = action.identified ? { operationId: newOperationId(world.clock) } : {};
  const act = actOf(world, action, key, other, options);
  if (action.identified) world.remember(act);
  return act;
}

function actOf(world: World, action: Action, key: SessionKey, other: SessionKey, options: ApplyOptions): Act {
  const { call, name, ms, flag } = action;
  const nowMs = world.clock.nowMs();
  const principal = { principal: PRINCIPALS[action.principal]!, ageMs: ms };
  const value = Buffer.from(`${action.other}-${ms}`);
  switch (call) {
    case "create": {
      const deadlines = { expiresAtMs: nowMs + 4_000 + ms, absoluteExpiresAtMs: nowMs + 15_000 };
      const session = { key, attributes: new Map([[NAMES[name]!, value]]), principal, ...deadlines };
      return (store) => store.create(session, options);
    }
    case "apply":
      return (store) => {
        const delta = {
          ...(flag ? { set: new Map([[NAMES[name]!, value]]) } : { delete: [NAMES[name]!] }),
          ...(action.other === 0 ? { expect: new Map([[NAMES[name]!, null]]) } : {}),
          ...(action.other === 2 ? { principal } : {}),
          ...(action.other === 3 ? { expiresAtMs: nowMs + ms } : {}),
        };
        // Versions are each store's own, so these two read first.
        if (action.other === 1 || action.other === 4) return applySeen(store, key, delta, action, options);
        return store.apply(key, delta, options);
      };
    case "touch":
      return (store) => store.touch(key, nowMs + ms, options);
    case "supersede":
      if (key === other) return (store) => store.read(key);
      return (store) =>
        store.supersede(key, { successor: other, ...options, ...(name > 0 ? { graceMs: ms } : {}) });
    case "destroy":
      return (store) => store.destroy(key, options);
    case "endAll": {
      const name = principal.principal ?? "ada";
      return (store) => store.endAll(name, { ...options, ...(flag ? { except: other } : {}) });
    }
    case "list":
      return (store) => listed(store, flag ? (principal.principal ?? undefined) : undefined);
    default:
      return (store) => store.read(key);
  }
}

/** With what the caller read: an attribute's version expected, or the session's own demanded, or one more. */
async function applySeen(
  store: Store,
  key: SessionKey,
  delta: SessionDelta,
  { other, name, flag }: Action,
  options: ApplyOptions,
): Promise<unknown> {
  const record = await store.read(key);
  if (other === 1) {
    const expected = record?.attributes.get(NAMES[name]!)?.version ?? null;
    return store.apply(key, { ...delta, expect: new Map([[NAMES[name]!, expected]]) }, options);
  }
  if (!record) return store.apply(key, delta, options);
  const atLeast = { ...record.version, counter: record.version.counter + (flag ? 0 : 1) };
  return store.apply(key, delta, { ...options, atLeast });
}

async function listed(store: Store, principal: string | undefined): Promise<unknown> {
  const by = principal === undefined ? {} : { principal };
  const sessions = [];
  for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
    const page = await store.list({ limit: 2, ...by, ...(cursor === undefined ? {} : { cursor }) });
    sessions.push(...page.sessions);
    cursor = page.next;
  }
  sessions.sort((a, b) => (a.key < b.key ? -1 : 1));
  return { sessions, count: await store.count(by) };
}

/** What must be equal: everything but what a store draws for itself. */
function comparable(answer: unknown): unknown {
  const counted = (version: Version) => version.counter;
  const content = ({
    birth: _birth,
    stamp: _stamp,
    lineage,
    version,
    attributes,
    ...rest
  }: SessionRecord) => ({
    ...rest,
    version: counted(version),
    lineage: [...lineage.values()],
    attributes: new Map(
      [...attributes].map(([name, each]) => [
        name,
        [Buffer.from(each.value).toString(), counted(each.version)],
      ]),
    ),
  });
  if (typeof answer !== "object" || answer === null) return answer;
  if ("attributes" in answer) return content(answer as SessionRecord);
  const { version, current, final, ...rest } = answer as Record<string, unknown>;
  return {
    ...rest,
    ...(version ? { version: counted(version as Version) } : {}),
    ...(current ? { current: content(current as SessionRecord) } : {}),
    ...(final ? { final: content(final as SessionRecord) } : {}),
  };
}

class Command implements fc.AsyncCommand<World, World> {
  readonly action: Action;

  constructor(action: Action) {
    this.action = action;
  }

  check(): boolean {
    return true;
  }

  async run(world: World): Promise<void> {
    if (this.action.call === "advance") {
      world.clock.advance(this.action.ms);
      return;
    }
    const act = prepared(world, this.action);
    const expected = await act(world.plain);
    expect(comparable(await act(world.memory))).toEqual(comparable(expected));
    for (let index = 0; index < KEYS; index++) {
      const record = await world.plain.read(world.key(index));
      expect(comparable(await world.memory.read(world.key(index)))).toEqual(comparable(record));
    }
  }

  toString(): string {
    return JSON.stringify(this.action);
  }
}

test("any history has the same answers as on the plain store", { timeout: 120_000 }, async () => {
  const commands = fc.commands([action.map((each) => new Command(each))], { maxCommands: 100, size: "max" });
  await fc.assert(
    fc.asyncProperty(commands, async (history) => {
      const world = new World();
      try {
        await fc.asyncModelRun(() => ({ model: world, real: world }), history);
        // No session here lives longer than 15 s.
        world.clock.advance(30_000);
        const { sessions, sessionBytes } = world.memory.stats();
        expect({ sessions, sessionBytes }).toEqual({ sessions: 0, sessionBytes: 0 });
      } finally {
        await world.close();
      }
    }),
    { numRuns: 300 },
  );
});

describe("concurrent clients get the answers of their calls made one after the other:", () => {
  for (let seed = 1; seed <= 30; seed++) {
    test(`seed ${seed}`, async () => {
      const world = new World();
      const words = seededWords(seed);
      const below = (bound: number) => words() % bound;
      const calls = CALLS.filter((call) => call !== "advance" && call !== "list");
      const made: { readonly act: (store: Store) => Promise<unknown>; readonly answer: Promise<unknown> }[] =
        [];
      const client = async () => {
        for (let turn = 0; turn < 40; turn++) {
          for (let wait = below(6); wait > 0; wait--) await Promise.resolve();
          const act = prepared(world, {
            call: calls[below(calls.length)]!,
            key: below(KEYS),
            // 1 and 4 read first and so are two calls: here each action is one.
            other: 2 + below(2),
            principal: below(PRINCIPALS.length),
            name: below(NAMES.length),
            ms: 1_000 + below(10_000),
            flag: below(4) > 0,
            identified: below(2) === 0,
          });
          const answer = act(world.memory);
          made.push({ act, answer });
          if (below(3) > 0) await answer;
        }
      };
      await Promise.all(Array.from({ length: 8 }, client));
      for (const { act, answer } of made) {
        expect(comparable(await answer)).toEqual(comparable(await act(world.plain)));
      }
      expect(made.length).toBe(320);
      await world.close();
    });
  }
});
