import { connect } from "node:net";
import { connect as tlsConnect } from "node:tls";
import { describe, expect, test, vi } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { SessionError } from "../../core/errors.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { MemoryNetwork } from "./in-memory.ts";
import { keyId, pskIdentity } from "./psk.ts";
import { tcpTransport } from "./tcp.ts";
import { addressText, isLoopback, parseAddress, type Transport } from "./transport.ts";
import { TRANSPORT_CASES, type TransportHarness } from "./transport-suite.ts";

const KEYS = [Buffer.alloc(32, 1), Buffer.alloc(32, 2), Buffer.alloc(32, 3)] as const;

async function untilReal(condition: () => boolean, what: string): Promise<void> {
  await vi.waitFor(() => expect(condition(), what).toBe(true), { timeout: 10_000, interval: 2 });
}

function real(transport: () => Transport): () => TransportHarness {
  return () => ({ server: transport(), client: transport(), until: untilReal });
}

function inMemory(): TransportHarness {
  const clock = new FakeClock();
  const { transport } = new MemoryNetwork(clock);
  return {
    server: transport,
    client: transport,
    async until(condition, what) {
      for (let ms = 0; ms < 10_000 && !condition(); ms += 10) await clock.advanceAsync(10);
      expect(condition(), what).toBe(true);
    },
  };
}

describe.each([
  ["TCP", real(() => tcpTransport())],
  ["TLS", real(() => tcpTransport({ security: { domain: "shop", keys: [KEYS[0]] } }))],
  ["memory", inMemory],
])("transport contract: %s", (_name, harness) => {
  test.each(TRANSPORT_CASES.map((each) => [each.name, each] as const))("%s", async (_case, { run }) => {
    await run(harness());
  });
});

/** A TLS server of ours, and how each caller fared. */
async function secured(keys: readonly Buffer[]) {
  const refusals: SessionError[] = [];
  const listener = await tcpTransport({ security: { domain: "shop", keys } }).listen(
    { host: "127.0.0.1", port: 0 },
    (connection) => {
      connection.admit(1024);
      return { frame: (frame) => connection.send(frame), closed: () => undefined };
    },
    { refused: (reason) => refusals.push(reason) },
  );
  const call = (client: Transport) =>
    new Promise<"echoed" | SessionError>((resolve) => {
      const connection = client.connect(listener.address, {
        opened: () => connection.send(Buffer.from("hi")),
        frame: () => {
          resolve("echoed");
          connection.close();
        },
        closed: (error) => resolve(error ?? new SessionError("STORE_UNAVAILABLE", "closed")),
      });
    });
  return { listener, refusals, call };
}

const holding = (...keys: Buffer[]) => tcpTransport({ security: { domain: "shop", keys } });

test("a secret makes it TLS 1.3 with a pre-shared key, and no certificate is sent", async () => {
  const { listener } = await secured([KEYS[0]]);
  const socket = tlsConnect({
    ...listener.address,
    pskCallback: () => ({ identity: pskIdentity("shop", KEYS[0]), psk: KEYS[0] }),
    checkServerIdentity: () => undefined,
  });
  await new Promise((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
  expect(socket.getProtocol()).toBe("TLSv1.3");
  expect(socket.getCipher().standardName).toBe("TLS_AES_128_GCM_SHA256");
  expect(socket.getPeerCertificate()).toEqual({});
  socket.destroy();
  await listener.stop();
});

test("TLS 1.2 is refused even with the right key", async () => {
  const { listener, refusals } = await secured([KEYS[0]]);
  const socket = tlsConnect({
    ...listener.address,
    maxVersion: "TLSv1.2",
    ciphers: "PSK",
    pskCallback: () => ({ identity: pskIdentity("shop", KEYS[0]), psk: KEYS[0] }),
    checkServerIdentity: () => undefined,
  });
  const outcome = await new Promise((resolve) => {
    socket.once("secureConnect", () => resolve("connected")).once("error", () => resolve("refused"));
  });
  expect(outcome).toBe("refused");
  await untilReal(() => refusals.length === 1, "the server noticed");
  await listener.stop();
});

test("while a secret changes, servers with both accept clients with either", async () => {
  const { listener, call } = await secured([KEYS[1], KEYS[0]]);
  expect(await call(holding(KEYS[0]))).toBe("echoed");
  expect(await call(holding(KEYS[1]))).toBe("echoed");
  await listener.stop();
});

test("a client with several secrets goes on to the next when a server does not know one", async () => {
  const { listener, call } = await secured([KEYS[0]]);
  const client = holding(KEYS[2], KEYS[0]);
  expect(await call(client)).toMatchObject({ code: "WRONG_SECRET" });
  expect(await call(client)).toBe("echoed");
  await listener.stop();
});

test("a wrong secret is called so on both sides, a forged identity too", async () => {
  const { listener, call, refusals } = await secured([KEYS[0]]);
  expect(await call(holding(KEYS[1]))).toMatchObject({
    code: "WRONG_SECRET",
    message: `Cannot connect with ${addressText(listener.address)}: wrong secret for domain "shop"`,
  });
  // Names a key that the server has, without having it.
  const forger = tlsConnect({
    ...listener.address,
    pskCallback: () => ({ identity: `sojourn1:shop:${keyId(KEYS[0])}`, psk: KEYS[1] }),
  });
  await new Promise((resolve) => forger.once("error", resolve));
  await untilReal(() => refusals.length === 2, "both were refused");
  for (const refusal of refusals) {
    expect(refusal.code).toBe("WRONG_SECRET");
    expect(refusal.message).toMatch(/^Cannot accept 127\.0\.0\.1:\d+: wrong secret for domain "shop"$/);
  }
  await listener.stop();
});

test("plain bytes to a TLS server and TLS to a plain one are told apart from a wrong secret", async () => {
  const { listener, refusals } = await secured([KEYS[0]]);
  const plain = connect(listener.address);
  plain.write("GET / HTTP/1.1\r\n\r\n");
  await new Promise((resolve) => plain.once("close", resolve));
  await untilReal(() => refusals.length === 1, "the server noticed");
  expect(refusals[0]?.message).toMatch(/speaks without TLS/);
  await listener.stop();

  const open = await tcpTransport().listen(
    { host: "127.0.0.1", port: 0 },
    () => ({ frame: () => undefined, closed: () => undefined }),
    { refusal: Buffer.from("no") },
  );
  const reason = await new Promise<SessionError | undefined>((resolve) => {
    holding(KEYS[0]).connect(open.address, { frame: () => undefined, closed: resolve });
  });
  expect(reason).toMatchObject({ code: "INVALID_FRAME" });
  expect(reason?.message).toMatch(
    /does not speak TLS; perhaps it was started without a secret, this side has one$/,
  );
  await open.stop();
});

test("addresses are parsed or refused, never guessed", () => {
  expect(parseAddress("10.0.0.1")).toEqual({ host: "10.0.0.1", port: 5701 });
  expect(parseAddress("db-1.example.com:6000")).toEqual({ host: "db-1.example.com", port: 6000 });
  expect(parseAddress("[::1]:6000")).toEqual({ host: "::1", port: 6000 });
  expect(addressText({ host: "::1", port: 6000 })).toBe("[::1]:6000");
  for (const bad of ["", ":1", "a:b", "a:0", "a:65536", "::1", "a b", "http://a:1", "a:1/"]) {
    expect(() => parseAddress(bad), bad).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  }
  expect(["127.0.0.1", "127.9.9.9", "localhost", "::1"].map(isLoopback)).toEqual([true, true, true, true]);
  expect(["0.0.0.0", "::", "10.0.0.1", "127.0.0.1.evil.com", "1270.0.0.1"].map(isLoopback)).not.toContain(
    true,
  );
});

test("a sweep that comes late judges nobody: the process itself was away", async () => {
  const clock = new FakeClock();
  const moving = Object.assign(Object.create(clock) as FakeClock, {
    nowMs: () => clock.nowMs(),
    monotonicMs: () => clock.monotonicMs(),
    setTimer: (callback: () => void, delayMs: number) => clock.setTimer(callback, delayMs),
  });
  const refusals: SessionError[] = [];
  const listener = await tcpTransport({ clock: moving }).listen(
    { host: "127.0.0.1", port: 0 },
    () => ({ frame: () => undefined, closed: () => undefined }),
    { refused: (reason) => refusals.push(reason) },
  );
  const socket = connect(listener.address);
  await new Promise((resolve) => socket.once("connect", resolve));
  await new Promise((resolve) => systemClock.setTimer(() => resolve(undefined), 20));
  // Stopped for a minute: the timer runs when time is already far beyond it.
  const away = clock.monotonicMs() + 60_000;
  moving.monotonicMs = () => away;
  clock.advance(1_000);
  expect(refusals).toEqual([]);
  moving.monotonicMs = () => away + 6_000;
  clock.advance(1_000);
  expect(refusals).toEqual([]);
  socket.destroy();
  await listener.stop();
});
