/**
 * Router ÷ plain proxy: what affinity, fail-over, health and limits cost on top of forwarding. The plain proxy is `node:http`
 * and undici's `Pool.dispatch` with hop-by-hop and forwarding fields done right, and nothing else.
 *
 *   node lab/dist/bench/router.js [rounds]
 *
 * Each in a process of its own, short rounds by turns, medians; what this machine does besides hits both alike. CPU per
 * request of the proxy's process is the steadier figure, requests/s the readable one.
 */
import { type ChildProcess, fork } from "node:child_process";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { fileURLToPath } from "node:url";
import { startRouter } from "sojourn/router";
import { type Dispatcher, Pool } from "undici";

const CONNECTIONS = 64;
const ROUND_MS = 3_000;
const WARM_UP_MS = 1_500;
/** 220 bytes of JSON, as an application answers. */
const BODY = JSON.stringify({ server: "b1", text: "x".repeat(190) }).padEnd(219, " ");

interface Started {
  readonly child: ChildProcess;
  readonly port: number;
}

const [role, argument] = process.argv.slice(2);
if (role === "backend") backend();
else if (role === "plain") plain(Number(argument));
else if (role === "router") await router(Number(argument));
else await compare(role === undefined ? 6 : Number(role));

async function compare(rounds: number): Promise<void> {
  const servers = await start("backend", 0);
  const proxies = { plain: await start("plain", servers.port), router: await start("router", servers.port) };
  const results = { plain: [] as Round[], router: [] as Round[] };
  try {
    for (const proxy of Object.values(proxies)) await drive(proxy, WARM_UP_MS);
    for (let round = 0; round < rounds; round++) {
      const order = round % 2 === 0 ? (["plain", "router"] as const) : (["router", "plain"] as const);
      for (const name of order) results[name].push(await drive(proxies[name], ROUND_MS));
    }
  } finally {
    for (const { child } of [servers, proxies.plain, proxies.router]) child.kill();
  }
  for (const [name, found] of Object.entries(results)) {
    const perS = median(found.map(({ requestsPerS }) => requestsPerS));
    const cpu = median(found.map(({ cpuMicros }) => cpuMicros));
    process.stdout.write(
      `${name.padEnd(7)}${perS.toFixed(0).padStart(7)} requests/s ${cpu.toFixed(1).padStart(6)} µs CPU/request\n`,
    );
  }
  const ratios = results.router.map(({ requestsPerS }, i) => requestsPerS / results.plain[i]!.requestsPerS);
  const cpu = results.plain.map(({ cpuMicros }, i) => cpuMicros / results.router[i]!.cpuMicros);
  process.stdout.write(
    `router ÷ plain: ${median(ratios).toFixed(2)} by requests/s, ${median(cpu).toFixed(2)} by CPU (medians of ${rounds} rounds)\n`,
  );
}

interface Round {
  readonly requestsPerS: number;
  readonly cpuMicros: number;
}

/** Closed loop on raw sockets, so that the driver costs far less than what it drives. */
async function drive({ child, port }: Started, ms: number): Promise<Round> {
  // A visitor with a session: one cookie of its own, one of the router once it has been given.
  const cookie = await affinityCookie(port);
  const request =
    `GET /catalogue HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) bench\r\n` +
    `Accept: application/json\r\nAccept-Encoding: gzip\r\nCookie: sid=abcdefghijklmnop; ${cookie}\r\n\r\n`;
  let requests = 0;
  const sockets = Array.from({ length: CONNECTIONS }, () => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    let pending = 0;
    socket.on("data", (chunk: Buffer) => {
      // Only the head's last bytes are looked for; body and head come in one piece.
      pending += chunk.length;
      if (chunk[chunk.length - 1] !== 0x20 || pending < BODY.length) return;
      pending = 0;
      requests++;
      socket.write(request);
    });
    socket.on("error", () => {});
    socket.write(request);
    return socket;
  });
  const before = await cpuOf(child);
  const startedMs = performance.now();
  const atStart = requests;
  await new Promise((resolve) => setTimeout(resolve, ms));
  const elapsedMs = performance.now() - startedMs;
  const done = requests - atStart;
  const cpu = (await cpuOf(child)) - before;
  for (const socket of sockets) socket.destroy();
  return { requestsPerS: (done * 1_000) / elapsedMs, cpuMicros: cpu / done };
}

async function affinityCookie(port: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/`);
  await response.text();
  return response.headers.get("set-cookie")?.split(";", 1)[0] ?? "other=1";
}

function start(name: string, upstreamPort: number): Promise<Started> {
  const child = fork(fileURLToPath(import.meta.url), [name, String(upstreamPort)]);
  return new Promise((resolve, reject) => {
    child.once("message", (port) => resolve({ child, port: port as number }));
    child.once("exit", (code) => reject(new Error(`${name} ended with ${code}`)));
  });
}

function cpuOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once("message", (micros) => resolve(micros as number));
    child.send("cpu");
  });
}

function ready(port: number): void {
  process.on("message", () => {
    const { user, system } = process.cpuUsage();
    process.send?.(user + system);
  });
  process.send?.(port);
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

function backend(): void {
  const server = createServer((_request, response) => {
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": BODY.length });
    response.end(BODY);
  });
  server.keepAliveTimeout = 65_000;
  server.listen(0, "127.0.0.1", () => ready((server.address() as AddressInfo).port));
}

async function router(upstreamPort: number): Promise<void> {
  const url = `http://127.0.0.1:${upstreamPort}`;
  const servers = ["b1", "b2", "b3"].map((id) => ({ id, url }));
  const { address } = await startRouter({ port: 0, servers, health: false, relief: false });
  ready(address.port);
}

function plain(upstreamPort: number): void {
  const pool = new Pool(`http://127.0.0.1:${upstreamPort}`, { headersTimeout: 0, bodyTimeout: 0 });
  const server = createServer((request, response) => {
    const headers = forwarded(request);
    pool.dispatch(
      { method: request.method as Dispatcher.HttpMethod, path: request.url!, headers },
      relay(response),
    );
  });
  server.listen(0, "127.0.0.1", () => ready((server.address() as AddressInfo).port));
}

const HOP_BY_HOP = new Set(
  "connection keep-alive proxy-connection te trailer transfer-encoding upgrade x-forwarded-for".split(" "),
);

function forwarded(request: IncomingMessage): string[] {
  const { rawHeaders } = request;
  const kept: string[] = [];
  let named: Set<string> | null = null;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const lower = rawHeaders[i]!.toLowerCase();
    if (lower === "connection") named = new Set(rawHeaders[i + 1]!.toLowerCase().split(/\s*,\s*/));
    if (!HOP_BY_HOP.has(lower)) kept.push(rawHeaders[i]!, rawHeaders[i + 1]!);
  }
  const result = named === null ? kept : kept.filter((_, i) => !named.has(kept[i & ~1]!.toLowerCase()));
  result.push("X-Forwarded-For", request.socket.remoteAddress ?? "", "X-Forwarded-Proto", "http");
  return result;
}

function relay(response: ServerResponse): Dispatcher.DispatchHandler {
  return {
    onRequestStart(controller) {
      response.on("close", () => {
        if (!response.writableFinished) controller.abort(new Error("client left"));
      });
    },
    onResponseStart(controller, status) {
      const raw = controller.rawHeaders as Buffer[];
      const headers: string[] = [];
      for (let i = 0; i < raw.length; i += 2) {
        const name = raw[i]!.toString("latin1");
        if (!HOP_BY_HOP.has(name.toLowerCase())) headers.push(name, raw[i + 1]!.toString("latin1"));
      }
      response.writeHead(status, headers);
    },
    onResponseData(controller, chunk) {
      if (response.write(chunk)) return;
      controller.pause();
      response.once("drain", () => controller.resume());
    },
    onResponseEnd() {
      response.end();
    },
    onResponseError() {
      response.destroy();
    },
  };
}
