/** Events: each one counted and told alike, in the context of who caused it, and never with anything that tells. */
import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterEach, expect, test } from "vitest";
import type { SessionKey } from "../core/ids.ts";
import { type ExpiredEvent, type StoreOperation, storeChannel } from "../store/channels.ts";
import { memoryStore } from "../store/memory.ts";
import { observedStore } from "../store/observed.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import type { SessionsStats } from "./diagnostics.ts";
import { driveEveryEvent } from "./every-event.test.support.ts";
import { GatedStore, gate, house, Jar, request } from "./harness.test.support.ts";
import { SESSION_EVENTS, type SessionEvent } from "./telemetry.ts";

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

function hear<Event>(name: string): Event[] {
  const heard: Event[] = [];
  // A copy: a store operation's event is filled in as it goes on.
  const listener = (event: unknown) => heard.push({ ...(event as object) } as Event);
  subscribe(name, listener);
  ends.push(() => unsubscribe(name, listener));
  return heard;
}

const totals = Object.entries(SESSION_EVENTS) as [keyof SessionsStats, string][];

test("every total has an event, and what was counted is what was told", async () => {
  const heard = new Map(
    totals.map(([total, word]) => [total, hear<SessionEvent>(`sojourn:session:${word}`)]),
  );
  const expired = hear<ExpiredEvent>("sojourn:session:expired");
  const { sessions } = await driveEveryEvent("counted here");
  const stats = sessions.stats();
  // Another server of the same name wrote once: conflict, and its own read, load and commit.
  const others = { loads: 1, loaded: 1, commits: 1 } as Partial<SessionsStats>;
  for (const [total, events] of heard) {
    expect(stats[total], `${total} happened`).toBeGreaterThan(0);
    const told = events.reduce((sum, { count }) => sum + count, 0);
    expect(told, total).toBe(stats[total] + (others[total] ?? 0));
    for (const event of events) expect(event).toMatchObject({ sessions: "counted here", store: "gated" });
  }
  expect(expired).toContainEqual({ store: "memory", count: 1 });
});

test("no event and no diagnostic holds an id, a key, a cookie, a name, a value, a principal or a secret", async () => {
  const heard = [
    ...totals.map(([, word]) => hear(`sojourn:session:${word}`)),
    ...["start", "end", "asyncStart", "asyncEnd", "error"].map((each) =>
      hear(`tracing:sojourn:store:${each}`),
    ),
  ];
  const { telling, diagnostics } = await driveEveryEvent();
  expect(heard.filter((events) => events.length === 0)).toEqual([]);
  expect(diagnostics.length).toBeGreaterThan(2);
  const said = JSON.stringify([heard, diagnostics]);
  expect(telling.length).toBeGreaterThan(12);
  for (const text of telling) expect(said).not.toContain(text);
});

test("a store operation is told from start to answer: how long, how many bytes, how it ended", async () => {
  const { sessions, clock, store } = house();
  const gated = new GatedStore(store);
  const slow = house({ clock, store: gated, name: "slow" }).sessions;
  gated.before = () => clock.advance(20);
  const answered = hear<StoreOperation>("tracing:sojourn:store:asyncEnd");
  const failed = hear<StoreOperation>("tracing:sojourn:store:error");
  const browser = new Jar();
  await browser.request(slow, (session) => session.set("cart", "12345"));
  await browser.request(slow, (session) => session.get("cart"));
  const bytes = "cart".length + 1 + '"12345"'.length;
  expect(answered).toEqual([
    expect.objectContaining({
      operation: "create",
      outcome: "ok",
      bytesWritten: bytes,
      bytesRead: 0,
      seconds: 0.02,
    }),
    expect.objectContaining({
      operation: "read",
      outcome: "ok",
      bytesWritten: 0,
      bytesRead: bytes,
      seconds: 0.02,
    }),
  ]);
  expect(answered[0]).toMatchObject({ sessions: "slow", store: "gated" });
  gated.before = () => {
    throw new TypeError("a driver's bug");
  };
  await expect(request(slow, { cookie: browser.cookie }, () => undefined)).rejects.toThrow();
  expect(failed).toEqual([
    expect.objectContaining({ operation: "read", outcome: "error", code: "STORE_UNAVAILABLE" }),
  ]);
  await request(sessions, { cookie: browser.cookie }, (session) => session.destroy());
  expect(answered.at(-1)).toMatchObject({ operation: "destroy", outcome: "ok", sessions: "sessions" });
});

test("an operation is told in the context of the request that wanted it, also when it had to wait for another's", async () => {
  const contexts = new AsyncLocalStorage<string>();
  const { store, another } = house();
  const gated = new GatedStore(store);
  const sessions = another({ store: gated });
  const seen: (string | undefined)[] = [];
  const note = () => {
    seen.push(contexts.getStore());
  };
  storeChannel.start.subscribe(note);
  ends.push(() => storeChannel.start.unsubscribe(note));
  const browser = new Jar();
  await contexts.run("first", () => browser.request(sessions, (session) => session.set("n", 0)));
  const { cookie } = browser;
  const held = gate();
  gated.after = (verb) => (verb === "read" ? held.promise : undefined);
  const visit = (name: string) =>
    contexts.run(name, () => request(sessions, { cookie }, (session) => session.update("n", () => name)));
  const visits = [visit("a"), visit("b"), visit("c")];
  await expect.poll(() => gated.calls.read).toBe(1);
  held.open();
  await Promise.all(visits);
  const [created, readByA, ...rest] = seen;
  expect([created, readByA]).toEqual(["first", "a"]);
  // The second read was b's and c's together; b wanted it first.
  expect(rest).toContain("b");
  expect(rest).not.toContain(undefined);
  expect(rest).not.toContain("first");
});

test("while nobody listens a call passes through as it is", async () => {
  const clock = new FakeClock();
  const inner = memoryStore({ clock });
  const answer = Promise.resolve(null);
  inner.read = () => answer;
  expect(storeChannel.hasSubscribers).toBe(false);
  expect(observedStore(inner, "shop", clock).read("any" as SessionKey)).toBe(answer);
  hear("tracing:sojourn:store:start");
  expect(observedStore(inner, "shop", clock).read("any" as SessionKey)).not.toBe(answer);
});

test.each(["", "x".repeat(65), 7 as unknown as string])("the name %j is refused", (name) => {
  expect(() => house({ name, store: memoryStore() })).toThrow(
    expect.objectContaining({ code: "INVALID_OPTION" }),
  );
});
