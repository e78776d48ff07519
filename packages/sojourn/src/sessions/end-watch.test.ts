import { describe, expect, test } from "vitest";
import { SessionError } from "../core/errors.ts";
import type { WatchListener } from "../store/store.ts";
import type { FakeClock } from "../testing/fake-clock.ts";
import type { EndReason } from "./end-watch.ts";
import { type Data, GatedStore, house, Jar } from "./harness.test.support.ts";
import type { Session } from "./session.ts";
import { WAKE_MS } from "./waits.ts";

const IDLE_MS = 600_000;

/** Lets everything that waits for no timer run. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

// Time jumps here in steps, and no answer arrives within one: a wait must be longer than a step.
const STEP_MS = 2_500;
const LIMITS = { idleTimeoutMs: IDLE_MS, storeBudgetMs: 2 * STEP_MS };

/** Lets `ms` pass. */
async function pass(clock: FakeClock, ms: number): Promise<void> {
  await settled();
  for (let leftMs = ms; leftMs > 0; leftMs -= STEP_MS) {
    clock.advance(Math.min(leftMs, STEP_MS));
    await settled();
  }
}

/** A store that tells of nothing: its sessions are asked for. */
function polled() {
  const own = house(LIMITS);
  const { store: memory } = own;
  const store = Object.assign(new GatedStore(memory), {
    list: memory.list.bind(memory),
    count: memory.count.bind(memory),
    endAll: memory.endAll.bind(memory),
  });
  return { ...own, memory, store, sessions: own.another({ store }) };
}

function watched() {
  const own = house(LIMITS);
  return { ...own, memory: own.store };
}

describe.each([
  ["a store that tells of changes", watched, 0],
  ["a store that is asked", polled, 7_000],
] as const)("%s", (_, given, withinMs) => {
  async function begin(ownHouse: ReturnType<typeof given>) {
    const jar = new Jar();
    await jar.request(ownHouse.sessions, (session) => session.renew({ principal: "ada" }));
    let session: Session<Data> | undefined;
    await jar.request(ownHouse.sessions, (own) => {
      session = own;
    });
    const ends: EndReason[] = [];
    const stop = ownHouse.sessions.onEnd(session!, (reason) => ends.push(reason));
    await settled();
    const later = (ms: number) => pass(ownHouse.clock, ms);
    return { jar, ends, stop, session: session!, later };
  }

  test("tells at once of an end in this process", async () => {
    const own = given();
    const { jar, ends } = await begin(own);
    await jar.request(own.sessions, (session) => session.destroy());
    await settled();
    expect(ends).toEqual(["ended"]);
  });

  test("tells at once of endAll in this process", async () => {
    const own = given();
    const { ends } = await begin(own);
    await own.sessions.endAll("ada");
    await settled();
    expect(ends).toEqual(["ended"]);
  });

  test("tells of an end on another server", async () => {
    const own = given();
    const { jar, ends, later } = await begin(own);
    await jar.request(own.another(), (session) => session.destroy());
    await later(withinMs);
    expect(ends).toEqual(["ended"]);
  });

  test("tells of an expiry at its moment, and that activity has put it off", async () => {
    const own = given();
    const { jar, ends, later } = await begin(own);
    await later(IDLE_MS / 2);
    await jar.request(own.another(), () => {});
    await later(IDLE_MS * 0.6);
    expect(ends).toEqual([]);
    await later(IDLE_MS * 0.6);
    expect(ends).toEqual(["expired"]);
  });

  test("waiting keeps no session alive", async () => {
    const own = given();
    const { ends, later } = await begin(own);
    await later(IDLE_MS * 1.2);
    expect(ends).toEqual(["expired"]);
  });

  test("a renewed id has ended for those who hold it", async () => {
    const own = given();
    const { jar, ends, later } = await begin(own);
    await jar.request(own.another(), (session) => session.renew({ principal: "eve" }));
    await later(withinMs);
    expect(ends).toEqual(["renewed"]);
  });

  test("changes of the session are no end, and who stopped waiting hears nothing", async () => {
    const own = given();
    const { jar, ends, stop, later } = await begin(own);
    await jar.request(own.another(), (session) => session.set("a", 1));
    await later(withinMs);
    expect(ends).toEqual([]);
    stop();
    await jar.request(own.sessions, (session) => session.destroy());
    await later(withinMs);
    expect(ends).toEqual([]);
  });

  test("everybody who waits is told once, even if one of them throws", async () => {
    const own = given();
    const { jar, ends, session, later } = await begin(own);
    own.sessions.onEnd(session, () => {
      throw new Error("cannot close");
    });
    own.sessions.onEnd(session, (reason) => ends.push(reason));
    await settled();
    await jar.request(own.sessions, (ending) => ending.destroy());
    await later(withinMs);
    await later(withinMs);
    expect(ends).toEqual(["ended", "ended"]);
  });

  test("nothing is left behind: no timer and no watch", async () => {
    const own = given();
    const idle = own.clock.pendingTimers;
    const { jar, session } = await begin(own);
    const stop = own.sessions.onEnd(session, () => {});
    await settled();
    expect(own.clock.pendingTimers).toBeGreaterThan(idle);
    await jar.request(own.sessions, (ending) => ending.destroy());
    await settled();
    stop();
    // The timer of waits that are over.
    own.clock.advance(WAKE_MS);
    expect([own.clock.pendingTimers, own.memory.stats().watches]).toEqual([idle, 0]);
  });
});

test("one read for each session and interval, however many wait for its end", async () => {
  const own = polled();
  const jar = new Jar();
  await jar.request(own.sessions, (session) => session.start());
  let session: Session<Data> | undefined;
  await jar.request(own.sessions, (loaded) => {
    session = loaded;
  });
  for (let index = 0; index < 10; index++) own.sessions.onEnd(session!, () => {}, { pollMs: 1_000 });
  const before = own.store.calls.read;
  for (let passedMs = 0; passedMs < 20_000; passedMs += 250) await pass(own.clock, 250);
  const reads = own.store.calls.read - before;
  expect(reads).toBeGreaterThanOrEqual(15);
  expect(reads).toBeLessThanOrEqual(27);
});

test("who joins does not put off the look for the others", async () => {
  const own = polled();
  const jar = new Jar();
  await jar.request(own.sessions, (session) => session.start());
  let session: Session<Data> | undefined;
  await jar.request(own.sessions, (loaded) => {
    session = loaded;
  });
  const ends: EndReason[] = [];
  own.sessions.onEnd(session!, (reason) => ends.push(reason));
  await jar.request(own.another(), (ending) => ending.destroy());
  for (let passedMs = 0; passedMs < 7_000; passedMs += 1_000) {
    own.sessions.onEnd(session!, () => {});
    await pass(own.clock, 1_000);
  }
  expect(ends).toEqual(["ended"]);
});

test("a store that cannot answer ends nothing before the absolute timeout, and is asked on", async () => {
  const own = polled();
  const sessions = own.another({ store: own.store, absoluteTimeoutMs: 2 * IDLE_MS });
  const jar = new Jar();
  await jar.request(sessions, (session) => session.start());
  const ends: EndReason[] = [];
  await jar.request(sessions, (session) => {
    sessions.onEnd(session, (reason) => ends.push(reason));
  });
  await pass(own.clock, 7_000);
  own.store.before = () => {
    throw new SessionError("STORE_UNAVAILABLE", "Cannot reach the store: it is down");
  };
  const before = own.store.calls.read;
  await pass(own.clock, IDLE_MS * 1.5);
  expect(ends).toEqual([]);
  expect(own.store.calls.read - before).toBeLessThan((IDLE_MS * 1.5) / 3_750 + 1);
  await pass(own.clock, IDLE_MS * 0.6);
  expect(ends).toEqual(["expired"]);
});

test("news that something was missed makes everybody look, not all at once; a watch that cannot stand is made up for", async () => {
  const own = house(LIMITS);
  let listener: WatchListener | undefined;
  let refusals = 1;
  const gated = new GatedStore(own.store);
  const store = Object.assign(gated, {
    async watch(given: WatchListener) {
      if (refusals-- > 0) throw new SessionError("STORE_UNAVAILABLE", "Cannot watch: the store is down");
      listener = given;
      return { leaseUntilMs: () => Number.POSITIVE_INFINITY, close: () => {} };
    },
  });
  const sessions = own.another({ store });
  const ends: EndReason[] = [];
  const jars: Jar[] = [];
  for (let index = 0; index < 20; index++) {
    const jar = new Jar();
    jars.push(jar);
    await jar.request(sessions, (session) => session.start());
    await jar.request(sessions, (session) => {
      sessions.onEnd(session, (reason) => ends.push(reason));
    });
  }
  await settled();
  expect(listener).toBeDefined();
  const before = gated.calls.read;
  for (const jar of jars) await jar.request(own.another(), (session) => session.destroy());
  listener!.invalidated("all");
  await settled();
  expect(gated.calls.read - before).toBeLessThan(5);
  await pass(own.clock, 5_000);
  expect(ends).toHaveLength(20);
});

test("a session that does not exist yet cannot be waited for", async () => {
  const { sessions } = house();
  const session = await sessions.open({ cookie: undefined, secure: false }).session();
  expect(() => sessions.onEnd(session, () => {})).toThrow(/Cannot use option session/);
});

test("where no response follows, what needs a cookie throws LATE_WRITE, and nothing is created", async () => {
  const { sessions, store } = house();
  const jar = new Jar();
  await jar.request(sessions, (session) => session.set("a", 1));
  const scope = sessions.open({ cookie: jar.cookie, secure: false, headersSent: true });
  const session = await scope.session();
  session.set("a", 2);
  await expect(session.renew()).rejects.toMatchObject({ code: "LATE_WRITE" });
  const stranger = sessions.open({ cookie: undefined, secure: false, headersSent: true });
  (await stranger.session()).set("a", 1);
  await expect((await stranger.session()).start()).rejects.toMatchObject({ code: "LATE_WRITE" });
  expect(await stranger.settle()).toMatchObject({ ok: false, code: "LATE_WRITE" });
  expect(store.stats().sessions).toBe(1);
});
