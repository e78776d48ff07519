/** The shop's interface, on each framework: a newcomer may copy any of the three, so all three must be right. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Quickstart, send, Visitor } from "./quickstart.test.support.ts";

let quickstart: Quickstart;
beforeAll(async () => {
  quickstart = await Quickstart.start();
});
afterAll(() => quickstart[Symbol.asyncDispose]());

const attribute = (name: string): string => `/session/attributes/${encodeURIComponent(name)}`;

describe.each(["express", "fastify", "node"])("%s", (server) => {
  const visitor = (): Visitor => new Visitor(quickstart.shopUrl(server));
  const ask = (method: string, path: string, sending?: Parameters<typeof send>[3]) =>
    send(quickstart.shopUrl(server), method, path, sending);

  test("an anonymous GET /session answers without making a session", async () => {
    const answer = await ask("GET", "/session");
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({ server, isNew: true, version: null, principal: null, attributes: {} });
    expect(answer.headers["set-cookie"]).toBeUndefined();
    expect(answer.headers["shop-server"]).toBe(server);
    expect(answer.headers["cache-control"]).toBe("no-store");
  });

  test("attributes of any JSON value are stored, shown and removed", async () => {
    const it = visitor();
    const values = {
      text: "가나다",
      number: -0.5,
      yes: true,
      nothing: null,
      list: [1, [2]],
      deep: { a: { b: [] } },
    };
    for (const [name, value] of Object.entries(values)) {
      const answer = await it.send("PUT", attribute(name), value);
      expect([answer.status, answer.text], name).toEqual([204, ""]);
    }
    const view = await it.view();
    expect(view).toMatchObject({ server, isNew: false, principal: null, attributes: values });
    expect(view.version).toBeTypeOf("string");
    expect((await it.send("DELETE", attribute("deep"))).status).toBe(204);
    const { deep: _, ...left } = values;
    expect((await it.view()).attributes).toEqual(left);
  });

  test("every change changes the version, reading does not", async () => {
    const it = visitor();
    await it.send("PUT", attribute("a"), 1);
    const first = (await it.view()).version;
    expect((await it.view()).version).toBe(first);
    await it.send("PUT", attribute("a"), 2);
    expect((await it.view()).version).not.toBe(first);
  });

  test("names are decoded once, and no name is special", async () => {
    const it = visitor();
    const names = [
      "a/b",
      "100%",
      "%2F",
      "a b+c",
      "__proto__",
      "constructor",
      "키 🗝",
      "?q=1&x#y",
      "..",
      "x".repeat(500),
    ];
    for (const name of names) expect((await it.send("PUT", attribute(name), name)).status, name).toBe(204);
    const { attributes } = await it.view();
    expect(Object.entries(attributes).sort()).toEqual(names.map((name) => [name, name]).sort());
  });

  test("counters start at one and count", async () => {
    const it = visitor();
    for (const value of [1, 2, 3]) {
      const answer = await it.send("POST", "/session/counters/n");
      expect([answer.status, answer.json]).toEqual([200, { value }]);
    }
    await it.send("PUT", attribute("n"), "not a number");
    expect((await it.send("POST", "/session/counters/n")).json).toEqual({ value: 1 });
  });

  test("login renews the id, keeps what was in the cart and leads to the session", async () => {
    const it = visitor();
    await it.send("PUT", attribute("cart"), ["tent"]);
    const before = it.jar.get("sid");
    const answer = await it.send("POST", "/login", { user: "ada" });
    expect([answer.status, answer.headers.location]).toEqual([303, "/session"]);
    expect(it.jar.get("sid")).not.toBe(before);
    expect(await it.view()).toMatchObject({ principal: "ada", attributes: { cart: ["tent"] } });
  });

  test("logout ends the session and its cookie", async () => {
    const it = visitor();
    await it.send("POST", "/login", { user: "ada" });
    const twin = it.twin();
    expect((await it.send("POST", "/logout")).status).toBe(204);
    expect(it.jar.has("sid")).toBe(false);
    expect(await twin.view()).toMatchObject({ principal: null, version: null, attributes: {} });
  });

  test("logout everywhere ends every session of the user and nobody else's", async () => {
    const user = `ada-${server}`;
    const [one, two, other] = [visitor(), visitor(), visitor()];
    await one.send("POST", "/login", { user });
    await two.send("POST", "/login", { user });
    await other.send("POST", "/login", { user: `${user}-2` });
    expect((await one.send("POST", "/logout-everywhere")).status).toBe(204);
    expect((await two.view()).principal).toBe(null);
    expect((await other.view()).principal).toBe(`${user}-2`);
  });

  test("logging out without a session is no mistake", async () => {
    for (const path of ["/logout", "/logout-everywhere"]) {
      const answer = await ask("POST", path);
      expect([answer.status, answer.headers["set-cookie"]], path).toEqual([204, undefined]);
    }
  });

  test("delayMs waits after the session was read: an answer shows what was there before the wait", async () => {
    const it = visitor();
    await it.send("PUT", attribute("a"), "before");
    const startedMs = performance.now();
    const slow = it.twin().send("GET", "/session?delayMs=400");
    // Well inside the wait: the slow request has been read by the time a fast one is answered.
    await it.twin().view();
    await it.send("PUT", attribute("a"), "after");
    expect((await slow).json.attributes.a).toBe("before");
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(395);
    expect((await it.view()).attributes.a).toBe("after");
  });

  test.each(["-1", "1.5", "30001", "soon", ""])("delayMs=%j is refused", async (delayMs) => {
    const answer = await ask("GET", `/session?delayMs=${delayMs}`);
    expect([answer.status, answer.json.code]).toEqual([400, "INVALID_DELAY"]);
  });

  test.each([
    ["PUT /session/attributes/a", 400, "INVALID_JSON", "{"],
    ["PUT /session/attributes/a", 400, "INVALID_JSON", ""],
    ["POST /login", 400, "INVALID_USER", "[]"],
    ["POST /login", 400, "INVALID_USER", "null"],
    ["POST /login", 400, "INVALID_USER", '{"user":" "}'],
    ["POST /login", 400, "INVALID_USER", JSON.stringify({ user: "x".repeat(65) })],
    ["PUT /session/attributes/a", 413, "BODY_TOO_LARGE", JSON.stringify("x".repeat(300_000))],
    ["PUT /session/attributes/a", 413, "SESSION_TOO_LARGE", JSON.stringify("x".repeat(100_000))],
    ["PUT /session/attributes/%E0%A4", 400, "BAD_REQUEST", "1"],
    ["GET /nowhere", 404, "NOT_FOUND", undefined],
    ["PUT /session/attributes/", 404, "NOT_FOUND", "1"],
    ["GET /page/../../package.json", 404, "NOT_FOUND", undefined],
    ["GET /session/attributes/a", 405, "METHOD_NOT_ALLOWED", undefined],
    ["DELETE /login", 405, "METHOD_NOT_ALLOWED", undefined],
    ["POST /health", 405, "METHOD_NOT_ALLOWED", undefined],
  ])("%s: %i %s", async (words, status, code, rawBody) => {
    const [method = "", path = ""] = words.split(" ");
    const answer = await ask(method, path, { rawBody, headers: { "content-type": "application/json" } });
    expect([answer.status, answer.json?.code]).toEqual([status, code]);
    expect(Object.keys(answer.json).sort()).toEqual(["code", "message"]);
    expect(answer.headers["set-cookie"]).toBeUndefined();
    // The shop goes on.
    expect((await ask("GET", "/health")).status).toBe(200);
  });

  test("a refused change leaves the session as it was", async () => {
    const it = visitor();
    await it.send("PUT", attribute("a"), 1);
    const before = await it.view();
    expect((await it.send("PUT", attribute("b"), "x".repeat(100_000))).status).toBe(413);
    expect(await it.view()).toEqual(before);
  });

  test("a body needs no content type", async () => {
    const it = visitor();
    expect((await it.send("PUT", attribute("a"), { b: 1 })).status).toBe(204);
    expect((await it.view()).attributes).toEqual({ a: { b: 1 } });
  });

  test("pages come without cookies and with a tag; a page known already is not sent again", async () => {
    const page = await ask("GET", "/");
    expect(page.headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(page.headers["set-cookie"]).toBeUndefined();
    expect(page.headers["content-security-policy"]).toContain("default-src 'none'");
    const again = await ask("GET", "/", { headers: { "if-none-match": String(page.headers.etag) } });
    expect([again.status, again.text]).toEqual([304, ""]);
    const head = await ask("HEAD", "/main.js");
    expect([head.status, head.text, head.headers["content-type"]]).toEqual([
      200,
      "",
      "text/javascript; charset=utf-8",
    ]);
  });

  test("forged, foreign and doubled cookies are strangers", async () => {
    const it = visitor();
    await it.send("PUT", attribute("a"), 1);
    const sid = it.jar.get("sid") ?? "";
    const forged = `${sid.slice(0, -1)}${sid.endsWith("A") ? "B" : "A"}`;
    for (const cookie of [`sid=${forged}`, `sid=${"x".repeat(8_000)}`, "sid=", `sid=${sid}; sid=${forged}`]) {
      const answer = await ask("GET", "/session", { headers: { cookie } });
      expect([answer.status, answer.json?.version], cookie.slice(0, 60)).toEqual([200, null]);
    }
  });

  test("control belongs to pages of this shop", async () => {
    const own = quickstart.url;
    const port = new URL(own).port;
    const post = (headers: Record<string, string>) =>
      ask("POST", "/control/servers/nobody/kill", { headers }).then(({ status }) => status);
    expect(await post({})).toBe(403);
    expect(await post({ origin: "null" })).toBe(403);
    expect(await post({ origin: "http://shop.example" })).toBe(403);
    expect(await post({ origin: `http://shop.example:${port}`, host: `shop.example:${port}` })).toBe(403);
    expect(await post({ origin: `${own}.example` })).toBe(403);
    expect(await post({ origin: own, "sec-fetch-site": "cross-site" })).toBe(403);
    expect(await post({ origin: own, "sec-fetch-site": "same-site" })).toBe(403);
    // Allowed as far as the launcher, which knows no such server.
    expect(await post({ origin: own, "sec-fetch-site": "same-origin" })).toBe(404);
    expect(await post({ origin: `http://localhost:${port}` })).toBe(404);
    const read = (headers: Record<string, string>) =>
      ask("GET", "/control/servers", { headers }).then(({ status }) => status);
    expect(await read({ host: `shop.example:${port}` })).toBe(403);
    expect(await read({ host: `127.0.0.1:${port}` })).toBe(200);
  });
});

test("all three answer a stranger's request with the same words", async () => {
  const requests: [string, string, string | undefined][] = [
    ["GET", "/session", undefined],
    ["GET", "/nowhere", undefined],
    ["PATCH", "/session", undefined],
    ["PUT", "/session/attributes/a", "{"],
    ["POST", "/login", "{}"],
    ["PUT", "/session/attributes/%E0%A4", "1"],
  ];
  for (const [method, path, rawBody] of requests) {
    const answers = await Promise.all(
      ["express", "fastify", "node"].map(async (name) => {
        const { status, json } = await send(quickstart.shopUrl(name), method, path, { rawBody });
        return { status, json: { ...json, server: undefined } };
      }),
    );
    expect(answers[1], `${method} ${path}`).toEqual(answers[0]);
    expect(answers[2], `${method} ${path}`).toEqual(answers[0]);
  }
});
