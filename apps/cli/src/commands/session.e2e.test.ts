/** `sojourn session` as an operator meets it, on real stores: looking, naming by prefix, ending, and being refused. */
import { redisServerPath, startRedis, startRedisCluster } from "@sojourn/testbed";
import { createSessions, encryptedStore } from "sojourn";
import { redisStore } from "sojourn/redis";
import { sessionServers } from "sojourn/server";
import type { EnumerableStore, NewSession } from "sojourn/store";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  type Finished,
  type Key,
  newKey,
  secretFile,
  sojourn,
  spawnServer,
} from "../testing/spawned-server.ts";

const SECRET = "a secret of enough characters";

interface Backend {
  readonly name: string;
  /** Ends with everything that `open` began. */
  open(): Promise<{
    readonly args: readonly string[];
    readonly store: EnumerableStore;
    close(): Promise<void>;
  }>;
}

const sessionServer: Backend = {
  name: "a session server with a secret",
  async open() {
    const secret = secretFile(SECRET);
    const server = await spawnServer("--domain", "shop", "--secret-file", secret.path);
    const store = sessionServers({ members: [server.member], domain: "shop", secret: SECRET });
    return {
      args: ["--store", `sojourn://${server.member}/shop`, "--secret-file", secret.path],
      store,
      async close() {
        await store.close();
        server.signal("SIGKILL");
        await server.exited;
        secret.remove();
      },
    };
  },
};

const redis: Backend = {
  name: "Redis, under a prefix",
  async open() {
    const server = await startRedis();
    const store = redisStore({ url: server.url, prefix: "shop" });
    return {
      args: ["--store", server.url, "--prefix", "shop"],
      store,
      async close() {
        await store.close();
        await server.stop();
      },
    };
  },
};

const redisCluster: Backend = {
  name: "a Redis Cluster",
  async open() {
    const cluster = await startRedisCluster();
    const store = redisStore({ cluster: cluster.urls, timeoutMs: 5_000 });
    return {
      args: ["--store", cluster.urls.slice(0, 2).join(",")],
      store,
      async close() {
        await store.close();
        await cluster.stop();
      },
    };
  },
};

const backends = redisServerPath() === undefined ? [sessionServer] : [sessionServer, redis, redisCluster];

describe.each(backends)("on $name", ({ open }) => {
  let opened: Awaited<ReturnType<Backend["open"]>>;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened.close());
  beforeEach(async () => {
    for (const { key } of (await opened.store.list({ limit: 1000 })).sessions)
      await opened.store.destroy(key);
  });

  const session = (...args: string[]): Promise<Finished> => sojourn(["session", ...args, ...opened.args]);
  /** Everything it printed is one JSON object a line. */
  const json = async (...args: string[]) => {
    const { code, stdout, stderr } = await session(...args, "--json");
    expect(stderr).toBe("");
    expect(code).toBe(0);
    return stdout
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  };

  async function create(more: Partial<NewSession> & { principalName?: string } = {}): Promise<Key> {
    const { principalName, ...rest } = more;
    const key = rest.key ?? newKey();
    const nowMs = Date.now();
    const made = await opened.store.create({
      attributes: new Map([["cart", jsonValue({ items: ["telling-value"] })]]),
      ...(principalName === undefined ? {} : { principal: { principal: principalName, ageMs: 0 } }),
      expiresAtMs: nowMs + 600_000,
      absoluteExpiresAtMs: nowMs + 3_600_000,
      ...rest,
      key,
    });
    expect(made.status).toBe("created");
    return key;
  }

  test("list and count: a line for each session, by user, and never a value", async () => {
    expect((await session("list")).stdout).toBe("no sessions\n");
    const ada = await create({ principalName: "ada" });
    const bob = await create({ principalName: "bob" });
    const listed = await session("list");
    expect(listed.code).toBe(0);
    expect(listed.stdout).toMatch(/^key +principal +age +idle +ends in +attributes +size\n/);
    expect(listed.stdout).toMatch(new RegExp(`^${ada.slice(0, 12)} +ada +0 s +0 s +(9|10) min`, "m"));
    expect(listed.stdout).toContain(bob.slice(0, 12));
    expect(listed.stdout).not.toContain("telling-value");
    expect((await json("list", "--principal", "ada")).map(({ key }) => key)).toEqual([ada]);
    expect((await session("count")).stdout).toBe("2\n");
    expect(await json("count", "--principal", "bob")).toEqual([{ count: 1 }]);
    expect(await json("count", "--principal", "nobody")).toEqual([{ count: 0 }]);
  });

  test("pages: each names the next, and --all follows them", async () => {
    const keys = new Set<string>();
    for (let made = 0; made < 7; made++) keys.add(await create());
    const seen: unknown[] = [];
    let cursor: string | undefined;
    do {
      const page = await session("list", "--json", "--limit", "3", ...(cursor ? ["--cursor", cursor] : []));
      const lines = page.stdout.trim().split("\n");
      expect(lines.length).toBeLessThanOrEqual(3);
      seen.push(...lines.map((line) => JSON.parse(line).key));
      cursor = /--cursor (\S+),/.exec(page.stderr)?.[1];
    } while (cursor !== undefined);
    expect(seen).toHaveLength(7);
    expect(new Set(seen)).toEqual(keys);
    expect(await json("list", "--all", "--limit", "2")).toHaveLength(7);
    expect((await session("list", "--limit", "0")).stderr).toContain("Expected 1 to 1000");
  });

  test("the largest come first, and only as many as asked for", async () => {
    const sizes = [30, 3_000, 300];
    const keys: Key[] = [];
    for (const size of sizes) {
      keys.push(await create({ attributes: new Map([["bulk", jsonValue("x".repeat(size))]]) }));
    }
    expect((await json("list", "--largest", "2")).map(({ key }) => key)).toEqual([keys[1], keys[2]]);
    expect((await session("list", "--largest", "2", "--all")).stderr).toContain("cannot be used with");
  });

  test("show: names, sizes, times and owner; values only when asked for", async () => {
    const key = await create({ principalName: "ada" });
    const shown = await session("show", key);
    expect(shown.code).toBe(0);
    expect(shown.stdout).toMatch(new RegExp(`^key +${key}\nprincipal +ada\n`));
    expect(shown.stdout).toMatch(/ends when idle +\S+Z +in (9|10) min/);
    expect(shown.stdout).toMatch(/ends at latest +\S+Z +in (59 min|1 h)/);
    expect(shown.stdout).toMatch(/^ {2}cart +\d+ B$/m);
    expect(shown.stdout).not.toContain("telling-value");
    expect((await session("show", key, "--values")).stdout).toContain('{"items":["telling-value"]}');
    const plain = JSON.parse((await session("show", key, "--json")).stdout);
    expect(plain).toMatchObject({ key, principal: "ada", attributes: [{ name: "cart" }] });
    expect(JSON.stringify(plain)).not.toContain("telling-value");
    const full = JSON.parse((await session("show", key, "--json", "--values")).stdout);
    expect(full.attributes[0].value).toEqual({ items: ["telling-value"] });
  });

  test("keys may be cut short as long as they name one session, and may begin with a dash", async () => {
    const start = "AAAA1234567890";
    const [one, two, dashed] = [keyFrom(`${start}one`), keyFrom(`${start}two`), keyFrom("-dash-999")];
    for (const key of [one, two, dashed]) await create({ key });
    expect((await session("show", `${start}o`)).stdout).toContain(one);
    expect((await session("show", "-dash")).stdout).toContain(dashed);
    const several = await session("show", start);
    expect(several.code).toBe(1);
    expect(several.stderr).toContain("begins the keys of 2 sessions");
    expect(several.stderr).toContain(one);
    expect(several.stderr).toContain(two);
    expect((await session("show", "AAA")).stderr).toContain("at least 4 characters");
    expect((await session("show", "ZZZZ")).stderr).toContain(
      'No live session has a key that begins with "ZZZZ"',
    );
    expect((await session("show", "not a key")).stderr).toContain("no session key");
    const gone = await session("show", keyFrom("ZZZZ"));
    expect([gone.code, gone.stderr]).toEqual([1, expect.stringContaining("ended or expired")]);
    expect((await session("show", one, "--valeus")).code).toBe(1);
  });

  test("end: asks first, needs --yes where nobody can be asked, and ends on every server", async () => {
    const key = await create({ principalName: "ada" });
    const asked = await session("end", key.slice(0, 20));
    expect(asked.code).toBe(1);
    expect(asked.stderr).toMatch(
      /End 1 session of ada, idle for \d+ s\? There is nobody to ask: repeat it with --yes/,
    );
    expect(await opened.store.read(key)).not.toBeNull();
    const ended = await session("end", key.slice(0, 20), "--yes");
    expect([ended.code, ended.stdout]).toEqual([0, `ended session ${key.slice(0, 12)}\n`]);
    expect(await opened.store.read(key)).toBeNull();
    const again = await session("end", key, "--yes");
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining("ended or expired")]);
  });

  test("end-all: says how many first, and leaves everybody else alone", async () => {
    for (let made = 0; made < 3; made++) await create({ principalName: "ada" });
    const bob = await create({ principalName: "bob" });
    const asked = await session("end-all", "--principal", "ada");
    expect([asked.code, asked.stderr]).toEqual([1, expect.stringContaining("End 3 sessions of ada?")]);
    expect(await opened.store.count()).toBe(4);
    expect((await session("end-all", "--principal", "ada", "--yes")).stdout).toBe(
      "ended 3 sessions of ada\n",
    );
    expect((await opened.store.list()).sessions.map(({ key }) => key)).toEqual([bob]);
    expect(await json("end-all", "--principal", "ada", "--yes")).toEqual([{ ended: 0 }]);
    expect((await session("end-all", "--yes")).stderr).toContain("--principal");
  });

  test("hostile names and users reach the terminal written out", async () => {
    const hostile = "\u001b[2J\u202eevil\n";
    await create({ principalName: hostile, attributes: new Map([[hostile, jsonValue(hostile)]]) });
    const { stdout } = await session("list");
    const key = (await json("list"))[0]?.key as string;
    const shown = (await session("show", key, "--values")).stdout;
    for (const text of [stdout, shown]) {
      for (const char of ["\u001b", "\u202e"]) expect(text).not.toContain(char);
      expect(text).toContain("\\u{1b}[2J\\u{202e}evil");
    }
  });

  test("sessions of a real application, encrypted: shown with the key they need, and ended", async () => {
    const keys = [{ id: "2026-11", key: "a key that is long enough to be one" }];
    const sessions = createSessions({ store: encryptedStore(opened.store, { keys }), secret: SECRET });
    const scope = sessions.open({ cookie: undefined, secure: false });
    (await scope.session()).set("card", "telling-value");
    await scope.settle();
    scope.close();
    const key = (await json("list"))[0]?.key as string;
    const shown = await session("show", key, "--values");
    expect(shown.stdout).toMatch(/^ {2}card +\d+ B +encrypted with key 2026-11$/m);
    expect(shown.stdout).not.toContain("telling-value");
    expect((await session("end", key, "--yes")).code).toBe(0);
    expect(await sessions.count()).toBe(0);
  });
});

describe("where the store comes from", () => {
  const failed = async (args: string[], env?: Record<string, string>) => {
    const { code, stdout, stderr } = await sojourn(["session", ...args], env);
    expect([code, stdout]).toEqual([1, ""]);
    return stderr;
  };

  test("the help of every command shows its options; the group's shows examples", async () => {
    const help = await sojourn(["session", "--help"]);
    expect(help.stdout).toContain("sojourn session end-all --principal ada@example.org --yes");
    for (const command of ["list", "show", "count", "end", "end-all"]) {
      expect((await sojourn(["session", command, "--help"])).stdout, command).toContain("--store-file");
    }
  });

  test("from SOJOURN_STORE and from a file, as well as from --store", async () => {
    const server = await spawnServer("--domain", "shop");
    const url = `sojourn://${server.member}/shop`;
    const file = secretFile(url);
    try {
      expect((await sojourn(["session", "count"], { SOJOURN_STORE: url })).stdout).toBe("0\n");
      expect((await sojourn(["session", "count", "--store-file", file.path])).stdout).toBe("0\n");
      const place = ["--store", `sojourn://${server.member}`];
      expect((await sojourn(["session", "count", ...place, "--domain", "shop"])).stdout).toBe("0\n");
      expect(await failed(["count", ...place, "--domain", "other"])).toMatch(
        /serves domain "shop"[\s\S]*--domain/,
      );
      expect(await failed(["count", "--store", url, "--domain", "other"])).toContain('the URL names "shop"');
      expect(await failed(["count", "--store", url, "--store-file", file.path])).toContain(
        "name the store once",
      );
    } finally {
      file.remove();
      server.signal("SIGKILL");
      await server.exited;
    }
  });

  test("a password on the command line is refused and never repeated", async () => {
    const stderr = await failed(["count", "--store", "redis://:telling-password@127.0.0.1:1"]);
    expect(stderr).toContain("--store-file");
    expect(stderr).not.toContain("telling-password");
    const node = await failed([
      "count",
      "--store",
      "redis://127.0.0.1:1,redis://:telling-password@127.0.0.1:2",
    ]);
    expect(node).toContain("--store-file");
    const broken = await failed(["count"], { SOJOURN_STORE: "redis//:telling-password@nowhere" });
    expect(broken).not.toContain("telling-password");
  });

  test.skipIf(redisServerPath() === undefined)("Redis with a password, which stands in a file", async () => {
    const server = await startRedis();
    await server.command("CONFIG", "SET", "requirepass", "telling-password");
    const file = secretFile(server.url.replace("//", "//:telling-password@"));
    try {
      expect((await sojourn(["session", "count", "--store-file", file.path])).stdout).toBe("0\n");
      expect(await failed(["count", "--store", server.url])).toContain(`-p ${server.port} ping`);
      await server.kill();
      const away = await failed(["count", "--store-file", file.path]);
      expect(away).toContain(`redis-cli -h 127.0.0.1 -p ${server.port} ping`);
      expect(away).not.toContain("telling-password");
    } finally {
      file.remove();
      await server.stop();
    }
  });

  test("whatever cannot work says what would", async () => {
    expect(await failed(["count"], { SOJOURN_STORE: "" })).toContain("No store is named");
    expect(await failed(["count", "--store", "mysql://127.0.0.1"])).toContain(
      "expected sojourn:// or redis://",
    );
    expect(await failed(["count", "--store", "sojourn://a/%zz"])).toContain("Cannot read the store's URL");
    expect(await failed(["count", "--store", "sojourn://a,sojourn://b"])).toContain("name one");
    expect(await failed(["count", "--store-file", "/does/not/exist"])).toContain("ENOENT");
    expect(await failed(["count", "--store", "sojourn://127.0.0.1:1/shop"])).toContain(
      "sojourn server status",
    );
    expect(await failed(["count", "--store", "sojourn://127.0.0.1:1", "--prefix", "x"])).toContain(
      "--domain",
    );
    expect(await failed(["count", "--store", "redis://127.0.0.1:1", "--domain", "x"])).toContain("--prefix");
  });
});

function jsonValue(value: unknown): Buffer {
  return Buffer.concat([Buffer.from([1]), Buffer.from(JSON.stringify(value))]);
}

/** A whole key that begins as told. */
function keyFrom(start: string): Key {
  return `${start}${"A".repeat(43 - start.length)}` as Key;
}
