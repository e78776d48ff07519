/** `sojourn server` as its user meets it: starting, asking, filling, stopping. */
import { chmodSync } from "node:fs";
import { createServer } from "node:net";
import { sessionServers } from "sojourn/server";
import { afterEach, expect, test, vi } from "vitest";
import { newKey, newSession, secretFile, sojourn, spawnServer } from "../testing/spawned-server.ts";

const SECRET = "a secret of enough characters";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function server(...args: string[]) {
  const spawned = await spawnServer(...args);
  ends.push(async () => {
    spawned.signal("SIGKILL");
    await spawned.exited;
  });
  return spawned;
}

function secret(...secrets: string[]) {
  const file = secretFile(...secrets);
  ends.push(() => file.remove());
  return file.path;
}

function client(member: string, options: { secret?: string | string[]; domain?: string } = {}) {
  const store = sessionServers({ members: [member], ...options });
  ends.push(() => store.close());
  return store;
}

test("the help of the command and of each verb says what it needs", async () => {
  const main = await sojourn(["--help"]);
  expect([main.code, main.stdout]).toEqual([0, expect.stringContaining("server")]);
  const help = await sojourn(["server", "--help"]);
  for (const option of ["--port", "--host", "--domain", "--secret-file", "--max-memory", "status"]) {
    expect(help.stdout).toContain(option);
  }
  expect((await sojourn(["server", "status", "--help"])).stdout).toContain("--json");
});

test("it serves, tells its status, and stops in good order with exit code 0", async () => {
  const running = await server("--domain", "shop");
  const store = client(running.member, { domain: "shop" });
  const session = newSession();
  expect(await store.create(session)).toMatchObject({ status: "created" });

  const status = await sojourn([
    "server",
    "status",
    "--port",
    String(running.port),
    "--domain",
    "shop",
    "--json",
  ]);
  expect(status.code).toBe(0);
  expect(JSON.parse(status.stdout)).toMatchObject({
    pid: running.pid,
    domain: "shop",
    sessions: 1,
    connections: 2,
    encrypted: false,
    operations: { create: 1 },
  });
  const shown = await sojourn(["server", "status", "--port", String(running.port), "--domain", "shop"]);
  expect(shown.stdout).toMatch(/sessions +1 in /);

  const reads = Array.from({ length: 500 }, () => store.read(session.key));
  running.signal("SIGTERM");
  const settled = await Promise.allSettled(reads);
  expect(settled.filter(({ status: outcome }) => outcome === "rejected")).toEqual([]);
  expect(await running.exited).toBe(0);
  expect(running.log()).toContain("stopped");
  expect(running.log()).not.toContain(session.key);
});

test("SIGINT stops it too, with a client that stays connected", async () => {
  const running = await server();
  const store = client(running.member);
  await store.read(newKey());
  running.signal("SIGINT");
  expect(await running.exited).toBe(0);
});

test("status of a server that is not there is one clear sentence and exit code 1", async () => {
  const running = await server();
  running.signal("SIGKILL");
  await running.exited;
  const status = await sojourn(["server", "status", "--port", String(running.port)]);
  expect(status.code).toBe(1);
  expect(status.stderr).toBe(
    `sojourn: Cannot ask for the status: store "session-servers" is not reachable. ` +
      `Cannot talk to 127.0.0.1:${running.port}: nothing listens there\n`,
  );
});

test("a taken port is exit code 1 with the port and what to do", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  ends.push(() => taken.close());
  const { port } = taken.address() as { port: number };
  const { code, stderr } = await sojourn(["server", "--port", String(port)]);
  expect(code).toBe(1);
  expect(stderr).toMatch(
    new RegExp(`^sojourn: Cannot listen on 127\\.0\\.0\\.1:${port}: port ${port} is in use\\. .*--port`),
  );
});

test("without a secret it refuses to listen beyond this machine", async () => {
  const { code, stderr } = await sojourn(["server", "--host", "0.0.0.0", "--port", "0"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^sojourn: Cannot listen on 0\.0\.0\.0:0 without a secret: .*--secret-file/);
});

test.each([
  ["a port that is none", ["--port", "70000"], /Expected a port/],
  ["a size that is none", ["--max-memory", "much"], /Expected a size/],
  ["a domain that is none", ["--domain", "a b", "--port", "0"], /session domain/],
  [
    "a secret file that is not there",
    ["--secret-file", "/nonexistent"],
    /Cannot read the secret file .*ENOENT/,
  ],
])("%s is exit code 1 with a sentence", async (_name, args, sentence) => {
  const { code, stderr } = await sojourn(["server", ...args]);
  expect(code).toBe(1);
  expect(stderr).toMatch(sentence);
});

test("a secret that is too short is refused without being shown", async () => {
  const { code, stderr } = await sojourn(["server", "--port", "0", "--secret-file", secret("tooshort")]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/at least 16 characters/);
  expect(stderr).not.toContain("tooshort");
});

test("a secret file open to others draws a warning; the environment may name the file", async () => {
  const path = secret(SECRET);
  chmodSync(path, 0o644);
  const running = await server("--secret-file", path);
  await vi.waitFor(() => expect(running.log()).toContain(`chmod 600 ${path}`));
  const asked = await sojourn(["server", "status", "--port", String(running.port), "--json"], {
    SOJOURN_SECRET_FILE: path,
  });
  expect(JSON.parse(asked.stdout)).toMatchObject({ encrypted: true });
});

test("a wrong secret, a missing one and a needless one are called so on both sides", async () => {
  const secured = await server("--domain", "shop", "--secret-file", secret(SECRET));
  const wrong = client(secured.member, { domain: "shop", secret: "another secret of enough characters" });
  await expect(wrong.read(newKey())).rejects.toMatchObject({
    code: "WRONG_SECRET",
    message: expect.stringContaining('wrong secret for domain "shop"'),
  });
  await vi.waitFor(() => expect(secured.log()).toContain('wrong secret for domain "shop"'));
  const missing = client(secured.member, { domain: "shop" });
  await expect(missing.read(newKey())).rejects.toThrow("it hung up on the hello; it may want a secret");
  await vi.waitFor(() => expect(secured.log()).toContain("speaks without TLS"));

  const open = await server("--domain", "shop");
  const needless = client(open.member, { domain: "shop", secret: SECRET });
  await expect(needless.read(newKey())).rejects.toMatchObject({
    code: "STORE_UNAVAILABLE",
    message: expect.stringContaining("it was started without a secret, this side has one"),
  });
  expect(secured.log() + open.log()).not.toContain(SECRET);
});

test("while a secret changes, old and new clients work with a server that has both, and a new client with an old server", async () => {
  const next = "the next secret of enough characters";
  const changing = await server("--secret-file", secret(next, SECRET));
  for (const each of [SECRET, next, [next, SECRET]]) {
    expect(await client(changing.member, { secret: each }).read(newKey())).toBe(null);
  }
  const old = await server("--secret-file", secret(SECRET));
  expect(await client(old.member, { secret: [next, SECRET] }).read(newKey())).toBe(null);
});

test("at --max-memory new sessions are refused with STORE_FULL; reading, shrinking and ending go on", async () => {
  const running = await server("--max-memory", "1m");
  const store = client(running.member);
  const kept: ReturnType<typeof newSession>[] = [];
  const fill = async () => {
    for (;;) {
      const session = newSession("x".repeat(20_000));
      await store.create(session);
      kept.push(session);
    }
  };
  await expect(fill()).rejects.toMatchObject({ code: "STORE_FULL", status: 503 });
  expect(kept.length).toBeGreaterThan(20);
  for (const { key } of kept) expect((await store.read(key))?.key).toBe(key);
  const [first, second] = kept as [(typeof kept)[0], (typeof kept)[0]];
  const grown = new Map([["a", Buffer.alloc(200_000)]]);
  await expect(store.apply(first.key, { set: grown })).rejects.toMatchObject({ code: "STORE_FULL" });
  expect(await store.apply(first.key, { set: new Map([["a", Buffer.alloc(10)]]) })).toMatchObject({
    status: "applied",
  });
  expect(await store.touch(second.key, Date.now() + 700_000)).toBe(true);
  expect(await store.destroy(second.key)).toBe(true);
  expect(await store.create(newSession("x".repeat(10_000)))).toMatchObject({ status: "created" });
});
