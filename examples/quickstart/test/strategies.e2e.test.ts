/**
 * Each strategy has a signature that a visitor can see, and this is where it is held to it: "none" loses sessions without
 * any fault, "sticky" when a server dies and only then, "session-server" never.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  isAlive,
  Quickstart,
  routerSees,
  send,
  type UpEntry,
  until,
  Visitor,
} from "./quickstart.test.support.ts";

const SHOPS = ["express", "fastify", "node"];
const WRITERS = 20;

/** Who answers `count` reads of this visitor. */
async function answering(visitor: Visitor, count: number): Promise<string[]> {
  const servers: string[] = [];
  for (let i = 0; i < count; i++) servers.push((await visitor.view()).server);
  return servers;
}

/** Kills a shop as the page does, through whoever answers, and waits until it is gone. */
async function kill(it: Quickstart, name: string): Promise<void> {
  const { pid } = it.entry(name);
  expect((await it.control(name, "kill")).status).toBe(202);
  await until(() => !isAlive(pid), `${name} is dead`);
  await until(() => it.up().every((entry) => entry.name !== name), `${name} has left up.json`);
}

async function bringBack(it: Quickstart, name: string): Promise<void> {
  const { status, json } = await it.control(name, "start");
  expect([status, json.servers.find((server: UpEntry) => server.name === name).state]).toEqual([
    200,
    "running",
  ]);
  expect(it.entry(name).port).toBeGreaterThan(0);
}

describe("none", () => {
  test("what one server was told, the others do not know, without any fault", async () => {
    await using it = await Quickstart.start("none");
    expect(it.up().map(({ role }) => role)).toEqual(["shop", "shop", "shop", "router"]);
    const visitor = new Visitor(it.url);
    await visitor.send("PUT", "/session/attributes/city", "Seoul");
    const seen: Record<string, unknown> = {};
    for (let i = 0; i < SHOPS.length * 2; i++) {
      const { server, attributes } = await visitor.view();
      seen[server] = attributes.city ?? "nothing";
    }
    expect(Object.keys(seen).sort()).toEqual(SHOPS);
    expect(Object.values(seen).sort()).toEqual(["Seoul", "nothing", "nothing"]);
  });

  test("a login is forgotten by the next request", async () => {
    await using it = await Quickstart.start("none");
    const visitor = new Visitor(it.url);
    expect((await visitor.send("POST", "/login", { user: "ada" })).status).toBe(303);
    const principals = [];
    for (let i = 0; i < SHOPS.length; i++) principals.push((await visitor.view()).principal);
    expect(principals.filter((principal) => principal === "ada")).toHaveLength(1);
  });
});

describe("sticky", () => {
  test("one server answers and remembers, until it is killed; then the session is lost", async () => {
    await using it = await Quickstart.start("sticky");
    const visitor = new Visitor(it.url);
    await visitor.send("POST", "/login", { user: "ada" });
    for (let i = 1; i <= 10; i++) {
      expect((await visitor.send("POST", "/session/counters/n")).json).toEqual({ value: i });
    }
    const [home = ""] = new Set(await answering(visitor, 5));
    expect(new Set(await answering(visitor, 5))).toEqual(new Set([home]));

    // Somebody else's death costs this visitor nothing.
    const [other = "", third = ""] = SHOPS.filter((name) => name !== home);
    await kill(it, other);
    expect(await visitor.view()).toMatchObject({ server: home, principal: "ada", attributes: { n: 10 } });
    await bringBack(it, other);

    await kill(it, home);
    const after = await visitor.view();
    expect([other, third]).toContain(after.server);
    expect(after).toMatchObject({ principal: null, version: null, attributes: {} });
  });

  test("a browser that is balanced round robin loses what sticky kept", async () => {
    await using it = await Quickstart.start("sticky");
    const visitor = new Visitor(it.url);
    await visitor.send("POST", "/login", { user: "ada" });
    expect((await visitor.view()).principal).toBe("ada");
    visitor.jar.set("sojourn-affinity", "none");
    const views = [];
    for (let i = 0; i < SHOPS.length; i++) views.push(await visitor.view());
    expect(new Set(views.map(({ server }) => server)).size).toBe(SHOPS.length);
    expect(views.filter(({ principal }) => principal === "ada")).toHaveLength(1);
  });
});

describe("session-server", () => {
  /** A visitor whose requests go to every server in turn: affinity must not matter. */
  function wanderer(it: Quickstart): Visitor {
    const visitor = new Visitor(it.url);
    visitor.jar.set("sojourn-affinity", "none");
    return visitor;
  }

  test("every server knows what any server was told", async () => {
    await using it = await Quickstart.start();
    const visitor = wanderer(it);
    await visitor.send("POST", "/login", { user: "ada" });
    await visitor.send("PUT", "/session/attributes/city", "Seoul");
    const views = [];
    for (let i = 0; i < SHOPS.length; i++) views.push(await visitor.view());
    expect(views.map(({ server }) => server).sort()).toEqual(SHOPS);
    for (const view of views) expect(view).toMatchObject({ principal: "ada", attributes: { city: "Seoul" } });
    expect(new Set(views.map(({ version }) => version)).size).toBe(1);
  });

  test(`${WRITERS} parallel writers of different attributes on three servers: all survive`, async () => {
    await using it = await Quickstart.start();
    const visitor = wanderer(it);
    await visitor.send("PUT", "/session/attributes/first", 0);
    const names = Array.from({ length: WRITERS }, (_, index) => `writer ${index}`);
    const answers = await Promise.all(
      names.map((name) =>
        // All have read the session before any of them writes.
        visitor.send("PUT", `/session/attributes/${encodeURIComponent(name)}?delayMs=200`, name),
      ),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([204]));
    expect(new Set(answers.map(({ headers }) => headers["shop-server"]))).toEqual(new Set(SHOPS));
    const { attributes } = await visitor.view();
    expect(names.filter((name) => attributes[name] === name)).toHaveLength(WRITERS);
  });

  test("counters are exact under parallel requests on three servers", async () => {
    await using it = await Quickstart.start();
    const visitor = wanderer(it);
    await visitor.send("PUT", "/session/attributes/first", 0);
    const answers = await Promise.all(
      Array.from({ length: WRITERS }, () => visitor.send("POST", "/session/counters/n?delayMs=100")),
    );
    const values = answers.map(({ json }) => json.value).sort((a, b) => a - b);
    expect(values).toEqual(Array.from({ length: WRITERS }, (_, index) => index + 1));
    expect((await visitor.view()).attributes.n).toBe(WRITERS);
  });

  test.each(["/logout", "/logout-everywhere"])(
    "%s is final: a slow read and slow writes in flight on other servers bring nothing back",
    async (path) => {
      await using it = await Quickstart.start();
      const visitor = new Visitor(it.shopUrl("express"));
      await visitor.send("POST", "/login", { user: "ada" });
      await visitor.send("PUT", "/session/attributes/city", "Seoul");
      const slow = SHOPS.flatMap((name) => {
        const at = it.shopUrl(name);
        return [
          visitor.twin(at).send("GET", "/session?delayMs=600"),
          visitor.twin(at).send("PUT", "/session/attributes/ghost?delayMs=600", "back"),
          visitor.twin(at).send("POST", "/session/counters/n?delayMs=600"),
          visitor.twin(at).send("POST", "/login?delayMs=600", { user: "ada" }),
        ];
      });
      // The slow ones have read the session when this quicker one, sent after them, has read and waited.
      await visitor.twin().send("GET", "/session?delayMs=200");
      const witness = visitor.twin();
      expect((await visitor.send("POST", path)).status).toBe(204);
      const answers = await Promise.all(slow);
      for (const [index, { status }] of answers.entries()) {
        if (index % 4 === 0) expect(status).toBe(200);
      }
      for (const name of SHOPS) {
        const view = await witness.view(it.shopUrl(name));
        expect(view, name).toMatchObject({ principal: null, version: null, attributes: {} });
      }
    },
  );

  test("logout everywhere reaches the user's other browsers on other servers", async () => {
    await using it = await Quickstart.start();
    const browsers = SHOPS.map((name) => new Visitor(it.shopUrl(name)));
    for (const browser of browsers) await browser.send("POST", "/login", { user: "ada" });
    await browsers[0]?.send("POST", "/logout-everywhere");
    for (const browser of browsers) expect((await browser.view()).principal).toBe(null);
  });

  test("the server that answered is killed, and shopping goes on; it comes back and knows everything", async () => {
    await using it = await Quickstart.start();
    const visitor = new Visitor(it.url);
    await visitor.send("POST", "/login", { user: "ada" });
    let expected = 0;
    // Everyone dies once, the answering one each time.
    for (let round = 0; round < SHOPS.length; round++) {
      await visitor.send("POST", "/session/counters/cart");
      expected++;
      const { server } = await visitor.view();
      const before = it.entry(server).pid;
      await kill(it, server);
      for (let i = 0; i < 5; i++) {
        const view = await visitor.view();
        expect(view.server).not.toBe(server);
        expect(view).toMatchObject({ principal: "ada", attributes: { cart: expected } });
      }
      await bringBack(it, server);
      expect(it.entry(server).pid).not.toBe(before);
      expect(await visitor.view(it.shopUrl(server))).toMatchObject({
        server,
        principal: "ada",
        attributes: { cart: expected },
      });
    }
  });

  test("no request is lost when a server dies under load, once its death is known", async () => {
    await using it = await Quickstart.start();
    const visitor = wanderer(it);
    await visitor.send("PUT", "/session/attributes/n", 0);
    const { pid } = it.entry("fastify");
    process.kill(pid, "SIGKILL");
    // Until then a POST may be on its way over a connection that has just died, and is rightly not sent twice.
    await routerSees(it.url, "fastify", "down");
    const answers = await Promise.all(
      Array.from({ length: WRITERS }, () => visitor.send("POST", "/session/counters/n")),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect((await visitor.view()).attributes.n).toBe(WRITERS);
  });

  test("the last shop cannot be killed through the page, because the page would go with it", async () => {
    await using it = await Quickstart.start();
    await kill(it, "express");
    await kill(it, "fastify");
    const refused = await it.control("node", "kill");
    expect([refused.status, refused.json.code]).toEqual([409, "LAST_SHOP"]);
    expect(isAlive(it.entry("node").pid)).toBe(true);
    await bringBack(it, "express");
    expect(it.up().map(({ name }) => name)).toEqual(["session-server", "express", "node", "router"]);
  });

  test("the session server dies: strangers are served, sessions get 503 and Retry-After, and it heals", async () => {
    await using it = await Quickstart.start();
    const visitor = new Visitor(it.url);
    await visitor.send("POST", "/login", { user: "ada" });
    await kill(it, "session-server");
    for (const name of SHOPS) {
      const stranger = new Visitor(it.shopUrl(name));
      expect(await stranger.view()).toMatchObject({ isNew: true, version: null });
      expect((await stranger.send("GET", "/")).status).toBe(200);
      const refused = await visitor.twin(it.shopUrl(name)).send("GET", "/session");
      expect([refused.status, refused.json.code]).toEqual([503, "STORE_UNAVAILABLE"]);
      expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
      const login = await stranger.send("POST", "/login", { user: "eve" });
      expect([login.status, login.headers["set-cookie"]]).toEqual([503, undefined]);
      expect(isAlive(it.entry(name).pid)).toBe(true);
    }
    await bringBack(it, "session-server");
    // A single session server forgets: the visitor is a stranger again, not an error.
    await until(
      async () => (await visitor.twin().send("GET", "/session")).status === 200,
      "sessions work again",
    );
    expect(await visitor.view()).toMatchObject({ principal: null, version: null });
    expect((await visitor.send("POST", "/login", { user: "ada" })).status).toBe(303);
  });
});

test("control needs this run's token, and refuses browsers even with it", async () => {
  await using it = await Quickstart.start();
  const { port, token } = JSON.parse(readFileSync(`${it.stateDir}/control.json`, "utf8"));
  const bare = (headers: Record<string, string>) =>
    send(`http://127.0.0.1:${port}`, "GET", "/servers", { headers }).then(({ status }) => status);
  expect(await bare({})).toBe(403);
  expect(await bare({ "sojourn-control-token": `${token}x` })).toBe(403);
  expect(await bare({ "sojourn-control-token": token, origin: it.url })).toBe(403);
  expect(await bare({ "sojourn-control-token": token, "sec-fetch-site": "none" })).toBe(403);
  expect(await bare({ "sojourn-control-token": token })).toBe(200);
});
