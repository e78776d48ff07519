/** The running router beyond single requests: limits, backpressure, closing, servers that come and go, health. */
import { afterEach, expect, test } from "vitest";
import type { RouterEvent, RouterOptions } from "./options.ts";
import {
  Client,
  okText,
  RawServer,
  type Script,
  type SeenRequest,
  sayOk,
} from "./protocol/kit.test.support.ts";
import { type Router, startRouter } from "./router.ts";

const HEAD = "Host: shop.example\r\n";
const cleanups: (() => Promise<unknown> | unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Running {
  readonly router: Router;
  readonly servers: RawServer[];
  readonly seen: SeenRequest[];
  readonly events: RouterEvent[];
  script: Script;
  open(): Promise<Client>;
}

async function running(options: Partial<RouterOptions> = {}, count = 2): Promise<Running> {
  const seen: SeenRequest[] = [];
  const events: RouterEvent[] = [];
  const servers = Array.from(
    { length: count },
    () =>
      new RawServer((request) => {
        seen.push(request);
        void made.script(request, seen.length - 1);
      }),
  );
  for (const server of servers) {
    await server.start();
    cleanups.push(() => server.stop());
  }
  const router = await startRouter({
    port: 0,
    servers: servers.map(({ port }, i) => ({ id: `b${i + 1}`, url: `http://127.0.0.1:${port}` })),
    health: false,
    log: (event) => events.push(event),
    ...options,
    timeouts: { closeMs: 300, ...options.timeouts },
  });
  cleanups.push(() => router.close());
  const made: Running = {
    router,
    servers,
    seen,
    events,
    script: sayOk,
    open: async () => {
      const client = await Client.open(router.address.port);
      cleanups.push(() => client.socket.destroy());
      return client;
    },
  };
  return made;
}

async function until(met: () => boolean, what: string, withinMs = 8_000): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!met()) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Resolves with the figure once it has stopped growing. */
async function settled(figure: () => number, what: string): Promise<number> {
  let last = -1;
  let sinceMs = Date.now();
  await until(
    () => {
      if (figure() !== last) {
        last = figure();
        sinceMs = Date.now();
      }
      return last > 0 && Date.now() - sinceMs > 400;
    },
    `${what} stops growing`,
    20_000,
  );
  return last;
}

const DOWNLOAD_BYTES = 300 * 2 ** 20;
/** What the kernel's socket buffers on both sides may hold, and then some. */
const BUFFERED_BYTES_MAX = 24 * 2 ** 20;

/** Writes as fast as the socket takes it; tells how much it took. */
function flood(stream: SeenRequest["stream"], bytes: number): { readonly taken: number } {
  const flow = { taken: 0 };
  const block = Buffer.alloc(64 * 1024, "x");
  const more = () => {
    while (flow.taken < bytes) {
      flow.taken += block.length;
      if (!stream.socket.write(block)) return void stream.socket.once("drain", more);
    }
  };
  more();
  return flow;
}

test("a stalled client stops the server: a 300 MB download is not piled up in the router", async () => {
  const it = await running();
  let flow = { taken: 0 };
  it.script = (request) => {
    request.stream.send(`HTTP/1.1 200 OK\r\nContent-Length: ${DOWNLOAD_BYTES}\r\n\r\n`);
    flow = flood(request.stream, DOWNLOAD_BYTES);
  };
  const client = await it.open();
  const before = process.memoryUsage.rss();
  client.socket.pause();
  client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
  const taken = await settled(() => flow.taken, "what the router takes");
  expect(taken).toBeLessThan(BUFFERED_BYTES_MAX);
  expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 2 ** 20);
});

test("a server that does not read stops the client: an upload is not piled up in the router", async () => {
  for (const framing of [`Content-Length: ${DOWNLOAD_BYTES}`, "Transfer-Encoding: chunked"]) {
    const it = await running();
    it.script = (request) => void request.stream.socket.pause();
    const client = await it.open();
    client.send(`POST / HTTP/1.1\r\n${HEAD}${framing}\r\n\r\n`);
    if (framing.startsWith("T")) client.send(`${DOWNLOAD_BYTES.toString(16)}\r\n`);
    const flow = flood(client, DOWNLOAD_BYTES);
    expect(await settled(() => flow.taken, "what the router takes"), framing).toBeLessThan(
      BUFFERED_BYTES_MAX,
    );
  }
});

test("a client that stops reading is cut after a while, and its server freed", async () => {
  const it = await running({ timeouts: { clientStallMs: 300 } });
  it.script = (request) => {
    request.stream.send(`HTTP/1.1 200 OK\r\nContent-Length: ${DOWNLOAD_BYTES}\r\n\r\n`);
    flood(request.stream, DOWNLOAD_BYTES);
  };
  const client = await it.open();
  client.socket.pause();
  client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
  await until(() => it.seen[0]?.stream.over === true, "the server's connection ends");
  expect(it.router.servers().every(({ inFlight }) => inFlight === 0)).toBe(true);
  expect(it.events.map(({ event, detail }) => `${event}: ${detail}`)).toContain(
    "cut: client stopped reading",
  );
});

test("a silent event stream outlives the limit for other responses", async () => {
  const it = await running({ timeouts: { responseIdleMs: 200, tunnelIdleMs: 1_200 } });
  it.script = (request) =>
    void request.stream.send(
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
  const client = await it.open();
  const startedMs = Date.now();
  client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
  await client.ends();
  expect(Date.now() - startedMs).toBeGreaterThan(1_000);
});

test("connections beyond the limit are refused, those within it served", async () => {
  const it = await running({ limits: { connectionsMax: 3 } });
  const clients = [await it.open(), await it.open(), await it.open(), await it.open()];
  await until(() => clients.some(({ over }) => over), "one is refused");
  const open = clients.filter(({ over }) => !over);
  expect(open).toHaveLength(3);
  for (const client of open) {
    client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
    expect((await client.reply())?.status).toBe(200);
  }
});

test("a full server counts as unusable: its visitors go elsewhere instead of waiting; when all are full, 503", async () => {
  const it = await running({ limits: { inFlightMax: 2 } });
  it.script = () => {};
  const busy = await Promise.all([1, 2, 3, 4].map(() => it.open()));
  for (const client of busy) {
    client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
    await until(() => it.seen.length > busy.indexOf(client), "it is under way");
  }
  expect(it.router.servers().map(({ inFlight }) => inFlight)).toEqual([2, 2]);
  const late = await it.open();
  late.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
  const reply = await late.reply();
  expect(reply?.status).toBe(503);
  expect(reply?.head).toMatch(/\r\nRetry-After: 1/);
});

test("two of three servers gone at once: a POST that was never sent finds the third at the first try", async () => {
  for (const alive of [0, 1, 2]) {
    const it = await running({}, 3);
    for (const [i, server] of it.servers.entries()) if (i !== alive) await server.stop();
    const client = await it.open();
    client.send(`POST / HTTP/1.1\r\n${HEAD}Content-Length: 2\r\n\r\nhi`);
    expect((await client.reply())?.status).toBe(200);
    expect(it.seen).toHaveLength(1);
  }
});

test("close() lets what runs finish, takes nothing new, and ends", async () => {
  const it = await running({ timeouts: { closeMs: 5_000 } });
  it.script = () => {};
  const client = await it.open();
  client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
  await until(() => it.seen.length === 1, "it is under way");
  const closing = it.router.close();
  await expect(Client.open(it.router.address.port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  it.seen[0]!.stream.send(okText("done"));
  const reply = await client.reply();
  expect([reply?.status, reply?.body]).toEqual([200, "done"]);
  expect(reply?.head.toLowerCase()).toContain("connection: close");
  await closing;
});

test("close() does not wait for ever: what hangs is cut, WebSockets included", async () => {
  const it = await running({ timeouts: { closeMs: 100 } });
  it.script = (request) => {
    if (request.get("upgrade") !== undefined) {
      request.stream.send("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    }
  };
  const hanging = await it.open();
  hanging.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
  const tunnel = await it.open();
  tunnel.send(`GET / HTTP/1.1\r\n${HEAD}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  expect((await tunnel.reply())?.status).toBe(101);
  await until(() => it.seen.length === 2, "both are under way");
  await it.router.close();
  expect(await hanging.ends()).toBe(true);
  expect(await tunnel.ends()).toBe(true);
});

test("maintenance closes WebSockets; draining leaves them", async () => {
  const it = await running({}, 1);
  it.script = (request) =>
    void request.stream.send("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  const tunnel = await it.open();
  tunnel.send(`GET / HTTP/1.1\r\n${HEAD}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  await tunnel.reply();
  expect(it.router.servers()[0]).toMatchObject({ tunnels: 1, inFlight: 1 });
  it.router.setState("b1", "drain");
  it.seen[0]!.stream.send("still here");
  await tunnel.until(() => tunnel.rest === "still here");
  expect(tunnel.over).toBe(false);
  it.router.setState("b1", "maintenance");
  expect(await tunnel.ends()).toBe(true);
  await until(() => it.router.servers()[0]?.inFlight === 0, "the tunnel is counted out");
});

test("servers can join and leave a running router", async () => {
  const it = await running({ affinity: [] }, 1);
  const joining = new RawServer((request) => request.stream.send(okText("new one")));
  await joining.start();
  cleanups.push(() => joining.stop());
  it.router.addServer({ id: "b9", url: `http://127.0.0.1:${joining.port}` });
  await it.router.removeServer("b1");
  const client = await it.open();
  client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
  expect((await client.reply())?.body).toBe("new one");
  expect(it.router.servers().map(({ id }) => id)).toEqual(["b9"]);
});

test("a server that refuses connections is taken out without an active check, but never more than half of them", async () => {
  const it = await running({ affinity: [] }, 4);
  for (const server of it.servers.slice(0, 3)) await server.stop();
  const statuses: (number | undefined)[] = [];
  for (let i = 0; i < 40; i++) {
    const client = await it.open();
    client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
    statuses.push((await client.reply())?.status);
  }
  const down = it.router.servers().filter(({ health }) => health === "down");
  expect(down).toHaveLength(2);
  expect(new Set(statuses.slice(-20))).toEqual(new Set([200]));
});

test("active checks take a server out after `fall` failures and back after `rise` passes", async () => {
  const it = await running({
    health: { path: "/health", intervalMs: 30, fall: 3, rise: 2, timeoutMs: 200 },
  });
  let ill = false;
  let checks = 0;
  it.script = async (request) => {
    if (request.line.startsWith("GET /health")) checks++;
    const broken = ill && request.line.startsWith("GET /health");
    request.stream.send(broken ? "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n" : okText("ok"));
  };
  const states = () => it.router.servers().map(({ health }) => health);
  await until(() => checks >= 4, "checks run");
  expect(states()).toEqual(["up", "up"]);
  ill = true;
  await until(() => states().every((health) => health === "down"), "both are down");
  expect(it.router.servers()[0]?.healthDetail).toBe("health check answered 503");
  const client = await it.open();
  client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
  expect((await client.reply())?.status).toBe(503);
  ill = false;
  await until(() => states().every((health) => health === "up"), "both are back");
  expect(it.events.filter(({ event }) => event === "server-down")).toHaveLength(2);
  expect(it.events.filter(({ event }) => event === "server-up")).toHaveLength(2);
});

test("figures: requests, requests under way and outcomes are counted", async () => {
  const it = await running({}, 1);
  for (let i = 0; i < 5; i++) {
    const client = await it.open();
    client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
    await client.reply();
  }
  expect(it.router.servers()[0]).toMatchObject({ id: "b1", requests: 5, inFlight: 0, state: "up", load: 1 });
  expect(it.router.servers()[0]!.requestsPerS).toBeGreaterThan(0);
  expect(it.router.outcomes()).toMatchObject({ new: 5, hit: 0 });
});

test("what cannot work is refused at the start, by name", async () => {
  const server = { id: "b1", url: "http://127.0.0.1:1" };
  const bad: [RegExp, Partial<RouterOptions>][] = [
    [/url of server "b1" is "https:/, { servers: [{ id: "b1", url: "https://127.0.0.1:1" }] }],
    [/url of server "b1"/, { servers: [{ id: "b1", url: "http://127.0.0.1:1/app" }] }],
    [/server id/, { servers: [{ id: "b 1", url: "http://127.0.0.1:1" }] }],
    [/there is one of that id/, { servers: [server, server] }],
    [/clone id "b1" belongs to "b1"/, { servers: [server, { ...server, id: "b2", cloneId: "b1" }] }],
    [/weight of server/, { servers: [{ ...server, weight: 0.5 }] }],
    [/cookie\.secret/, { cookie: { secret: "short" } }],
    [/cookie name/, { cookie: { name: "a b" } }],
    [/trust proxy "x"/, { trustedProxies: ["x"] }],
    [/relief\.factor/, { relief: { factor: 1 } }],
    [/timeouts\.connectMs/, { timeouts: { connectMs: 0 } }],
    [/health\.path/, { health: { path: "health" } }],
  ];
  for (const [message, options] of bad) {
    await expect(startRouter({ port: 0, servers: [server], ...options }), String(message)).rejects.toThrow(
      message,
    );
  }
});

test("a taken port is said to be taken", async () => {
  const it = await running();
  const { port } = it.router.address;
  const second = startRouter({ port, servers: [{ id: "b1", url: "http://127.0.0.1:1" }] });
  await expect(second).rejects.toMatchObject({ code: "PORT_TAKEN" });
});
