/** What strangers do to a session server, and that a well-behaved client never notices. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { sessionServers } from "sojourn/server";
import { afterEach, expect, test, vi } from "vitest";
import {
  callRaw,
  framed,
  hello,
  newKey,
  newSession,
  type RawCaller,
  readFrame,
  type SpawnedServer,
  secretFile,
  spawnServer,
  u32,
  witness,
} from "../testing/spawned-server.ts";

const SECRET = "a secret of enough characters";
const MIB = 1024 * 1024;
/** Garbage collection decides when memory is given back; what an attack could pin would be far more. */
const MEMORY_GROWTH_MAX = 150 * MIB;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function server(...args: string[]): Promise<SpawnedServer> {
  const spawned = await spawnServer(...args);
  ends.push(async () => {
    spawned.signal("SIGKILL");
    await spawned.exited;
  });
  return spawned;
}

async function call(port: number, ...bytes: Buffer[]): Promise<RawCaller> {
  const caller = await callRaw(port, ...bytes);
  ends.push(() => caller.socket.destroy());
  return caller;
}

async function statusOf(member: string, secret?: string) {
  const store = sessionServers({ members: [member], timeoutMs: 2_000, ...(secret ? { secret } : {}) });
  try {
    return await store.serverStatus();
  } finally {
    await store.close();
  }
}

async function until(condition: () => boolean, what: string, timeout = 5_000): Promise<void> {
  await vi.waitFor(() => expect(condition(), what).toBe(true), { timeout, interval: 10 });
}

/** The attack, watched: no operation of a well-behaved client fails or takes long, and memory stays where it was. */
async function unharmed(running: SpawnedServer, attack: () => Promise<void>, secret?: string): Promise<void> {
  const security = secret ? { secret } : {};
  const before = await statusOf(running.member, secret);
  const good = await witness({ member: running.member, ...security });
  await attack();
  const fared = await good.stop();
  const after = await statusOf(running.member, secret);
  // Each of its calls has 500 ms, as an application's would.
  expect(fared.failures).toEqual([]);
  expect(fared.operations).toBeGreaterThan(10);
  expect(after.residentBytes - before.residentBytes).toBeLessThan(MEMORY_GROWTH_MAX);
  expect(after.pid).toBe(before.pid);
}

test("random bytes are refused, connection by connection", async () => {
  const running = await server();
  await unharmed(running, async () => {
    for (let round = 0; round < 20; round++) {
      const callers = await Promise.all(
        Array.from({ length: 20 }, () =>
          call(running.port, randomBytes(1 + Math.floor(Math.random() * 5_000))),
        ),
      );
      for (const caller of callers) caller.socket.end();
      await until(() => callers.every(({ isClosed }) => isClosed), "all are cut");
    }
  });
  const { connections, refused } = await statusOf(running.member);
  expect(connections).toBe(1);
  expect(refused).toBeGreaterThan(300);
  // A flood is summed up instead of filling the log.
  expect(running.log().split("\n").length).toBeLessThan(40);
});

test("a length of 4 GB is refused by its four bytes, before and after the hello", async () => {
  const running = await server();
  await unharmed(running, async () => {
    for (const opening of [[], [hello()]]) {
      const callers = await Promise.all(
        Array.from({ length: 50 }, () => call(running.port, ...opening, u32(0xffff_ffff))),
      );
      await until(() => callers.every(({ isClosed }) => isClosed), "all are cut");
    }
  });
});

test("a first frame above 4 KB is refused before it is sent, a later one above 16 MB too", async () => {
  const running = await server();
  const early = await call(running.port, u32(4097));
  const late = await call(running.port, hello(), u32(16 * MIB + 1));
  await until(() => early.isClosed && late.isClosed, "both are cut");
});

test("requests before the hello, a second hello and unknown messages end the connection", async () => {
  const running = await server();
  const callers = [
    await call(running.port, readFrame(1, newKey())),
    await call(running.port, hello(), hello()),
    await call(running.port, hello(), framed(Buffer.from([0x7e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]))),
    await call(
      running.port,
      hello(),
      framed(Buffer.concat([readFrame(1, newKey()).subarray(4), Buffer.from("more")])),
    ),
  ];
  await until(() => callers.every(({ isClosed }) => isClosed), "all are cut");
});

test("a hand-written hello and read are answered: docs/wire.md is enough to speak to it", async () => {
  const running = await server();
  const key = newKey();
  const caller = await call(running.port, hello(), readFrame(7, key));
  await until(
    () => caller.received().length > 0 && caller.received().includes(Buffer.from(key, "base64url")),
    "the answer is there",
  );
  const bytes = caller.received();
  expect(bytes[4]).toBe(0x02);
  expect(bytes.subarray(5, 9).toString()).toBe("SJRN");
  const reply = bytes.subarray(4 + bytes.readUInt32BE(0));
  expect([reply[4], reply.readUInt32BE(5), reply.subarray(9, 41).toString("base64url"), reply[41]]).toEqual([
    0x90,
    7,
    key,
    0,
  ]);
});

test("a wrong protocol or domain is refused in words, at once", async () => {
  const running = await server("--domain", "shop");
  const protocol = await call(running.port, hello("shop", 3));
  const domain = await call(running.port, hello("bank"));
  await until(() => protocol.isClosed && domain.isClosed, "both are cut");
  expect(protocol.received().toString("latin1")).toContain("it speaks protocol 3, this server speaks 1");
  expect(domain.received().toString("latin1")).toContain(
    'it belongs to domain "bank", this server to "shop"',
  );
  await until(() => running.log().includes("this server speaks 1"), "the log says so");
});

test("of 300 callers that never finish their hello 256 are kept, for 5 s; a new client gets in all the while", async () => {
  const running = await server();
  await unharmed(running, async () => {
    const half = hello().subarray(0, 20);
    const callers: RawCaller[] = [];
    for (let index = 0; index < 300; index++) callers.push(await call(running.port, half));
    await until(
      () => callers.filter(({ isClosed }) => isClosed).length >= 44,
      "what is too many is cut at once",
      3_000,
    );
    // The oldest went, so that who says hello quickly finds room.
    expect((await statusOf(running.member)).pid).toBe(running.pid);
    await until(() => callers.every(({ isClosed }) => isClosed), "the rest is cut after 5 s", 8_000);
  });
});

test("with TLS, half-open handshakes are bounded in the same way, and plain bytes are refused", async () => {
  const file = secretFile(SECRET);
  ends.push(() => file.remove());
  const running = await server("--secret-file", file.path);
  await unharmed(
    running,
    async () => {
      const callers: RawCaller[] = [];
      for (let index = 0; index < 300; index++) callers.push(await call(running.port));
      await until(
        () => callers.filter(({ isClosed }) => isClosed).length >= 44,
        "what is too many is cut",
        3_000,
      );
      const plain = await Promise.all(Array.from({ length: 50 }, () => call(running.port, hello())));
      await until(() => plain.every(({ isClosed }) => isClosed), "plain ones are cut");
      for (const caller of plain) expect(caller.received().includes("SJRN")).toBe(false);
      await until(() => callers.every(({ isClosed }) => isClosed), "the rest is cut after 5 s", 8_000);
    },
    SECRET,
  );
});

test("an unfinished frame is cut after 10 s, however slowly its sender goes on", async () => {
  const running = await server();
  await unharmed(running, async () => {
    const slow = await Promise.all(
      Array.from({ length: 20 }, () => call(running.port, hello(), u32(8 * MIB), Buffer.alloc(1000))),
    );
    const drip = setInterval(() => {
      for (const { socket } of slow) socket.write(Buffer.alloc(1));
    }, 100);
    ends.push(() => clearInterval(drip));
    await until(() => slow.every(({ isClosed }) => isClosed), "all are cut", 14_000);
    clearInterval(drip);
  });
  await until(() => running.log().includes("was not finished within 10000 ms"), "the log says why");
});

test("half frames of many callers together cannot take more memory than they are allowed to", async () => {
  const running = await server();
  const store = sessionServers({ members: [running.member] });
  ends.push(() => store.close());
  // 40 callers, 15 MB of an unfinished 16 MB frame each: 600 MB, of which 128 are allowed.
  const callers: RawCaller[] = [];
  for (let index = 0; index < 40; index++) {
    const caller = await call(running.port, hello(), u32(16 * MIB - 1), Buffer.alloc(15 * MIB));
    callers.push(caller);
    await until(() => caller.isClosed || caller.socket.writableLength === 0, "it was sent or cut");
  }
  expect(callers.filter(({ isClosed }) => isClosed).length).toBeGreaterThan(25);
  const { residentBytes } = await store.serverStatus({ timeoutMs: 2_000 });
  expect(residentBytes).toBeLessThan(400 * MIB);
  expect(await store.create(newSession())).toMatchObject({ status: "created" });
});

test("a caller that asks for gigabytes and takes nothing is slowed down, then cut; memory stays bounded", async () => {
  const running = await server();
  const store = sessionServers({ members: [running.member], timeoutMs: 2_000 });
  ends.push(() => store.close());
  const big = { ...newSession(), attributes: new Map([["a", Buffer.alloc(MIB)]]) };
  await store.create(big);
  const greedy = await call(running.port, hello());
  greedy.socket.pause();
  // 5,000 answers of 1 MB.
  for (let id = 1; id <= 5_000; id++) greedy.socket.write(readFrame(id, big.key));
  let worst = 0;
  await vi.waitFor(
    async () => {
      worst = Math.max(worst, (await store.serverStatus()).residentBytes);
      expect(running.log()).toContain("took nothing of what was sent for 10000 ms");
    },
    { timeout: 16_000, interval: 100 },
  );
  expect(worst).toBeLessThan(400 * MIB);
});

/** Opens connections from a process of its own and prints how many were made. */
const FLOOD = `
  const net = require("node:net");
  const [port, count] = process.argv.slice(1).map(Number);
  const sockets = [];
  let made = 0, failed = 0;
  const next = () => {
    if (made + failed >= count) return;
    const socket = net.connect(port, "127.0.0.1");
    sockets.push(socket);
    socket.once("connect", () => { made++; next(); });
    socket.once("error", (error) => {
      if (!socket.connecting && socket.bytesRead > 0) return;
      failed++;
      if (error.code === "EMFILE") process.stdout.write("limit\\n");
      next();
    });
    socket.on("error", () => {});
  };
  for (let lane = 0; lane < 50; lane++) next();
  const look = setInterval(() => {
    if (made + failed < count) return;
    clearInterval(look);
    process.stdout.write("made " + made + "\\n");
    for (const socket of sockets) socket.destroy();
    process.exit(0);
  }, 20);
`;

test("10,000 connections from another process are refused cheaply", async () => {
  const running = await server();
  const wanted = 10_000;
  let made = 0;
  await unharmed(running, async () => {
    const flood = spawn(process.execPath, ["-e", FLOOD, String(running.port), String(wanted)]);
    let printed = "";
    flood.stdout.on("data", (chunk: Buffer) => {
      printed += chunk;
    });
    await new Promise((resolve) => flood.once("close", resolve));
    made = Number(/made (\d+)/.exec(printed)?.[1] ?? 0);
  });
  process.stdout.write(`connections made by the flood: ${made} of ${wanted}\n`);
  expect(made).toBeGreaterThan(1_000);
  await vi.waitFor(async () => expect((await statusOf(running.member)).connections).toBe(1), {
    timeout: 8_000,
  });
});
