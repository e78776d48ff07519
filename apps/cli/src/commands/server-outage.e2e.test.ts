/** Killed, stopped, restarted, replaced by something else: what the client makes of a session server that is not well. */
import { createServer, type Server, type Socket } from "node:net";
import { isSessionError } from "sojourn";
import { type SessionServersStore, sessionServers } from "sojourn/server";
import { afterEach, describe, expect, test, vi } from "vitest";
import {
  newKey,
  newSession,
  type SpawnedServer,
  secretFile,
  spawnServer,
} from "../testing/spawned-server.ts";

const SECRET = "a secret of enough characters";
const TIMEOUT_MS = 500;
/** Beyond a call's own timeout: timers and a busy machine. */
const SLACK_MS = 150;

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

function client(member: string, secret?: string): SessionServersStore {
  const store = sessionServers({ members: [member], ...(secret ? { secret } : {}) });
  ends.push(() => store.close());
  return store;
}

interface Settled {
  readonly ok: boolean;
  readonly code: string | undefined;
  readonly ms: number;
}

async function timed(call: () => Promise<unknown>): Promise<Settled> {
  const startedMs = performance.now();
  const outcome = await call().then(
    () => ({ ok: true, code: undefined }),
    (error: unknown) => ({ ok: false, code: isSessionError(error) ? error.code : String(error) }),
  );
  return { ...outcome, ms: performance.now() - startedMs };
}

async function works(store: SessionServersStore, timeout = 5_000): Promise<void> {
  await vi.waitFor(() => store.read(newKey()), { timeout, interval: 20 });
}

/** Every kind of call that a request may make. */
function calls(store: SessionServersStore, key = newKey()): (() => Promise<unknown>)[] {
  return [
    () => store.read(key),
    () => store.create(newSession()),
    () => store.apply(key, { set: new Map([["a", Buffer.from("2")]]) }),
    () => store.touch(key, Date.now() + 60_000),
    () => store.supersede(key, { successor: newKey() }),
    () => store.destroy(key),
    () => store.list(),
    () => store.count(),
    () => store.endAll("ada"),
    () => store.watch({ invalidated: () => undefined }),
  ];
}

describe.each([
  ["plain", undefined],
  ["TLS", SECRET],
])("%s", (_name, secret) => {
  async function secured(...args: string[]): Promise<SpawnedServer> {
    if (secret === undefined) return server(...args);
    const file = secretFile(secret);
    ends.push(() => file.remove());
    return server(...args, "--secret-file", file.path);
  }

  test("killed: calls fail in milliseconds; restarted: it works again, and its sessions are gone, not errors", async () => {
    const running = await secured();
    const store = client(running.member, secret);
    const session = newSession();
    await store.create(session);
    const busy = Array.from({ length: 200 }, () => timed(() => store.read(session.key)));
    running.signal("SIGKILL");
    for (const { ms } of await Promise.all(busy)) expect(ms).toBeLessThan(TIMEOUT_MS + SLACK_MS);
    await running.exited;
    await timed(() => store.read(session.key));
    for (const call of calls(store)) {
      const { ok, code, ms } = await timed(call);
      expect([ok, code]).toEqual([false, "STORE_UNAVAILABLE"]);
      expect(ms).toBeLessThan(50);
    }

    await secured("--port", String(running.port));
    await works(store, 2_500);
    expect(await store.read(session.key)).toBe(null);
    expect(await store.apply(session.key, { set: new Map([["a", Buffer.from("2")]]) })).toEqual({
      status: "gone",
    });
    expect(await store.create(newSession())).toMatchObject({ status: "created" });
  });

  test("stopped: the first calls end with their timeout, later ones at once; continued: it works, and no ghost writes", async () => {
    const running = await secured();
    const store = client(running.member, secret);
    const session = newSession("before");
    await store.create(session);

    running.signal("SIGSTOP");
    const first = await Promise.all([
      ...calls(store).map(timed),
      ...Array.from({ length: 50 }, (_, index) =>
        timed(() => store.apply(session.key, { set: new Map([["a", Buffer.from(`ghost ${index}`)]]) })),
      ),
      timed(() => store.destroy(session.key)),
    ]);
    for (const { ok, code, ms } of first) {
      expect([ok, code]).toEqual([false, "STORE_UNAVAILABLE"]);
      expect(ms).toBeLessThan(TIMEOUT_MS + SLACK_MS);
    }
    const later = await Promise.all(calls(store).map(timed));
    for (const { ok, ms } of later) {
      expect(ok).toBe(false);
      expect(ms).toBeLessThan(50);
    }

    running.signal("SIGCONT");
    await works(store, 3_000);
    const status = await store.serverStatus();
    expect(status.pid).toBe(running.pid);
    // The server found them in its buffers and refused each.
    expect(status.late).toBeGreaterThan(50);
    const after = await store.read(session.key);
    expect(String(after?.attributes.get("a")?.value)).toBe("before");
  });

  test("stopped and continued again and again under load: every call settles in time, and what was answered is there", async () => {
    const running = await secured();
    const store = client(running.member, secret);
    const session = newSession("0");
    await store.create(session);
    let isOver = false;
    let acknowledged = 0;
    const attempts: Settled[] = [];
    const writer = (async () => {
      for (let value = 1; !isOver; value++) {
        const settled = await timed(() =>
          store.apply(session.key, { set: new Map([["a", Buffer.from(`${value}`)]]) }),
        );
        attempts.push(settled);
        if (settled.ok) acknowledged = value;
        else await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    for (let round = 0; round < 4; round++) {
      running.signal("SIGSTOP");
      await new Promise((resolve) => setTimeout(resolve, 200 + 400 * round));
      running.signal("SIGCONT");
      await works(store);
    }
    isOver = true;
    await writer;
    await works(store);
    expect(Math.max(...attempts.map(({ ms }) => ms))).toBeLessThan(TIMEOUT_MS + SLACK_MS);
    expect(acknowledged).toBeGreaterThan(0);
    const read = await store.read(session.key);
    // Later than the last acknowledged one may be there (its answer was lost); an earlier one may not.
    expect(Number(String(read?.attributes.get("a")?.value))).toBeGreaterThanOrEqual(acknowledged);
  });

  test("a restart between two calls costs no call its answer once the server is back", async () => {
    const running = await secured();
    const store = client(running.member, secret);
    await works(store);
    running.signal("SIGTERM");
    expect(await running.exited).toBe(0);
    await secured("--port", String(running.port));
    await works(store, 2_500);
    const settled = await Promise.all(Array.from({ length: 100 }, () => timed(() => store.read(newKey()))));
    expect(settled.every(({ ok }) => ok)).toBe(true);
  });
});

/** Something on a port that is no session server. */
async function impostor(behave: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const listener: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    behave(socket);
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  ends.push(() => {
    for (const socket of sockets) socket.destroy();
    listener.close();
  });
  return `127.0.0.1:${(listener.address() as { port: number }).port}`;
}

const IMPOSTORS: readonly (readonly [string, (socket: Socket) => void])[] = [
  ["says nothing", () => undefined],
  ["hangs up at once", (socket) => socket.end()],
  ["resets", (socket) => socket.resetAndDestroy()],
  ["speaks HTTP", (socket) => socket.on("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))],
  ["speaks first", (socket) => socket.write("220 smtp.example.com ESMTP\r\n")],
  ["announces 4 GB", (socket) => socket.write(Buffer.alloc(64, 0xff))],
  ["echoes", (socket) => socket.pipe(socket)],
  [
    "sends zeroes without end",
    (socket) => {
      const pour = () => {
        while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
      };
      socket.on("drain", pour);
      pour();
    },
  ],
];

test.each(IMPOSTORS)(
  "something that %s: each call fails within its bound, the process lives",
  async (_name, behave) => {
    const store = client(await impostor(behave));
    const settled = await Promise.all(calls(store).map(timed));
    for (const { ok, code, ms } of settled) {
      expect([ok, code]).toEqual([false, "STORE_UNAVAILABLE"]);
      expect(ms).toBeLessThan(TIMEOUT_MS + SLACK_MS);
    }
    const later = await Promise.all(calls(store).map(timed));
    for (const { ok, ms } of later) {
      expect(ok).toBe(false);
      expect(ms).toBeLessThan(TIMEOUT_MS + SLACK_MS);
    }
  },
);

test("in an outage there is one probe at a time, and after it no herd: fifty clients come back in jittered order", async () => {
  const running = await server();
  const stores = Array.from({ length: 50 }, () => client(running.member));
  await Promise.all(stores.map((store) => works(store)));
  running.signal("SIGKILL");
  await running.exited;
  const failing = setInterval(() => {
    for (const store of stores) store.read(newKey()).catch(() => undefined);
  }, 10);
  ends.push(() => clearInterval(failing));
  const before = stores.map((store) => store.status().connects);
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  const probes = stores.map((store, index) => store.status().connects - (before[index] as number));
  // 300 calls were made by each meanwhile.
  expect(Math.max(...probes)).toBeLessThan(15);
  clearInterval(failing);
  await server("--port", String(running.port));
  await Promise.all(stores.map((store) => works(store)));
});
