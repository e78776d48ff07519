import { readFileSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { newSessionId, type SessionKey, sessionKeyOf } from "../../core/ids.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { AuthorityClock } from "../client/authority-clock.ts";
import { sessionServers } from "../client/session-servers.ts";
import { LimitedLog } from "../log.ts";
import { SOFTWARE } from "../software.ts";
import { MemoryNetwork } from "../transport/in-memory.ts";
import type { Connection } from "../transport/transport.ts";
import { encodeHello, OUR_PROTOCOLS } from "../wire/hello.ts";
import { decodeFromServer, type Push, type Reply } from "../wire/replies.ts";
import { encodeRequest, type Request } from "../wire/requests.ts";
import { OperationCounters } from "./counters.ts";
import { startSessionServer } from "./session-server.ts";

function given() {
  const clock = new FakeClock();
  const network = new MemoryNetwork(clock);
  const { transport } = network;
  const lines: string[] = [];
  const log = (level: string, message: string) => lines.push(`${level} ${message}`);
  return { clock, network, transport, lines, log };
}

/** A caller that speaks frames and never goes away by itself. */
async function caller(world: ReturnType<typeof given>, address: { host: string; port: number }) {
  const replies: ({ id: number; reply: Reply } | Push)[] = [];
  let isWelcome = false;
  let isClosed = false;
  const connection: Connection = world.transport.connect(address, {
    opened: () =>
      connection.send(
        encodeHello({
          protocols: OUR_PROTOCOLS,
          role: "client",
          features: 0,
          domain: "default",
          member: "caller",
          incarnation: "0".repeat(16),
          software: "",
        }),
      ),
    frame(frame) {
      if (isWelcome) replies.push(decodeFromServer(frame, world.clock.nowMs()));
      else connection.admit(16 * 1024 * 1024);
      isWelcome = true;
    },
    closed() {
      isClosed = true;
    },
  });
  await world.clock.advanceAsync(1);
  const send = (id: number, request: Request, deadlineMs = Number.POSITIVE_INFINITY) =>
    connection.send(
      encodeRequest(
        { id, deadlineMs, request },
        { wallMs: world.clock.nowMs(), authorityMs: world.clock.monotonicMs() },
      ),
    );
  return { connection, replies, send, isClosed: () => isClosed };
}

test("without a secret only loopback may be listened on", async () => {
  for (const host of ["0.0.0.0", "::", "10.0.0.1", "example.com"]) {
    await expect(startSessionServer({ host, port: 0 })).rejects.toMatchObject({ code: "INSECURE_LISTEN" });
  }
});

test("a domain or secret that cannot be used is refused before anything listens", async () => {
  await expect(startSessionServer({ domain: "a b" })).rejects.toMatchObject({ code: "INVALID_OPTION" });
  await expect(startSessionServer({ secret: "short" })).rejects.toMatchObject({ code: "INVALID_OPTION" });
});

test("an operation past its deadline is refused and changes nothing; one in time is carried out", async () => {
  const world = given();
  const server = await startSessionServer({ ...world, port: 0 });
  const { send, replies } = await caller(world, server.address);
  const key = sessionKeyOf(newSessionId(world.clock));
  const operationId = world.clock.randomBytes(18).toString("base64url") as never;
  const session = { key, attributes: new Map(), expiresAtMs: 2.1e12, absoluteExpiresAtMs: 2.1e12 };
  send(1, { op: "create", operationId, session }, world.clock.monotonicMs() - 1);
  await world.clock.advanceAsync(0);
  expect(replies).toEqual([
    {
      id: 1,
      reply: {
        op: "error",
        code: "STORE_UNAVAILABLE",
        message: "Cannot start the operation: it arrived 1 ms after its deadline",
      },
    },
  ]);
  expect(server.status()).toMatchObject({ sessions: 0, late: 1 });
  send(2, { op: "create", operationId, session }, world.clock.monotonicMs() + 1);
  await world.clock.advanceAsync(0);
  expect(server.status().sessions).toBe(1);
  await server.close({ graceMs: 0 });
});

test('a watcher that does not keep up gets one "all" instead of a growing queue', async () => {
  const world = given();
  const server = await startSessionServer({ ...world, port: 0 });
  const watcher = await caller(world, server.address);
  watcher.send(1, { op: "watch" });
  await world.clock.advanceAsync(1);
  watcher.connection.setReading(false);
  const store = sessionServers({
    members: [`127.0.0.1:${server.address.port}`],
    transport: world.transport,
    clock: world.clock,
  });
  for (let round = 0; round < 30; round++) {
    const calls = Array.from({ length: 500 }, () =>
      store.create({
        key: sessionKeyOf(newSessionId(world.clock)),
        attributes: new Map(),
        expiresAtMs: 2.1e12,
        absoluteExpiresAtMs: 2.1e12,
      }),
    );
    await world.clock.advanceAsync(0);
    await Promise.all(calls);
  }
  watcher.connection.setReading(true);
  await world.clock.advanceAsync(1);
  const pushes = watcher.replies.filter((each): each is Push & { push: "invalidated" } => "push" in each);
  expect(pushes.at(-1)).toEqual({ push: "invalidated", keys: "all" });
  expect(pushes.filter(({ keys: told }) => told === "all").length).toBe(1);
  const told = pushes.reduce((sum, each) => sum + (each.keys === "all" ? 0 : each.keys.length), 0);
  expect(told * 32).toBeLessThan(300 * 1024);
  const closed = store.close();
  await world.clock.advanceAsync(1);
  await closed;
  await server.close({ graceMs: 0 });
});

test("close() waits for callers as long as it was told and no longer", async () => {
  const world = given();
  const server = await startSessionServer({ ...world, port: 0 });
  const stubborn = await caller(world, server.address);
  const closed = vi.fn();
  void server.close({ graceMs: 700 }).then(closed);
  await world.clock.advanceAsync(699);
  expect(closed).not.toHaveBeenCalled();
  expect(stubborn.replies).toEqual([{ push: "leaving" }]);
  await world.clock.advanceAsync(2);
  expect(closed).toHaveBeenCalled();
  expect(stubborn.isClosed()).toBe(true);
  expect(world.clock.pendingTimers).toBe(0);
});

test("one write of one attribute costs at most 250 bytes more than the attribute", () => {
  const frame = encodeRequest(
    {
      id: 1,
      deadlineMs: 1,
      request: {
        op: "apply",
        key: "A".repeat(43) as SessionKey,
        operationId: "A".repeat(24) as never,
        atLeast: { epoch: "0".repeat(16) as never, counter: 1 },
        delta: { set: new Map([["cart", Buffer.alloc(100)]]), expiresAtMs: 1 },
      },
    },
    { wallMs: 0, authorityMs: 0 },
  );
  // The frame's header and a TLS record's are 26 more.
  expect(frame.length + 26 - "cart".length - 100).toBeLessThanOrEqual(250);
});

test("the authority's clock is never taken to be ahead of what it is", () => {
  const clock = new AuthorityClock();
  const offsetMs = 12_345;
  // One way takes 1 to 40 ms.
  for (let sample = 0; sample < 100; sample++) {
    const readMs = 1_000 + sample * 500;
    const wayBackMs = 1 + ((sample * 7) % 40);
    clock.observe(readMs + wayBackMs, readMs + offsetMs);
    const nowMs = readMs + wayBackMs;
    expect(clock.at(nowMs)).toBeLessThanOrEqual(nowMs + offsetMs);
    if (sample > 16) expect(clock.at(nowMs)).toBeGreaterThanOrEqual(nowMs + offsetMs - 10);
  }
});

test("a flood of one kind of line is summed up, other kinds are not held back by it", () => {
  const { clock, lines, log } = given();
  const limited = new LimitedLog(log, clock);
  for (let line = 0; line < 100; line++) limited.write("INVALID_FRAME", "warn", `bad ${line}`);
  limited.write("WRONG_SECRET", "warn", "secret");
  expect(lines.length).toBe(6);
  clock.advance(10_000);
  expect(lines.at(-1)).toBe("warn INVALID_FRAME: 95 more in 10 s");
  limited.write("INVALID_FRAME", "warn", "again");
  expect(lines.at(-1)).toBe("warn again");
  limited.close();
  expect(clock.pendingTimers).toBe(0);
});

test("operations per second are the mean of the last ten whole seconds, heartbeats apart", () => {
  const clock = new FakeClock();
  const counters = new OperationCounters(clock);
  for (let second = 0; second < 20; second++) {
    for (let count = 0; count < 5; count++) counters.count("read");
    counters.count("heartbeat");
    clock.advance(1_000);
  }
  expect(counters.perSecond).toBe(5);
  expect(counters.totals).toEqual({ read: 100, heartbeat: 20 });
  clock.advance(60_000);
  expect(counters.perSecond).toBe(0);
});

test("the version that servers and clients tell each other is the package's", () => {
  const manifest = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8"));
  expect(SOFTWARE).toBe(manifest.version);
});
