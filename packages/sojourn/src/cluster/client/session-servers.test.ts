/** The client against a network in memory: time moves by hand, so bounds are exact. */
import { afterEach, expect, test } from "vitest";
import { newSessionId, type SessionKey, sessionKeyOf } from "../../core/ids.ts";
import type { NewSession } from "../../core/record.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { type SessionServer, startSessionServer } from "../server/session-server.ts";
import { MemoryNetwork } from "../transport/in-memory.ts";
import type { Connection } from "../transport/transport.ts";
import { encodeRefusal, encodeWelcome, type Hello } from "../wire/hello.ts";
import { encodeReply, type Reply } from "../wire/replies.ts";
import { decodeRequest, type RequestEnvelope } from "../wire/requests.ts";
import { type SessionServersOptions, type SessionServersStore, sessionServers } from "./session-servers.ts";

const ADDRESS = { host: "127.0.0.1", port: 5701 };
const MEMBER = "127.0.0.1:5701";

const opened: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
});

function given(options: Partial<SessionServersOptions> = {}) {
  const clock = new FakeClock();
  const network = new MemoryNetwork(clock);
  const { transport } = network;
  const key = (): SessionKey => sessionKeyOf(newSessionId(clock));
  const session = (at = key()): NewSession => ({
    key: at,
    attributes: new Map([["a", Buffer.from("1")]]),
    expiresAtMs: clock.nowMs() + 600_000,
    absoluteExpiresAtMs: clock.nowMs() + 3_600_000,
  });
  const serve = async (): Promise<SessionServer> => {
    const server = await startSessionServer({ transport, clock, domain: "shop" });
    opened.push({ close: () => server.close({ graceMs: 0 }) });
    return server;
  };
  const client = (more: Partial<SessionServersOptions> = {}): SessionServersStore => {
    const store = sessionServers({
      members: [MEMBER],
      domain: "shop",
      transport,
      clock,
      ...options,
      ...more,
    });
    opened.push({
      close: async () => {
        const closed = store.close();
        await clock.advanceAsync(10_000);
        await closed;
      },
    });
    return store;
  };
  return { clock, network, transport, key, session, serve, client };
}

/** How a promise stands, without waiting for it. */
function watched<T>(promise: Promise<T>) {
  const state: {
    outcome: "pending" | "ok" | "failed";
    value?: T;
    error?: { code: string; message: string };
  } = {
    outcome: "pending",
  };
  promise.then(
    (value) => Object.assign(state, { outcome: "ok", value }),
    (error) => Object.assign(state, { outcome: "failed", error }),
  );
  return state;
}

interface Received extends RequestEnvelope {
  readonly connection: Connection;
}

/** A server that says hello and then answers only what the test makes it answer. */
async function puppet({ transport, clock }: Pick<ReturnType<typeof given>, "transport" | "clock">) {
  const received: Received[] = [];
  const connections: Connection[] = [];
  const ended: Connection[] = [];
  const puppeteer = {
    received,
    connections,
    ended,
    refuse: undefined as Uint8Array | undefined,
    beats: true,
  };
  const identity: Hello = {
    protocols: { min: 1, max: 1 },
    role: "member",
    features: 0,
    domain: "shop",
    member: "puppet",
    incarnation: "0123456789abcdef",
    software: "test",
  };
  await transport.listen(ADDRESS, (connection) => {
    connections.push(connection);
    let greeted = false;
    return {
      frame(frame) {
        const now = { wallMs: clock.nowMs(), authorityMs: clock.monotonicMs() };
        if (!greeted) {
          greeted = true;
          connection.admit(1024 * 1024);
          if (puppeteer.refuse) connection.send(puppeteer.refuse);
          else connection.send(encodeWelcome({ ...identity, protocol: 1, authorityMs: now.authorityMs }));
          return;
        }
        const envelope = decodeRequest(frame, now);
        if (envelope.request.op !== "heartbeat") received.push({ ...envelope, connection });
        else if (puppeteer.beats) {
          const beat: Reply = { op: "heartbeat", authorityMs: now.authorityMs };
          connection.send(encodeReply(envelope.id, beat, now.wallMs));
        }
      },
      closed: () => ended.push(connection),
    };
  });
  return puppeteer;
}

const notThere = (key: SessionKey): Reply => ({ op: "read", key, record: null });

test("many calls travel together and each gets its own answer, in whatever order they come", async () => {
  const world = given();
  const server = await puppet(world);
  const store = world.client();
  const keys = Array.from({ length: 50 }, world.key);
  const reads = Promise.all(keys.map((key) => store.destroy(key)));
  await world.clock.advanceAsync(1);
  expect(server.received.length).toBe(50);
  expect(server.connections.length).toBe(1);
  for (const { id, request, connection } of [...server.received].reverse()) {
    const key = "key" in request ? request.key : keys[0]!;
    connection.send(encodeReply(id, { op: "destroy", key, ended: keys.indexOf(key) % 2 === 0 }, 0));
  }
  await world.clock.advanceAsync(1);
  expect(await reads).toEqual(keys.map((_key, index) => index % 2 === 0));
});

test("an answer for another session is given to nobody: the connection ends and the call goes again elsewhere", async () => {
  const world = given();
  const server = await puppet(world);
  const store = world.client();
  const key = world.key();
  const read = watched(store.read(key));
  await world.clock.advanceAsync(1);
  const first = server.received[0]!;
  first.connection.send(encodeReply(first.id, notThere(world.key()), 0));
  await world.clock.advanceAsync(50);
  expect(server.ended).toContain(first.connection);
  const again = server.received[1]!;
  expect(again.connection).not.toBe(first.connection);
  again.connection.send(encodeReply(again.id, notThere(key), 0));
  await world.clock.advanceAsync(1);
  expect(read).toMatchObject({ outcome: "ok", value: null });
});

test.each<[string, (key: SessionKey) => Reply]>([
  ["of another kind", (key) => ({ op: "touch", key, live: true })],
  ["that no request waits for", notThere],
])("an answer %s ends the connection", async (name, reply) => {
  const world = given();
  const server = await puppet(world);
  const store = world.client();
  const read = watched(store.read(world.key()));
  await world.clock.advanceAsync(1);
  const { connection, id, request } = server.received[0]!;
  const key = "key" in request ? request.key : world.key();
  connection.send(encodeReply(name.startsWith("that") ? id + 7 : id, reply(key), 0));
  await world.clock.advanceAsync(5);
  expect(server.ended).toContain(connection);
  expect(read.outcome).toBe("pending");
});

test("a server that answers garbage costs its callers their deadline at most, and three connections per call", async () => {
  const world = given();
  const server = await puppet(world);
  const store = world.client();
  const read = watched(store.read(world.key()));
  for (let round = 0; round < 10; round++) {
    await world.clock.advanceAsync(20);
    for (const { connection } of server.received) connection.send(Buffer.from("HTTP/1.1 400 Bad Request"));
  }
  await world.clock.advanceAsync(500);
  expect(read.outcome).toBe("failed");
  expect(read.error?.code).toBe("STORE_UNAVAILABLE");
  expect(server.received.length).toBe(3);
});

test("a call that times out ends its connection; what else was on it goes again under its operation id", async () => {
  const world = given();
  const server = await puppet(world);
  const store = world.client();
  const slow = watched(store.destroy(world.key(), { timeoutMs: 500 }));
  const patient = watched(store.destroy(world.key(), { timeoutMs: 2_000 }));
  await world.clock.advanceAsync(499);
  expect(slow.outcome).toBe("pending");
  await world.clock.advanceAsync(2);
  expect(slow.error).toMatchObject({
    code: "STORE_UNAVAILABLE",
    message: 'Cannot end the session: store "session-servers" did not answer within 500 ms',
  });
  expect(server.ended.length).toBe(1);
  // Who comes now is not made to wait …
  const late = watched(store.read(world.key()));
  await world.clock.advanceAsync(0);
  expect(late.outcome).toBe("failed");
  // … and who was there before goes with the first connection that stands.
  await world.clock.advanceAsync(30);
  const [, first, again] = server.received as [Received, Received, Received];
  expect(again.connection).not.toBe(first.connection);
  expect(again.request).toEqual(first.request);
  const { key } = again.request as { key: SessionKey };
  again.connection.send(encodeReply(again.id, { op: "destroy", key, ended: true }, 0));
  await world.clock.advanceAsync(1);
  expect(patient).toMatchObject({ outcome: "ok", value: true });
});

test("what was under way when the connection was lost in good order goes again, within its own deadline", async () => {
  const world = given();
  const server = await puppet(world);
  const store = world.client();
  const ended = watched(store.destroy(world.key(), { timeoutMs: 1_000 }));
  await world.clock.advanceAsync(1);
  const first = server.received[0]!;
  first.connection.close();
  await world.clock.advanceAsync(100);
  const again = server.received[1]!;
  expect(again.request).toEqual(first.request);
  expect(again.deadlineMs).toBe(first.deadlineMs);
  const { key } = again.request as { key: SessionKey };
  again.connection.send(encodeReply(again.id, { op: "destroy", key, ended: true }, 0));
  await world.clock.advanceAsync(1);
  expect(ended).toMatchObject({ outcome: "ok", value: true });
});

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

test("an abort stops the wait at once and leaves the connection to the others", async () => {
  const world = given();
  const server = await puppet(world);
  const store = world.client();
  const abort = new AbortController();
  const aborted = watched(store.read(world.key(), { signal: abort.signal }));
  const key = world.key();
  const other = watched(store.read(key));
  await world.clock.advanceAsync(1);
  abort.abort(new Error("the visitor left"));
  await world.clock.advanceAsync(1);
  expect(aborted.error?.message).toBe("the visitor left");
  // Both answers come, the aborted one's too: it is thrown away.
  for (const { id, request, connection } of server.received) {
    connection.send(encodeReply(id, notThere((request as { key: SessionKey }).key), 0));
  }
  await world.clock.advanceAsync(1);
  expect(other.outcome).toBe("ok");
  expect(server.ended).toEqual([]);
});

test("a short timeout ends only its own wait; unanswered beyond 500 ms it ends the connection too", async () => {
  const world = given();
  const server = await puppet(world);
  const store = world.client();
  const hasty = watched(store.read(world.key(), { timeoutMs: 20 }));
  await world.clock.advanceAsync(25);
  expect(hasty.outcome).toBe("failed");
  expect(server.ended).toEqual([]);
  await world.clock.advanceAsync(1_000);
  expect(server.ended.length).toBe(1);
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

test("too many calls under way, or too many bytes, fail at once instead of queueing", async () => {
  const world = given();
  await puppet(world);
  const store = world.client({ pendingMax: 3 });
  await world.clock.advanceAsync(1);
  const calls = Array.from({ length: 4 }, () => watched(store.read(world.key())));
  await world.clock.advanceAsync(0);
  expect(calls.map(({ outcome }) => outcome)).toEqual(["pending", "pending", "pending", "failed"]);
  expect(calls[3]?.error?.message).toMatch(/has 3 calls under way already$/);

  const heavy = world.client({ queuedBytesMax: 1_000 });
  await world.clock.advanceAsync(1);
  world.network.hold();
  const big = { ...world.session(), attributes: new Map([["a", Buffer.alloc(2_000)]]) };
  const first = watched(heavy.create(big));
  const second = watched(heavy.create({ ...big, key: world.key() }));
  await world.clock.advanceAsync(0);
  expect([first.outcome, second.outcome]).toEqual(["pending", "failed"]);
  expect(second.error?.code).toBe("STORE_UNAVAILABLE");
  world.network.release();
});

test("a call without a bound waits as long as it takes, not no time at all", async () => {
  const world = given();
  const server = await puppet(world);
  const store = world.client();
  const key = world.key();
  const read = watched(store.read(key, { timeoutMs: Number.POSITIVE_INFINITY }));
  await world.clock.advanceAsync(60_000);
  expect(read.outcome).toBe("pending");
  const { connection, id } = server.received[0]!;
  connection.send(encodeReply(id, notThere(key), 0));
  await world.clock.advanceAsync(1);
  expect(read.outcome).toBe("ok");
});

test("a session above a frame is refused before it is sent", async () => {
  const world = given();
  await world.serve();
  const store = world.client();
  const huge = { ...world.session(), attributes: new Map([["a", Buffer.alloc(17 * 1024 * 1024)]]) };
  const create = watched(store.create(huge));
  await world.clock.advanceAsync(1);
  expect(create.error?.code).toBe("SESSION_TOO_LARGE");
  expect(store.status().connectedTo).toBe(MEMBER);
});

test("a server of another protocol or domain is named with both sides' values", async () => {
  const world = given();
  const server = await puppet(world);
  server.refuse = encodeRefusal({
    protocols: { min: 3, max: 3 },
    code: "WRONG_PROTOCOL_VERSION",
    domain: "shop",
    message: "",
  });
  const store = world.client();
  const read = watched(store.read(world.key()));
  await world.clock.advanceAsync(1);
  expect(read.error).toMatchObject({ code: "WRONG_PROTOCOL_VERSION" });
  expect(read.error?.message).toMatch(
    /Cannot join domain "shop": 127\.0\.0\.1:5701 speaks protocol 3, this client speaks 1\.\.1$/,
  );
});

test("a client of another domain is refused by the server, in words", async () => {
  const world = given();
  const server = await world.serve();
  const store = world.client({ domain: "bank" });
  const read = watched(store.read(world.key()));
  await world.clock.advanceAsync(1);
  expect(read.error).toMatchObject({ code: "WRONG_DOMAIN" });
  expect(read.error?.message).toMatch(/Cannot join domain "bank": 127\.0\.0\.1:5701 serves domain "shop"$/);
  expect(server.status()).toMatchObject({ connections: 0, refused: 1 });
});

test("further addresses are tried in order while the first is away", async () => {
  const world = given();
  await world.serve();
  const store = world.client({ members: ["127.0.0.1:5999", MEMBER] });
  const read = watched(store.read(world.key()));
  await world.clock.advanceAsync(5);
  expect(read).toMatchObject({ outcome: "ok", value: null });
  expect(store.status().connectedTo).toBe(MEMBER);
});

test("a server that leaves in good order finishes what is under way; callers do not notice its successor", async () => {
  const world = given();
  const server = await world.serve();
  const store = world.client();
  const first = watched(store.read(world.key()));
  await world.clock.advanceAsync(1);
  expect(first.outcome).toBe("ok");
  const last = watched(store.read(world.key()));
  const closed = watched(server.close());
  await world.clock.advanceAsync(5);
  expect(last.outcome).toBe("ok");
  expect(closed.outcome).toBe("ok");
  await world.serve();
  await world.clock.advanceAsync(1_100);
  const next = watched(store.read(world.key()));
  await world.clock.advanceAsync(1);
  expect(next.outcome).toBe("ok");
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

test("close() lets calls under way finish, refuses later ones, and leaves no timer behind", async () => {
  const world = given();
  const server = await puppet(world);
  const store = world.client();
  const key = world.key();
  const read = watched(store.read(key));
  await world.clock.advanceAsync(1);
  const closed = watched(store.close());
  await expect(store.read(key)).rejects.toMatchObject({ code: "STORE_CLOSED" });
  const { connection, id } = server.received[0]!;
  connection.send(encodeReply(id, notThere(key), 0));
  await world.clock.advanceAsync(5);
  expect([read.outcome, closed.outcome]).toEqual(["ok", "ok"]);
  expect(server.ended).toContain(connection);
  // What the puppet's listener itself still waits for is gone with the connection.
  expect(world.clock.pendingTimers).toBe(0);
  await store.close();
});

test("options that cannot work are refused at once", () => {
  const { transport } = given();
  for (const options of [
    { members: [] },
    { members: ["a:b"] },
    { members: [MEMBER], domain: "a b" },
    { members: [MEMBER], secret: "short" },
  ]) {
    expect(() => sessionServers({ transport, ...options })).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION" }),
    );
  }
  // Beyond this machine only with a secret: the server would not listen there without one either.
  expect(() => sessionServers({ members: ["10.0.0.1"] })).toThrow(/without `secret`/);
});
