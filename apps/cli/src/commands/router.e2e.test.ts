/** `sojourn router` as its user meets it, with servers that are really killed, frozen and brought back. */
import { afterEach, expect, test } from "vitest";
import { type Spawned, spawnAppServer, spawnRouter, Visitor } from "../testing/spawned-router.ts";
import { secretFile, sojourn } from "../testing/spawned-server.ts";

const INTERVAL_MS = 200;
const cleanups: (() => Promise<unknown> | unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function appServer(name: string, port = 0): Promise<Spawned> {
  const server = await spawnAppServer(name, port);
  cleanups.push(async () => {
    server.signal("SIGKILL");
    await server.exited;
  });
  return server;
}

interface Shop {
  readonly router: Spawned;
  readonly servers: Record<string, Spawned>;
  readonly adminPort: number;
  visitor(): Visitor;
  /** `health` of a server, as the router's own page says it. */
  health(name: string): Promise<string | undefined>;
}

async function shop(names: readonly string[], ...args: string[]): Promise<Shop> {
  const servers = Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await appServer(name)] as const)),
  );
  const router = await spawnRouter(
    ...names.flatMap((name) => ["--server", `${name}=http://127.0.0.1:${servers[name]!.port}`]),
    ...["--health-interval", String(INTERVAL_MS), "--admin-port", "0", ...args],
  );
  cleanups.push(async () => {
    router.signal("SIGKILL");
    await router.exited;
  });
  await until(async () => router.log().includes("administration on"), "administration is on");
  const visitor = () => {
    const made = new Visitor(router.port);
    cleanups.push(() => made.close());
    return made;
  };
  const watcher = visitor();
  return {
    router,
    servers,
    adminPort: Number(/administration on http:\/\/127\.0\.0\.1:(\d+)/.exec(router.log())?.[1]),
    visitor,
    health: async (name) => {
      const { body } = await watcher.ask("GET", "/-/health");
      const page = JSON.parse(body) as { servers: { name: string; health: string }[] };
      return page.servers.find((server) => server.name === name)?.health;
    },
  };
}

async function until(met: () => Promise<boolean>, what: string, withinMs = 10_000): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await met())) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Visitors that ask again as soon as they are answered; `stop` tells everything that was answered. */
function load(visitors: readonly Visitor[]): { readonly answered: string[]; stop(): Promise<string[]> } {
  const answered: string[] = [];
  let stopped = false;
  const loops = visitors.map(async (visitor) => {
    while (!stopped) {
      try {
        const { status, body } = await visitor.ask("GET", "/?wait=5");
        answered.push(status === 200 ? body : `${status}`);
      } catch (error) {
        answered.push(`failed: ${(error as NodeJS.ErrnoException).code}`);
      }
    }
  });
  return {
    answered,
    stop: async () => {
      stopped = true;
      await Promise.all(loops);
      return answered;
    },
  };
}

test("kill -9 of a server under load: every GET succeeds; it returns after two checks and nobody switches back", async () => {
  const { servers, visitor, health } = await shop(["b1", "b2", "b3"]);
  const visitors = Array.from({ length: 24 }, () => visitor());
  const traffic = load(visitors);
  await until(async () => traffic.answered.filter((body) => body === "b1").length > 100, "b1 has work");
  servers.b1!.signal("SIGKILL");
  await servers.b1!.exited;
  const atKill = traffic.answered.length;
  await until(async () => traffic.answered.length > atKill + 500, "traffic goes on");
  // Unasked for a moment, a server is found down by its checks.
  await until(async () => (await health("b1")) === "down", "b1 is found down");
  const answered = await traffic.stop();
  expect(answered.filter((body) => !/^b[123]$/.test(body))).toEqual([]);
  expect(answered.slice(atKill + 100)).not.toContain("b1");

  const homes = await Promise.all(visitors.map(async (each) => (await each.ask("GET", "/")).body));
  const back = await appServer("b1", servers.b1!.port);
  expect(back.port).toBe(servers.b1!.port);
  await until(async () => (await health("b1")) === "up", "b1 is up again");
  // Holders stay where they are …
  for (let round = 0; round < 5; round++) {
    expect(await Promise.all(visitors.map(async (each) => (await each.ask("GET", "/")).body))).toEqual(homes);
  }
  // … and new visitors find the server that returned.
  await until(async () => (await visitor().ask("GET", "/")).body === "b1", "a new visitor meets b1");
});

test("kill -9 with POSTs in flight: each is answered 502 and runs on no other server", async () => {
  const { servers, visitor } = await shop(["b1", "b2"]);
  const visitors = Array.from({ length: 12 }, () => visitor());
  const homes = await Promise.all(visitors.map(async (each) => (await each.ask("GET", "/")).body));
  const posts = visitors.map((each, i) => each.ask("POST", `/?op=op${i}&wait=2000`, {}, "body"));
  const direct = new Visitor(servers.b1!.port);
  cleanups.push(() => direct.close());
  const atB1 = homes.filter((home) => home === "b1").length;
  expect(atB1).toBeGreaterThan(0);
  const opsOf = async (server: Visitor) => JSON.parse((await server.ask("GET", "/ops")).body) as string[];
  await until(async () => (await opsOf(direct)).length === atB1, "the POSTs have begun");
  servers.b1!.signal("SIGKILL");
  const statuses = await Promise.all(posts.map(async (post) => (await post).status));
  expect(statuses).toEqual(homes.map((home) => (home === "b1" ? 502 : 200)));
  const other = new Visitor(servers.b2!.port);
  cleanups.push(() => other.close());
  const expected = homes.flatMap((home, i) => (home === "b2" ? [`op${i}`] : []));
  expect((await opsOf(other)).sort()).toEqual(expected.sort());
});

test("a frozen server (SIGSTOP): its visitors are answered by another within the health checks' time", async () => {
  const { servers, visitor, health } = await shop(["b1", "b2"]);
  const first = visitor();
  const home = (await first.ask("GET", "/")).body;
  servers[home]!.signal("SIGSTOP");
  const startedMs = Date.now();
  const { status, body } = await first.ask("GET", "/");
  expect([status, body]).toEqual([200, home === "b1" ? "b2" : "b1"]);
  // Two failed checks: an interval and a timeout of 1 s each, and a margin for two busy cores.
  expect(Date.now() - startedMs).toBeLessThan(2 * (INTERVAL_MS + 1_000) + 2_000);
  servers[home]!.signal("SIGCONT");
  await until(async () => (await health(home)) === "up", "it is up again");
  expect((await first.ask("GET", "/")).body).not.toBe(home);
});

test("rolling restart: drain, stop, start, up again, one by one, and no request fails", async () => {
  const { servers, visitor, health, adminPort } = await shop(["b1", "b2"]);
  const admin = new Visitor(adminPort);
  cleanups.push(() => admin.close());
  const setState = (name: string, state: string) =>
    admin.ask(
      "POST",
      `/servers/${name}/state`,
      { "content-type": "application/json" },
      JSON.stringify({ state }),
    );
  const inFlight = async (name: string) => {
    const { body } = await admin.ask("GET", "/status");
    const page = JSON.parse(body) as { servers: { id: string; inFlight: number }[] };
    return page.servers.find(({ id }) => id === name)?.inFlight;
  };
  const traffic = load(Array.from({ length: 12 }, () => visitor()));
  for (const name of ["b1", "b2"]) {
    expect((await setState(name, "drain")).status).toBe(200);
    await until(async () => (await inFlight(name)) === 0, `${name} is empty`);
    servers[name]!.signal("SIGKILL");
    await servers[name]!.exited;
    await until(async () => (await health(name)) === "down", `${name} is seen to be down`);
    await appServer(name, servers[name]!.port);
    await until(async () => (await health(name)) === "up", `${name} is up again`);
    await setState(name, "up");
  }
  const answered = await traffic.stop();
  expect(answered.filter((body) => !/^b[12]$/.test(body))).toEqual([]);
  expect(answered.length).toBeGreaterThan(100);
});

test("with one secret, a restarted router and a second one understand the same cookie", async () => {
  const secret = secretFile("a secret that routers share");
  cleanups.push(() => secret.remove());
  const { router, servers, visitor } = await shop(["b1", "b2"], "--secret-file", secret.path);
  const { headers, body } = await visitor().ask("GET", "/");
  const cookie = headers["set-cookie"]![0]!.split(";")[0]!;
  const second = await spawnRouter(
    ...["b1", "b2"].flatMap((name) => ["--server", `${name}=http://127.0.0.1:${servers[name]!.port}`]),
    ...["--secret-file", secret.path],
  );
  cleanups.push(async () => {
    second.signal("SIGKILL");
    await second.exited;
  });
  for (const port of [router.port, second.port]) {
    const other = new Visitor(port);
    cleanups.push(() => other.close());
    const answer = await other.ask("GET", "/", { cookie });
    expect([answer.body, answer.headers["set-cookie"]]).toEqual([body, undefined]);
  }
});

test("SIGTERM: what runs is finished, then it ends with code 0", async () => {
  const { router, visitor } = await shop(["b1"]);
  const running = visitor().ask("GET", "/?wait=700");
  await until(async () => {
    const page = JSON.parse((await visitor().ask("GET", "/-/health")).body) as {
      servers: { inFlight: number }[];
    };
    return page.servers[0]?.inFlight === 1;
  }, "it is under way");
  router.signal("SIGTERM");
  expect((await running).status).toBe(200);
  expect(await router.exited).toBe(0);
  expect(router.log()).toContain("stopped");
});

test("what was typed wrong is said in one line, with exit code 1", async () => {
  const good = ["--server", "b1=http://127.0.0.1:1"];
  const cases: [RegExp, string[]][] = [
    [/required option '--server/, []],
    [/Expected id=url/, ["--server", "http://127.0.0.1:1"]],
    [/expected http:\/\/host:port/, ["--server", "b1=https://127.0.0.1:1"]],
    [/neither weight nor clone/, ["--server", "b1=http://127.0.0.1:1,wait=3"]],
    [/there is one of that id/, [...good, ...good]],
    [/Expected cookie, clone, address/, [...good, "--affinity", "magic"]],
    [/Expected a port/, [...good, "--port", "70000"]],
    [/Cannot trust proxy "ten"/, [...good, "--trust-proxy", "ten"]],
    [/Cannot read the secret file/, [...good, "--secret-file", "/nowhere/at/all"]],
  ];
  for (const [message, args] of cases) {
    const { code, stderr } = await sojourn(["router", ...args]);
    expect([code, stderr], String(message)).toEqual([1, expect.stringMatching(message)]);
    expect(stderr, "a stack is for faults of our own").not.toMatch(/\n {4}at /);
  }
});

test("a taken port names the way out", async () => {
  const server = await appServer("b1");
  const { code, stderr } = await sojourn([
    "router",
    "--server",
    "b1=http://127.0.0.1:1",
    "--port",
    String(server.port),
  ]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/the port is taken\. Choose another with --port/);
});
