/** The launcher as a process: what it refuses, what it leaves behind (nothing), and that it says so. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { freeBase, isAlive, isFree, portsOf, Quickstart, send, until } from "./quickstart.test.support.ts";

const SHOPS = ["express", "fastify", "node"];

async function begin(...args: Parameters<typeof Quickstart.begin>): Promise<Quickstart> {
  return Quickstart.begin(...args);
}

test("up.json lists what runs: one session server, three shops, one router, each a process of its own", async () => {
  await using it = await Quickstart.start();
  const { router, shops, sessionServer } = portsOf(it.base);
  const up = it.up();
  expect(up.map(({ name, role, port }) => ({ name, role, port }))).toEqual([
    { name: "session-server", role: "session-server", port: sessionServer },
    ...SHOPS.map((name, index) => ({ name, role: "shop", port: shops[index] })),
    { name: "router", role: "router", port: router },
  ]);
  for (const entry of up) expect(Object.keys(entry)).toEqual(["name", "role", "pid", "port"]);
  expect(new Set(up.map(({ pid }) => pid)).size).toBe(5);
  for (const { pid } of up) expect(isAlive(pid)).toBe(true);
});

test.runIf(process.platform === "linux")(
  "secrets are readable by their user only, and stand in no process's arguments",
  async () => {
    await using it = await Quickstart.start();
    const secrets = ["shop.secret", "control.json"].map((name) => {
      expect(statSync(join(it.stateDir, name)).mode & 0o077, name).toBe(0);
      return readFileSync(join(it.stateDir, name), "utf8").trim();
    });
    const token: string = JSON.parse(secrets[1] ?? "").token;
    expect(token.length).toBeGreaterThan(40);
    for (const { pid } of it.up()) {
      const about = ["cmdline", "environ"].map((name) => readFileSync(`/proc/${pid}/${name}`, "utf8")).join();
      expect(about).toContain("launch/leash.js");
      for (const secret of [secrets[0] ?? "", token]) expect(about).not.toContain(secret);
    }
  },
);

test.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)("%s stops everything and tidies up", async (signal) => {
  await using it = await Quickstart.start();
  const up = it.up();
  it.process.kill(signal);
  expect(await it.ended()).toBe(0);
  expect(up.filter(({ pid }) => isAlive(pid))).toEqual([]);
  for (const { port } of up) expect(await isFree(port)).toBe(true);
  expect(readdirSync(it.stateDir).filter((name) => !name.endsWith(".log"))).toEqual([]);
});

test("a request that takes its time does not hold up the stop", async () => {
  await using it = await Quickstart.start();
  const up = it.up();
  const slow = send(it.url, "GET", "/session?delayMs=30000").then(
    () => "answered",
    () => "cut off",
  );
  // The shop has the slow request before it answers the one that came after it.
  for (const name of SHOPS) await send(it.shopUrl(name), "GET", "/session");
  const startedMs = performance.now();
  it.process.kill("SIGTERM");
  expect(await it.ended()).toBe(0);
  expect(performance.now() - startedMs).toBeLessThan(10_000);
  expect(await slow).toBe("cut off");
  expect(up.filter(({ pid }) => isAlive(pid))).toEqual([]);
});

test("a launcher that is killed leaves no process behind, and the next start says what it found", async () => {
  await using first = await Quickstart.start();
  const up = first.up();
  first.process.kill("SIGKILL");
  await until(() => up.every(({ pid }) => !isAlive(pid)), "all processes have noticed");
  await using second = await begin([], { base: first.base, stateDir: first.stateDir });
  await second.ready();
  expect(second.output).toContain("is left from a run that was killed");
  expect(second.up().map(({ pid }) => pid)).not.toContain(up[0]?.pid);
});

test("a start right after the launcher was killed waits for what is still going away", async () => {
  await using first = await Quickstart.start();
  first.process.kill("SIGKILL");
  await using second = await begin([], { base: first.base, stateDir: first.stateDir });
  await second.ready();
  expect(second.up()).toHaveLength(5);
});

test("when the shell that npm uses dies, everything stops: it passes no signal on", async () => {
  await using it = await Quickstart.start(undefined, true);
  const up = it.up();
  const launcher = Number(readFileSync(join(it.stateDir, "launcher.pid"), "utf8"));
  expect(launcher).not.toBe(it.process.pid);
  it.process.kill("SIGKILL");
  await until(() => !isAlive(launcher) && up.every(({ pid }) => !isAlive(pid)), "all are gone");
});

test("a second start says where the first one runs and leaves it alone", async () => {
  await using first = await Quickstart.start();
  await using second = await begin([], { stateDir: first.stateDir });
  expect(await second.ended()).toBe(1);
  expect(second.output).toContain(first.url);
  expect(second.output).toContain(String(first.process.pid));
  expect(first.up()).toHaveLength(5);
  expect((await fetch(`${first.url}/health`)).status).toBe(200);
});

test("pids of a former run that belong to others now are no run: the state is stale", async () => {
  const stateDir = mkdtempSync(join(tmpdir(), "quickstart-"));
  const foreign = { name: "router", role: "router", pid: process.pid, port: 1 };
  writeFileSync(join(stateDir, "up.json"), JSON.stringify([foreign]));
  writeFileSync(join(stateDir, "launcher.pid"), `${process.pid}\n`);
  await using it = await begin([], { stateDir });
  await it.ready();
  expect(it.output).toContain("is left from a run that was killed");
  expect(isAlive(process.pid)).toBe(true);
});

test("half a state file is stale, not fatal", async () => {
  const stateDir = mkdtempSync(join(tmpdir(), "quickstart-"));
  mkdirSync(stateDir, { recursive: true });
  writeFileSync(join(stateDir, "up.json"), '[{"name":"rou');
  writeFileSync(join(stateDir, "launcher.pid"), "");
  await using it = await begin([], { stateDir });
  await it.ready();
  expect(it.up()).toHaveLength(5);
});

function hold(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

test("a taken port ends the start before anything runs, naming port, owner and a way out", async () => {
  const base = await freeBase();
  const { router, shops } = portsOf(base);
  const held = await Promise.all([hold(router), hold(shops[1] ?? 0)]);
  try {
    await using it = await begin([], { base });
    expect(await it.ended()).toBe(1);
    for (const port of [router, shops[1]]) expect(it.output).toContain(`Port ${port} `);
    expect(it.output).toContain(`pid ${process.pid}`);
    expect(it.output).toContain("--port-base 13000");
    expect(readdirSync(it.stateDir)).toEqual([]);
  } finally {
    for (const server of held) server.close();
  }
});

test.each([
  [["--strategy", "sessions"], "expected none, sticky, session-server"],
  [["--port-base", "99999"], "expected a number"],
  [["--port-base", "80"], "expected a number"],
  [["--colour"], "--colour"],
  [["now"], "now"],
])("%j is refused in a sentence", async (args, part) => {
  const stateDir = mkdtempSync(join(tmpdir(), "quickstart-"));
  await using it = await begin(args, { stateDir });
  expect(await it.ended()).toBe(1);
  expect(it.output).toContain(part);
  expect(it.output.trim().split("\n")).toHaveLength(1);
  expect(readdirSync(stateDir)).toEqual([]);
});

test("--help tells about strategies and ports, and starts nothing", async () => {
  await using it = await begin(["--help"]);
  expect(await it.ended()).toBe(0);
  for (const word of ["--strategy", "--port-base", "13080", "sticky"]) expect(it.output).toContain(word);
  expect(readdirSync(it.stateDir)).toEqual([]);
});

test("a server that dies stays dead, is shown so, and leaves the state file", async () => {
  await using it = await Quickstart.start();
  const { pid } = it.entry("fastify");
  process.kill(pid, "SIGKILL");
  await until(() => it.output.includes("fastify: stopped"), "the death is shown");
  expect(it.up().map(({ name }) => name)).toEqual(["session-server", "express", "node", "router"]);
  expect(it.process.exitCode).toBe(null);
});

test("SIGUSR2 brings back all that is dead", async () => {
  await using it = await Quickstart.start();
  const before = it.up();
  for (const name of SHOPS) process.kill(it.entry(name).pid, "SIGKILL");
  await until(() => it.up().length === 2, "three shops are gone");
  it.process.kill("SIGUSR2");
  await until(() => it.up().length === 5, "all are back");
  for (const name of SHOPS) {
    expect(it.entry(name).pid).not.toBe(before.find((entry) => entry.name === name)?.pid);
  }
});
