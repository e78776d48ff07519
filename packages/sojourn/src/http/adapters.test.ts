import { Readable } from "node:stream";
import { createGzip, gunzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { SessionError } from "../core/errors.ts";
import { refusalBody } from "./answer.ts";
import { type Answer, type AskOptions, ask } from "./ask.test.support.ts";
import type { App, Routes } from "./framework.test.support.ts";
import { frameworks } from "./frameworks.test.support.ts";
import { COMMITTED, SID, STORE_DOWN, scriptedSessions } from "./scripted-sessions.test.support.ts";

const sessions = scriptedSessions();
let closes = 0;

async function changed(exchange: Parameters<Routes[string]>[0]) {
  const session = await exchange.session();
  session.set("cart", ["book"]);
  return session;
}

/** The routes that change the session, each answering in another way. */
const answering: Routes = {
  "/json": async (exchange) => {
    await changed(exchange);
    exchange.json({ ok: true });
  },
  "/redirect": async (exchange) => {
    await changed(exchange);
    exchange.redirect("/elsewhere");
  },
  "/stream": async (exchange) => {
    await changed(exchange);
    exchange.stream(Readable.from(["one,", "two,", "three"]));
  },
  "/gzip": async (exchange) => {
    await changed(exchange);
    exchange.header("content-encoding", "gzip");
    exchange.stream(Readable.from(["compressed"]).pipe(createGzip()));
  },
  "/events": async (exchange) => {
    await changed(exchange);
    const res = exchange.takeOver();
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.flushHeaders();
    res.write("data: 1\n\n");
    res.end("data: 2\n\n");
  },
  "/by-hand": async (exchange) => {
    await changed(exchange);
    const res = exchange.takeOver();
    // The array form is what on-headers, and all that is built on it, once corrupted (CVE-2025-7339).
    res.writeHead(200, ["content-type", "text/plain", "set-cookie", "theirs=1"]);
    res.end("by hand");
  },
};

const routes: Routes = {
  ...answering,
  "/ping": (exchange) => exchange.json({ pong: true }),
  "/read": async (exchange) => {
    const [session, again] = [await exchange.session(), await exchange.session()];
    exchange.json({ same: session === again, cart: session.get("cart") ?? null });
  },
  "/decorated": async (exchange) => {
    await changed(exchange);
    const theirs = {
      "set-cookie": ["theme=dark"],
      etag: '"v1"',
      "x-secret": "s",
      location: "/account",
      vary: "Origin",
      "access-control-allow-origin": "https://shop.example",
      "x-request-id": "r-1",
      "cache-control": "public, max-age=60, s-maxage=600",
    };
    for (const [name, value] of Object.entries(theirs)) exchange.header(name, value);
    exchange.json({ private: "data" });
  },
  "/json-then-throw": async (exchange) => {
    if (hasSessions) await changed(exchange);
    exchange.json({ ok: true });
    throw new Error("after the answer");
  },
  "/twice": async (exchange) => {
    if (hasSessions) await changed(exchange);
    exchange.json({ answer: 1 });
    exchange.json({ answer: 2 });
  },
  "/commit-then-throw": async (exchange) => {
    const session = await changed(exchange);
    await session.commit();
    throw new Error("after the commit");
  },
  "/watched": async (exchange) => {
    await changed(exchange);
    const res = exchange.takeOver();
    res.on("close", () => {
      closes += 1;
    });
    res.end("never seen");
  },
};

/** Whether the routes that are compared run with sessions. */
let hasSessions = true;

describe.each(frameworks)("$name", (framework) => {
  let app: App;
  let bare: App;

  beforeAll(async () => {
    // Express reports errors that nobody handles there; some of these routes are made to fail.
    vi.spyOn(console, "error").mockImplementation(() => {});
    app = await framework.launch(routes, sessions);
    bare = await framework.launch(routes, undefined);
  });

  afterAll(async () => {
    await app.close();
    await bare.close();
    vi.restoreAllMocks();
  });

  beforeEach(() => {
    hasSessions = true;
    closes = 0;
  });

  afterEach(() => sessions.reset());

  function get(path: string, options?: AskOptions): Promise<Answer> {
    return ask(framework, app, path, options).answer;
  }

  const methods = (path: string) => (path === "/json" || path === "/redirect" ? ["GET", "HEAD"] : ["GET"]);

  test.each(Object.keys(answering).flatMap((path) => methods(path).map((method) => ({ path, method }))))(
    "$method $path: no byte of the response before the commit, and then all of it",
    async ({ path, method }) => {
      const pending = ask(framework, app, path, { method });
      await sessions.committing();
      // A whole exchange on another connection: what the held response had sent would have arrived before it.
      expect((await get("/ping")).body).toBe('{"pong":true}');
      expect(pending.arrived()).toBe(0);
      sessions.finish(COMMITTED);
      const answer = await pending.answer;
      expect(answer.complete).toBe(true);
      expect(answer.setCookies.filter((cookie) => cookie === SID)).toHaveLength(1);
      expect(answer.status).toBe(path === "/redirect" ? 303 : 200);
      if (method === "HEAD") expect(answer.body).toBe("");
      else if (path === "/json") expect(answer.body).toBe('{"ok":true}');
      else if (path === "/stream") expect(answer.body).toBe("one,two,three");
      else if (path === "/events") expect(answer.body).toBe("data: 1\n\ndata: 2\n\n");
      if (path === "/by-hand") expect(answer.setCookies).toContain("theirs=1");
    },
  );

  test("requests that never ask for their session open no scope", async () => {
    expect((await get("/ping", { headers: { cookie: "sid=x" } })).status).toBe(200);
    expect(sessions.opened).toEqual([]);
  });

  test("a clean session passes straight through, loaded once and closed once", async () => {
    const answer = await get("/read", { headers: { cookie: "a=1; sid=x" } });
    expect(answer.body).toBe('{"same":true,"cart":null}');
    expect(answer.setCookies).toEqual([]);
    expect(answer.headers["cache-control"]).toBeUndefined();
    await expect
      .poll(() => sessions.opened)
      .toEqual([{ cookie: "a=1; sid=x", secure: false, ageMs: expect.any(Number), closed: 1 }]);
  });

  test("a failed commit is answered instead, without what the application wanted to say", async () => {
    sessions.finish(STORE_DOWN);
    const answer = await get("/decorated");
    expect(answer.status).toBe(503);
    expect(answer.body).toBe(refusalBody("STORE_UNAVAILABLE"));
    const {
      date,
      connection,
      "keep-alive": _,
      ":status": __,
      ...headers
    } = answer.headers as Record<string, unknown>;
    expect(headers).toEqual({
      "retry-after": "1",
      "content-type": "application/json; charset=utf-8",
      "content-length": String(Buffer.byteLength(refusalBody("STORE_UNAVAILABLE"))),
      "cache-control": "no-store",
      vary: "Origin",
      "access-control-allow-origin": "https://shop.example",
      "x-request-id": "r-1",
    });
    await expect.poll(() => sessions.opened[0]?.closed).toBe(1);
  });

  test.each(Object.keys(answering))("%s: a failed commit replaces it whole", async (path) => {
    sessions.finish({ ok: false, status: 413, code: "SESSION_TOO_LARGE", headers: {}, setCookies: [SID] });
    const answer = await get(path);
    expect(answer).toMatchObject({ status: 413, body: refusalBody("SESSION_TOO_LARGE"), complete: true });
    expect(answer.setCookies).toEqual([SID]);
    expect(answer.headers["retry-after"]).toBeUndefined();
  });

  test("a failed commit of a HEAD request has no body", async () => {
    sessions.finish(STORE_DOWN);
    const answer = await get("/json", { method: "HEAD" });
    expect(answer).toMatchObject({ status: 503, body: "", complete: true });
    expect(answer.headers["content-length"]).toBe(
      String(Buffer.byteLength(refusalBody("STORE_UNAVAILABLE"))),
    );
  });

  test("the session's cookie joins the application's, and no shared cache may keep it", async () => {
    sessions.finish(COMMITTED);
    const answer = await get("/decorated");
    expect(answer.setCookies).toEqual(["theme=dark", SID]);
    expect(answer.headers["cache-control"]).toBe('max-age=60, private, no-cache="Set-Cookie"');
  });

  test.each(["/json-then-throw", "/twice"])("%s does what it does without sessions", async (path) => {
    hasSessions = false;
    const expected = await ask(framework, bare, path).answer;
    hasSessions = true;
    const pending = ask(framework, app, path);
    await sessions.committing();
    sessions.finish({ ok: true, setCookies: [] });
    const { status, body, complete } = await pending.answer;
    expect({ status, body, complete }).toEqual({
      status: expected.status,
      body: expected.body,
      complete: expected.complete,
    });
    expect((await get("/ping")).status).toBe(200);
  });

  test("an error answer after the commit still carries the session's cookie", async () => {
    sessions.finish(COMMITTED);
    const answer = await get("/commit-then-throw");
    expect(answer.status).toBe(500);
    expect(answer.setCookies).toEqual([SID]);
  });

  test("a visitor who leaves during the commit does not cancel it, and the scope closes once", async () => {
    const pending = ask(framework, app, "/watched");
    const gone = pending.answer.then(
      () => "answered",
      () => "gone",
    );
    await sessions.committing();
    pending.abort();
    expect(await gone).toBe("gone");
    await expect.poll(() => sessions.opened[0]?.closed).toBe(1);
    sessions.finish(COMMITTED);
    expect((await get("/ping")).status).toBe(200);
    expect({ closes, closed: sessions.opened[0]?.closed }).toEqual({ closes: 1, closed: 1 });
  });

  test("a session that cannot be loaded is 503 with Retry-After, and says nothing of the inside", async () => {
    sessions.failLoading(
      new SessionError("STORE_UNAVAILABLE", "Cannot read the session: the store did not answer"),
    );
    const answer = await get("/read");
    expect(answer.status).toBe(503);
    expect(answer.headers["retry-after"]).toBe("1");
    expect(answer.body).not.toMatch(/\bat \S+ \(|\.ts:\d/);
  });

  test("the compressed body is whole", async () => {
    sessions.finish(COMMITTED);
    const answer = await get("/gzip");
    expect(answer.headers["content-encoding"]).toBe("gzip");
    expect(() => gunzipSync(Buffer.from(answer.body))).not.toThrow(/unexpected end/);
  });
});
