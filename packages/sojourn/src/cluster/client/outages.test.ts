/** What a client makes of servers that are away, frozen or slow, and what its watches may still promise then. */
import { expect, test } from "vitest";
import type { SessionKey } from "../../core/ids.ts";
import { encodeReply } from "../wire/replies.ts";
import { given, MEMBER, puppet, type Received, watched } from "./given.test.support.ts";

test("while nothing answers, calls fail in the same turn and one probe at a time looks for a server", async () => {
  const world = given();
  const store = world.client();
  const first = watched(store.read(world.key()));
  await world.clock.advanceAsync(1);
  expect(first.error?.message).toMatch(
    /^Cannot read the session: store "session-servers" is not reachable\. .*nothing listens there$/,
  );
  const startedMs = world.clock.monotonicMs();
  const during = await Promise.allSettled(Array.from({ length: 200 }, () => store.read(world.key())));
  expect(during.every((result) => result.status === "rejected")).toBe(true);
  expect(world.clock.monotonicMs()).toBe(startedMs);
  const { connects } = store.status();
  await world.clock.advanceAsync(10_000);
  expect(store.status().connects - connects).toBeGreaterThanOrEqual(9);
  expect(store.status().connects - connects).toBeLessThanOrEqual(25);
  expect(store.status().problem).toMatch(/nothing listens there/);

  await world.serve();
  await world.clock.advanceAsync(1_100);
  expect(store.status()).toMatchObject({ connectedTo: MEMBER, problem: null });
  expect(await store.read(world.key())).toBe(null);
});

test("a frozen server costs the first callers their timeout and later ones nothing, until it answers again", async () => {
  const world = given();
  await world.serve();
  const store = world.client();
  const created = world.session();
  const create = store.create(created);
  await world.clock.advanceAsync(1);
  expect(await create).toMatchObject({ status: "created" });

  world.network.hold();
  const frozen = watched(store.read(created.key));
  await world.clock.advanceAsync(501);
  expect(frozen.outcome).toBe("failed");
  const later = watched(store.read(created.key));
  await world.clock.advanceAsync(0);
  expect(later.outcome).toBe("failed");
  await world.clock.advanceAsync(5_000);
  expect(watched(store.read(created.key)).outcome).toBe("pending");

  world.network.release();
  await world.clock.advanceAsync(1_100);
  const after = watched(store.read(created.key));
  await world.clock.advanceAsync(1);
  expect(after.value?.key).toBe(created.key);
});

test("a write that a frozen server finds when it wakes is refused: its caller was told that it failed", async () => {
  const world = given();
  const server = await world.serve();
  const store = world.client();
  const created = world.session();
  const create = store.create(created);
  await world.clock.advanceAsync(1);
  await create;
  world.network.hold();
  const ghost = watched(store.apply(created.key, { set: new Map([["a", Buffer.from("ghost")]]) }));
  await world.clock.advanceAsync(3_000);
  expect(ghost.outcome).toBe("failed");
  world.network.release();
  await world.clock.advanceAsync(1_100);
  expect(server.status().late).toBe(1);
  const read = watched(store.read(created.key));
  await world.clock.advanceAsync(1);
  expect(String(read.value?.attributes.get("a")?.value)).toBe("1");
});

test("an idle connection whose heartbeats stay unanswered is replaced before anyone asks", async () => {
  const world = given();
  const server = await puppet(world);
  const store = world.client();
  await world.clock.advanceAsync(1_100);
  expect(store.status().connectedTo).toBe(MEMBER);
  server.beats = false;
  await world.clock.advanceAsync(2_600);
  expect(server.ended.length).toBeGreaterThan(0);
});

test("a watch's lease counts from the sending of the last answered heartbeat and ends with the connection", async () => {
  const world = given();
  const server = await world.serve();
  const store = world.client();
  const told: (readonly SessionKey[] | "all")[] = [];
  const watching = store.watch({ invalidated: (keys) => told.push(keys) });
  await world.clock.advanceAsync(1);
  const watch = await watching;
  await world.clock.advanceAsync(5_000);
  const lease = () => watch.leaseUntilMs() - world.clock.monotonicMs();
  expect(lease()).toBeGreaterThan(1_400);
  expect(lease()).toBeLessThanOrEqual(2_000);

  world.network.hold();
  await world.clock.advanceAsync(1_000);
  expect(lease()).toBeLessThanOrEqual(1_000);
  await world.clock.advanceAsync(1_000);
  expect(lease()).toBeLessThanOrEqual(0);
  world.network.release();

  await world.clock.advanceAsync(2_000);
  world.network.sever();
  expect(told).toContain("all");
  expect(lease()).toBeLessThanOrEqual(0);
  await world.clock.advanceAsync(2_000);
  expect(lease()).toBeGreaterThan(1_000);
  expect(server.status().watchers).toBe(1);
});

test("a slow network shortens the lease by its whole round trip", async () => {
  const world = given();
  await world.serve();
  const store = world.client();
  const watching = store.watch({ invalidated: () => undefined });
  await world.clock.advanceAsync(1);
  const watch = await watching;
  world.network.latencyMs = 200;
  await world.clock.advanceAsync(2_000);
  const leases: number[] = [];
  for (let step = 0; step < 100; step++) {
    await world.clock.advanceAsync(20);
    leases.push(watch.leaseUntilMs() - world.clock.monotonicMs());
  }
  expect(Math.max(...leases)).toBeLessThanOrEqual(1_600);
  expect(Math.max(...leases)).toBeGreaterThan(1_500);
});

test("over a new connection there is no lease before the watch itself was answered", async () => {
  const world = given();
  const server = await puppet(world);
  const store = world.client();
  const watching = store.watch({ invalidated: () => undefined });
  await world.clock.advanceAsync(1);
  // One of the connection, which is new, and one of the call.
  const [first, second] = server.received as [Received, Received];
  for (const { id } of [first, second]) first.connection.send(encodeReply(id, { op: "watch" }, 0));
  await world.clock.advanceAsync(600);
  const watch = await watching;
  expect(watch.leaseUntilMs()).toBeGreaterThan(world.clock.monotonicMs());
  first.connection.close();
  await world.clock.advanceAsync(700);
  const again = server.received[2]!;
  expect(again.request.op).toBe("watch");
  expect(store.status().connectedTo).toBe(MEMBER);
  // Heartbeats are answered, but nobody has promised to tell of changes yet.
  expect(watch.leaseUntilMs()).toBe(0);
  again.connection.send(encodeReply(again.id, { op: "watch" }, 0));
  await world.clock.advanceAsync(1);
  expect(watch.leaseUntilMs()).toBeGreaterThan(world.clock.monotonicMs());
});

test("changes of one turn are told in one push, before a later heartbeat is answered", async () => {
  const world = given();
  await world.serve();
  const [writer, reader] = [world.client(), world.client()];
  const told: (readonly SessionKey[] | "all")[] = [];
  const watching = reader.watch({ invalidated: (keys) => told.push(keys) });
  await world.clock.advanceAsync(1);
  await watching;
  const sessions = Array.from({ length: 5 }, () => world.session());
  const created = Promise.all(sessions.map((session) => writer.create(session)));
  await world.clock.advanceAsync(1);
  await created;
  expect(told.flat().sort()).toEqual(sessions.map(({ key }) => key).sort());
  expect(told.length).toBeLessThanOrEqual(5);
});
