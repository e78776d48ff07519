/** What a caller gets from a client whose servers answer, answer wrongly, or refuse. */
import { expect, test } from "vitest";
import type { SessionKey } from "../../core/ids.ts";
import { encodeRefusal } from "../wire/hello.ts";
import { encodeReply, type Reply } from "../wire/replies.ts";
import { given, MEMBER, notThere, puppet, type Received, watched } from "./given.test.support.ts";
import { sessionServers } from "./session-servers.ts";

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
