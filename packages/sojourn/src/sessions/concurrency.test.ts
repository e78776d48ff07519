/** Many requests of one browser at once, over several servers that share one store. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { systemClock } from "../core/clock.ts";
import { type SessionId, sessionKeyOf } from "../core/ids.ts";
import { memoryStore } from "../store/memory.ts";
import { createSessions, type Sessions } from "./create-sessions.ts";
import { type Data, GatedStore, Jar, request, SECRET } from "./harness.test.support.ts";
import type { Session } from "./session.ts";

/** Servers of one domain, whose store answers each call a few turns of the event loop later, in any order. */
function domain(servers: number) {
  const store = memoryStore();
  const all = Array.from({ length: servers }, () => {
    const gated = new GatedStore(store);
    let turn = 0;
    const pause = () =>
      new Promise<void>((resolve) => void systemClock.setTimer(resolve, turn++ % 3, "keep-alive"));
    gated.before = pause;
    gated.after = pause;
    return createSessions<Data>({ store: gated, secret: SECRET, storeBudgetMs: 5_000 });
  });
  const close = async () => {
    await Promise.all(all.map((server) => server.close()));
    await store.close();
  };
  return { store, servers: all, close };
}

async function begun(sessions: Sessions<Data>): Promise<Jar> {
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("begun", true));
  return browser;
}

test("20 parallel writers of different attributes on 3 servers: 20 survive", async () => {
  const { servers, close } = domain(3);
  const browser = await begun(servers[0]!);
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) =>
      browser.request(servers[n % 3]!, (session) => session.set(`key${n}`, n)),
    ),
  );
  for (const { outcome } of answers) expect(outcome).toEqual({ ok: true, setCookies: [] });
  await browser.request(servers[1]!, (session) => {
    for (let n = 0; n < 20; n++) expect(session.get(`key${n}`)).toBe(n);
  });
  await close();
});

test.each([1, 3])(
  "50 parallel updates of one counter through %i servers are exact, and none gives up",
  async (count) => {
    const { servers, close } = domain(count);
    const browser = await begun(servers[0]!);
    const values = await Promise.all(
      Array.from({ length: 50 }, async (_, n) => {
        let value: unknown;
        await browser.request(servers[n % count]!, async (session) => {
          value = await session.update("counter", (current) => ((current as number | undefined) ?? 0) + 1);
        });
        return value as number;
      }),
    );
    expect(values.sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, n) => n + 1));
    await browser.request(servers[0]!, (session) => expect(session.get("counter")).toBe(50));
    // Within one process nobody races; across processes a race costs one more round trip.
    const conflicts = servers.reduce((sum, server) => sum + server.stats().conflicts, 0);
    if (count === 1) expect(conflicts).toBe(0);
    await close();
  },
);

test("an update begins with what this request has set, and keeps its other changes pending", async () => {
  const { servers, close } = domain(2);
  const browser = await begun(servers[0]!);
  const { cookie } = browser;
  await browser.request(servers[0]!, async (session) => {
    session.set("n", 10);
    session.set("other", "pending");
    await request(servers[1]!, { cookie }, (elsewhere) => elsewhere.set("n", 99));
    expect(await session.update("n", (n) => (n as number) + 1)).toBe(11);
    await request(servers[1]!, { cookie }, (elsewhere) => {
      expect(elsewhere.get("n")).toBe(11);
      expect(elsewhere.has("other")).toBe(false);
    });
  });
  await browser.request(servers[1]!, (session) => expect(session.get("other")).toBe("pending"));
  await close();
});

test("update runs its change again with the newer value, never sees its own traces, and deletes with undefined", async () => {
  const { servers, close } = domain(2);
  const browser = await begun(servers[0]!);
  const { cookie } = browser;
  await browser.request(servers[0]!, (session) => session.set("list", ["a"]));
  await browser.request(servers[0]!, async (session) => {
    session.get("list");
    await request(servers[1]!, { cookie }, (elsewhere) => elsewhere.set("list", ["a", "b"]));
    const seen: unknown[] = [];
    const result = await session.update("list", (list) => {
      seen.push([...(list as string[])]);
      (list as string[]).push("c");
      return list;
    });
    expect(seen).toEqual([["a"], ["a", "b"]]);
    expect(result).toEqual(["a", "b", "c"]);
    expect(session.get("list")).toEqual(["a", "b", "c"]);
    // What it gave is the request's copy again: changes inside it are found.
    (result as string[]).push("d");
  });
  await browser.request(servers[1]!, async (session) => {
    expect(session.get("list")).toEqual(["a", "b", "c", "d"]);
    expect(await session.update("list", () => undefined)).toBeUndefined();
    expect(session.has("list")).toBe(false);
  });
  await browser.request(servers[0]!, (session) => expect(session.keys()).toEqual(["begun"]));
  await close();
});

test("an update that changes nothing still proves that nothing else did", async () => {
  const { servers, close } = domain(2);
  const browser = await begun(servers[0]!);
  const { cookie } = browser;
  await browser.request(servers[0]!, async (session) => {
    session.get("tickets");
    await request(servers[1]!, { cookie }, (elsewhere) => elsewhere.set("tickets", 3));
    const left = await session.update("tickets", (tickets) =>
      tickets === undefined ? undefined : (tickets as number) - 1,
    );
    expect(left).toBe(2);
  });
  await close();
});

test("an update that loses every race gives up with UPDATE_CONFLICT and has stored nothing", async () => {
  const { servers, store, close } = domain(2);
  const browser = await begun(servers[0]!);
  const { cookie } = browser;
  let rival = 0;
  const gated = new GatedStore(store);
  gated.before = async (verb) => {
    if (verb !== "apply") return;
    await request(servers[1]!, { cookie }, (elsewhere) => elsewhere.set("n", ++rival));
  };
  const unlucky = createSessions<Data>({ store: gated, secret: SECRET, storeBudgetMs: 60_000 });
  await request(unlucky, { cookie }, async (session) => {
    await expect(session.update("n", () => "mine")).rejects.toMatchObject({
      code: "UPDATE_CONFLICT",
      status: 409,
    });
  });
  expect(unlucky.stats().conflicts).toBe(10);
  await unlucky.close();
  await browser.request(servers[0]!, (session) => expect(session.get("n")).toBe(10));
  await close();
});

test("update of a visitor without a session begins one, with what was set before", async () => {
  const { servers, store, close } = domain(1);
  const browser = new Jar();
  const answer = await browser.request(servers[0]!, async (session) => {
    session.set("cart", ["book"]);
    expect(await session.update("visits", (n) => ((n as number | undefined) ?? 0) + 1)).toBe(1);
    expect(session.isNew).toBe(true);
  });
  expect(answer.setCookies).toHaveLength(1);
  await browser.request(servers[0]!, (session) => expect(session.keys().sort()).toEqual(["cart", "visits"]));
  await request(servers[0]!, {}, async (session) => {
    expect(await session.update("visits", () => undefined)).toBeUndefined();
    expect(session.id).toBeNull();
  });
  expect(await store.count()).toBe(1);
  await close();
});

type Step =
  | { readonly kind: "set" | "push"; readonly name: string; readonly value: number }
  | { readonly kind: "delete"; readonly name: string }
  | { readonly kind: "count" | "look" | "renew" | "destroy" };

const names = fc.constantFrom("a", "b");
const values = fc.nat(9);
const common: fc.WeightedArbitrary<Step>[] = [
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom("set" as const, "push" as const),
      name: names,
      value: values,
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("delete" as const), name: names }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("count" as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("look" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("destroy" as const) }) },
];
const renewal: fc.WeightedArbitrary<Step> = {
  weight: 3,
  arbitrary: fc.record({ kind: fc.constant("renew" as const) }),
};
const plan = (steps: fc.WeightedArbitrary<Step>[]) =>
  fc.array(fc.oneof(...steps), { minLength: 1, maxLength: 4 });
/** Only the first request renews: two renewals at once fork a session by design, and the last cookie wins. */
const plans = fc
  .tuple(plan([...common, renewal]), fc.array(plan(common), { minLength: 1, maxLength: 4 }))
  .map(([first, others]) => [first, ...others]);

/** What must be true afterwards, by the answers that were given. */
class Oracle {
  counted = 0;
  readonly pushed: number[] = [];
  /** Attributes that only one request writes: as it left them, undefined for deleted or never stored. */
  readonly own = new Map<string, number | undefined>();
  readonly endedIds: string[] = [];
  hasRenewed = false;
}

/** One request of the plan. @returns what its own attributes must be, or null when it ended the session */
async function perform(
  steps: readonly Step[],
  n: number,
  session: Session<Data>,
  oracle: Oracle,
): Promise<Map<string, number | undefined> | null> {
  const own = new Map<string, number | undefined>();
  for (const step of steps) {
    if (step.kind === "set") {
      session.set(`${step.name}${n}`, step.value);
      own.set(`${step.name}${n}`, step.value);
    } else if (step.kind === "delete") {
      session.delete(`${step.name}${n}`);
      own.set(`${step.name}${n}`, undefined);
    } else if (step.kind === "push") {
      await session.update("list", (list) => [...((list as number[] | undefined) ?? []), step.value]);
      oracle.pushed.push(step.value);
    } else if (step.kind === "count") {
      await session.update("counter", (counter) => ((counter as number | undefined) ?? 0) + 1);
      oracle.counted++;
    } else if (step.kind === "renew") {
      await session.renew();
      oracle.hasRenewed = true;
    } else if (step.kind === "destroy") {
      const { id } = session;
      await session.destroy();
      if (id !== null) oracle.endedIds.push(id);
      return null;
    } else {
      expect(session.get("begun")).toBe(true);
    }
  }
  return own;
}

test("any interleaving of a browser's requests: no lost update, no false answer, no resurrection", async () => {
  const met = { alive: 0, ended: 0, refused: 0, conflicts: 0 };
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), plans, async (scheduler, requests) => {
      const store = memoryStore();
      const servers = [0, 1].map(() => {
        const gated = new GatedStore(store);
        // Touches run on after the last answer, when nobody schedules any more.
        const pace = (verb: string) => (verb === "touch" ? undefined : scheduler.schedule(Promise.resolve()));
        gated.before = pace;
        gated.after = pace;
        // Real time must not decide a run.
        return createSessions<Data>({ store: gated, secret: SECRET, storeBudgetMs: 60_000 });
      });
      const plain = createSessions<Data>({ store, secret: SECRET });
      const browser = await begun(plain);
      const { cookie } = browser;
      const oracle = new Oracle();
      const run = requests.map(async (steps, n) => {
        let own: Map<string, number | undefined> | null = null;
        const answer = await request(servers[n % 2]!, { cookie }, async (session) => {
          // Read after an end that was answered before: nothing to do.
          if (session.isNew) return;
          try {
            own = await perform(steps, n, session, oracle);
          } catch (error) {
            expect(error).toMatchObject({ code: "SESSION_ENDED" });
          }
        });
        browser.receive(answer);
        if (answer.outcome?.ok === false) {
          met.refused++;
          expect(answer.outcome).toMatchObject({ status: 409, code: "SESSION_ENDED" });
          // Refused means not stored; unless a renewal stored it before.
          if (!steps.some(({ kind }) => kind === "renew"))
            for (const name of ["a", "b"]) oracle.own.set(`${name}${n}`, undefined);
        } else {
          for (const [name, value] of own ?? new Map<string, number | undefined>())
            oracle.own.set(name, value);
        }
      });
      await scheduler.waitFor(Promise.all(run));
      for (const id of oracle.endedIds) expect(await store.read(sessionKeyOf(id as SessionId))).toBeNull();
      const { sessions: stored } = await plain.list();
      expect(stored.length).toBeLessThanOrEqual(1);
      if (oracle.endedIds.length > 0 && !oracle.hasRenewed) expect(stored).toEqual([]);
      if (oracle.endedIds.length === 0) {
        // And the browser still has it.
        await request(plain, { cookie: browser.cookie }, (session) =>
          expect(session.get("begun")).toBe(true),
        );
      }
      const found = stored[0] && (await plain.find(stored[0].key));
      if (found) {
        met.alive++;
        expect(found.get("counter") ?? 0).toBe(oracle.counted);
        expect([...((found.get("list") as number[] | undefined) ?? [])].sort()).toEqual(oracle.pushed.sort());
        for (const [name, value] of oracle.own) expect(found.get(name), name).toEqual(value);
      } else met.ended++;
      met.conflicts += servers.reduce((sum, server) => sum + server.stats().conflicts, 0);
      await Promise.all([...servers, plain].map((server) => server.close()));
      await store.close();
    }),
    { numRuns: 300 },
  );
  // The property has met what it is about.
  for (const [what, times] of Object.entries(met)) expect(times, what).toBeGreaterThan(10);
}, 120_000);
