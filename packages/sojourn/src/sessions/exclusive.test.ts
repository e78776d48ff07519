/** Exclusive access: who waits for whom, how long, and what a holder that was too slow may do. Names are promises of docs/policies.md. */
import { expect, test } from "vitest";
import { EXCLUSIVE_WAIT_MS_MAX, LEASE_MS } from "./exclusive.ts";
import { type Data, GatedStore, gate, house, Jar } from "./harness.test.support.ts";
import type { RequestScope } from "./scope.ts";
import type { Session } from "./session.ts";
import type { VisitOptions } from "./visit-options.ts";

const EXCLUSIVE: VisitOptions = { exclusive: true };
const busy = expect.objectContaining({
  code: "SESSION_BUSY",
  status: 409,
  retryable: true,
  headers: { "retry-after": "1" },
});

async function domain(options: Parameters<typeof house>[0] = {}) {
  const all = house(options);
  const gated = new GatedStore(all.store);
  const servers = [all.another({ store: gated }), all.another(), all.another()];
  const [here, there] = servers as [(typeof servers)[0], (typeof servers)[0]];
  const browser = new Jar();
  await browser.request(here, (session) => session.set("n", 0));
  /** One request with options from its beginning, answered after `handle`. */
  async function ask(
    sessions: typeof here,
    handle: (session: Session<Data>, scope: RequestScope<Data>) => unknown,
    visit: VisitOptions = EXCLUSIVE,
  ) {
    const scope = sessions.open({ cookie: browser.cookie, secure: false });
    try {
      await handle(await scope.session(visit), scope);
    } finally {
      await scope.settle();
      scope.close();
    }
    const outcome = scope.outcome();
    if (outcome) browser.receive({ outcome, setCookies: outcome.setCookies });
    return outcome;
  }
  /** What it becomes, while time goes on. */
  async function during<T>(promise: Promise<T>, stepMs = 4): Promise<T> {
    let over = false;
    const settled = promise.finally(() => {
      over = true;
    });
    settled.catch(() => {});
    while (!over) await all.clock.advanceAsync(stepMs);
    return settled;
  }
  const stored = async () => {
    const [{ key } = { key: "" }] = (await all.sessions.list()).sessions;
    const record = await all.store.read(key as never);
    return {
      n: (await all.sessions.find(key))?.get("n"),
      names: [...(record?.attributes.keys() ?? [])].sort(),
    };
  };
  return { ...all, gated, servers, here, there, browser, ask, during, stored };
}

async function increment(session: Session<Data>): Promise<void> {
  const n = session.get("n") as number;
  await Promise.resolve();
  session.set("n", n + 1);
}

test("thirty requests on three servers that read, wait and write lose nothing, and leave no trace", async () => {
  const { servers, ask, during, stored } = await domain();
  const asked = Array.from({ length: 30 }, (_, index) =>
    ask(servers[index % 3]!, increment, { exclusive: { waitMs: EXCLUSIVE_WAIT_MS_MAX } }),
  );
  for (const outcome of await during(Promise.all(asked))) expect(outcome).toMatchObject({ ok: true });
  expect(await stored()).toEqual({ n: 30, names: ["n"] });
});

test("without it the same requests lose changes: that is what it is for", async () => {
  const { servers, ask, during, stored } = await domain();
  const asked = Array.from({ length: 30 }, (_, index) => ask(servers[index % 3]!, increment, {}));
  await during(Promise.all(asked));
  expect((await stored()).n).toBeLessThan(30);
});

test("the next one begins after the commit of the one before and sees it, in the order they came", async () => {
  const { here, ask, during } = await domain();
  const seen: unknown[] = [];
  const asked = ["a", "b", "c"].map((name) =>
    ask(here, async (session) => {
      seen.push(`${name} begins with ${session.get("last")}`);
      await Promise.resolve();
      session.set("last", name);
    }),
  );
  await during(Promise.all(asked));
  expect(seen).toEqual(["a begins with undefined", "b begins with a", "c begins with b"]);
});

test("requests that do not ask for it are not held up, and are not overwritten in other attributes", async () => {
  const { here, there, ask, browser, stored, sessions } = await domain();
  const held = gate();
  const slow = ask(here, async (session) => {
    await held.promise;
    session.set("n", 1);
  });
  await browser.request(there, (session) => {
    expect(session.get("n")).toBe(0);
    expect(session.keys()).toEqual(["n"]);
    session.set("other", 1);
  });
  held.open();
  expect(await slow).toMatchObject({ ok: true });
  expect(await stored()).toEqual({ n: 1, names: ["n", "other"] });
  expect(sessions.stats().dropped).toBe(0);
});

test.each(["here", "there"] as const)(
  "who waits longer than waitMs, %s, gets SESSION_BUSY and nothing has changed",
  async (where) => {
    const all = await domain();
    const held = gate();
    const entered = gate();
    const slow = all.ask(all.here, async (session) => {
      entered.open();
      await held.promise;
      session.set("n", 1);
    });
    await entered.promise;
    const beganMs = all.clock.monotonicMs();
    const waiting = all.ask(all[where], increment, { exclusive: { waitMs: 200 } });
    await expect(all.during(waiting)).rejects.toEqual(busy);
    const tookMs = all.clock.monotonicMs() - beganMs;
    expect(tookMs).toBeGreaterThan(120);
    expect(tookMs).toBeLessThan(230);
    held.open();
    expect(await slow).toMatchObject({ ok: true });
    expect((await all.stored()).n).toBe(1);
    // The one that gave up left no gap in the line.
    expect(await all.during(all.ask(all.here, increment))).toMatchObject({ ok: true });
    expect((await all.stored()).n).toBe(2);
  },
);

test("a request that changes nothing gives its turn back too, and so does one that throws, commits early or never answers", async () => {
  const { here, there, ask, browser, during, stored, clock } = await domain();
  await ask(here, () => {});
  await expect(
    ask(here, () => {
      throw new Error("the handler's own");
    }),
  ).rejects.toThrow("the handler's own");
  await ask(here, async (session) => {
    session.set("n", 1);
    await session.commit();
    await during(ask(there, increment));
  });
  const silent = here.open({ cookie: browser.cookie, secure: false });
  (await silent.session(EXCLUSIVE)).set("n", 99);
  silent.close();
  const beganMs = clock.monotonicMs();
  expect(await during(ask(there, increment))).toMatchObject({ ok: true });
  expect(clock.monotonicMs() - beganMs).toBeLessThan(100);
  expect(await stored()).toEqual({ n: 3, names: ["n"] });
});

test("a server that died holding it delays others at most 15 s", async () => {
  const { gated, here, there, ask, browser, during, clock, stored } = await domain();
  const dead = here.open({ cookie: browser.cookie, secure: false });
  (await dead.session(EXCLUSIVE)).set("n", 99);
  gated.before = () => new Promise(() => {});
  await expect(during(ask(there, increment))).rejects.toEqual(busy);
  clock.advance(LEASE_MS);
  expect(await during(ask(there, increment))).toMatchObject({ ok: true });
  expect((await stored()).n).toBe(1);
});

test("a holder that was so slow that another one took over stores nothing, by commit or by renew", async () => {
  for (const late of ["commit", "renew"] as const) {
    const { here, there, ask, during, clock, stored } = await domain();
    const held = gate();
    const entered = gate();
    const slow = ask(here, async (session) => {
      entered.open();
      await held.promise;
      session.set("n", 99);
      if (late === "renew") await session.renew({ principal: "ada" }).catch(() => {});
    });
    await entered.promise;
    clock.advance(LEASE_MS);
    expect(await during(ask(there, increment))).toMatchObject({ ok: true });
    held.open();
    expect(await during(slow)).toMatchObject({ ok: false, status: 409, code: "SESSION_BUSY" });
    expect((await stored()).n).toBe(1);
  }
});

test("a holder that was slow and alone commits: nobody took over", async () => {
  const { here, ask, clock, stored } = await domain();
  const outcome = await ask(here, (session) => {
    clock.advance(2 * LEASE_MS);
    session.set("n", 5);
  });
  expect(outcome).toMatchObject({ ok: true });
  expect((await stored()).n).toBe(5);
});

test("servers whose clocks disagree by minutes make each other wait, and overwrite nothing", async () => {
  const { here, there, ask, during, clock, stored } = await domain();
  const held = gate();
  const entered = gate();
  clock.stepWall(60_000);
  const slow = ask(here, async (session) => {
    entered.open();
    await held.promise;
    await increment(session);
  });
  await entered.promise;
  clock.stepWall(-120_000);
  // A lease that seems to end in two minutes is nobody's: the holder finds out at its commit.
  expect(await during(ask(there, increment))).toMatchObject({ ok: true });
  held.open();
  expect(await slow).toMatchObject({ ok: false, code: "SESSION_BUSY" });
  expect((await stored()).n).toBe(1);
});

test("login and logout in a turn: those who waited find the session renewed or ended, not a stale one", async () => {
  const { here, there, ask, during, browser } = await domain();
  const old = browser.cookie;
  await ask(here, (session) => session.renew({ principal: "ada" }));
  expect(browser.cookie).not.toBe(old);
  await during(ask(there, (session) => expect([session.principal, session.get("n")]).toEqual(["ada", 0])));
  const held = gate();
  const entered = gate();
  const leaving = ask(here, async (session) => {
    entered.open();
    await held.promise;
    await session.destroy();
  });
  await entered.promise;
  const late = ask(there, (session) => expect(session.isNew).toBe(true));
  held.open();
  await during(Promise.all([leaving, late]));
});

test("a visitor without a session has nobody to wait for, and two of them begin two sessions", async () => {
  const { here, sessions } = await domain();
  await Promise.all(
    [new Jar(), new Jar()].map((browser) =>
      browser.request(here, async (session, scope) => {
        await scope.session(EXCLUSIVE);
        session.set("n", 1);
        await session.start();
        session.set("n", 2);
      }),
    ),
  );
  expect(await sessions.count()).toBe(3);
});

test("asked for after others have read the session, it is read again; after a change it is refused", async () => {
  const { here, there, ask, during, stored, browser } = await domain();
  const outcome = await ask(
    here,
    async (session, scope) => {
      expect(session.get("n")).toBe(0);
      await during(ask(there, increment));
      expect(session.get("n")).toBe(0);
      await scope.session(EXCLUSIVE);
      expect(session.get("n")).toBe(1);
      await increment(session);
    },
    {},
  );
  expect(outcome).toMatchObject({ ok: true });
  expect((await stored()).n).toBe(2);
  await browser.request(here, async (session, scope) => {
    session.set("n", 9);
    await expect(scope.session(EXCLUSIVE)).rejects.toMatchObject({ code: "INVALID_OPTION" });
  });
  // The refused one holds nothing.
  expect(await during(ask(there, increment))).toMatchObject({ ok: true });
});

test("a store that fails while a turn is taken fails the request and blocks nobody on this server", async () => {
  const { here, gated, ask, during } = await domain();
  gated.before = (verb) => (verb === "apply" ? Promise.reject(new Error("down")) : undefined);
  await expect(ask(here, increment)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  gated.before = () => {};
  expect(await during(ask(here, increment))).toMatchObject({ ok: true });
});

test("close() waits for turns that are being given back", async () => {
  const { here, there, ask, gated, during } = await domain();
  const held = gate();
  gated.before = (verb) => (verb === "apply" ? held.promise : undefined);
  const asked = ask(here, () => {}).catch(() => {});
  held.open();
  await asked;
  await here.close();
  expect(await during(ask(there, increment, { exclusive: { waitMs: 1 } }))).toMatchObject({ ok: true });
});

test("a wait that is none, and writes that come later, are refused by name", async () => {
  const { here, another, browser } = await domain();
  for (const exclusive of [{ waitMs: 0 }, { waitMs: EXCLUSIVE_WAIT_MS_MAX + 1 }, { wait: 5 }, "yes"]) {
    const scope = here.open({ cookie: browser.cookie, secure: false });
    await expect(scope.session({ exclusive } as VisitOptions)).rejects.toMatchObject({
      code: "INVALID_OPTION",
    });
  }
  const late = another({ writeFrequency: "TIME_BASED_WRITE" }).open({ cookie: undefined, secure: false });
  await expect(late.session(EXCLUSIVE)).rejects.toThrow(/TIME_BASED_WRITE/);
});
