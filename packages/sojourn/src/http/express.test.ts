import { once } from "node:events";
import { writeFileSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import express, { type ErrorRequestHandler, type Express, Router } from "express";
import { afterEach, expect, test } from "vitest";
import { SessionError } from "../core/errors.ts";
import { refusalBody } from "./answer.ts";
import { expressSessions } from "./express.ts";
import { COMMITTED, SID, STORE_DOWN, scriptedSessions } from "./scripted-sessions.test.support.ts";

let server: Server | undefined;

afterEach(async () => {
  server?.close().closeAllConnections();
  if (server) await once(server, "close");
  server = undefined;
});

async function ask(app: Express, path: string, init: RequestInit = {}): Promise<Response> {
  server ??= app.listen(0, "127.0.0.1");
  if (!server.listening) await once(server, "listening");
  return fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, {
    redirect: "manual",
    ...init,
  });
}

test("every way in which Express answers waits for the commit and carries the cookie", async () => {
  const sessions = scriptedSessions();
  sessions.finish(COMMITTED);
  const file = join(tmpdir(), `sojourn-express-${process.pid}.txt`);
  writeFileSync(file, "from a file");
  const app = express().use(expressSessions(sessions));
  app.use(async (req, _res, next) => {
    (await req.session()).set("seen", true);
    next();
  });
  app.get("/send", (_req, res) => void res.send("<p>sent</p>"));
  app.get("/status", (_req, res) => void res.sendStatus(202));
  app.get("/file", (_req, res) => res.sendFile(file));
  app.get("/redirect", (_req, res) => res.redirect("/send"));
  app.get("/jsonp", (_req, res) => void res.type("txt").append("x-a", "1").json({ a: 1 }));
  const seen: Record<string, unknown> = {};
  for (const path of ["/send", "/status", "/file", "/redirect", "/jsonp", "/nowhere"]) {
    const answer = await ask(app, path);
    seen[path] = [answer.status, answer.headers.getSetCookie(), (await answer.text()).slice(0, 15)];
  }
  expect(seen).toEqual({
    "/send": [200, [SID], "<p>sent</p>"],
    "/status": [202, [SID], "Accepted"],
    "/file": [200, [SID], "from a file"],
    "/redirect": [302, [SID], "Found. Redirect"],
    "/jsonp": [200, [SID], '{"a":1}'],
    "/nowhere": [404, [SID], "<!DOCTYPE html>"],
  });
});

test("req.session() in a mounted application and in routers is the same session", async () => {
  const sessions = scriptedSessions();
  sessions.finish(COMMITTED);
  const inner = express();
  inner.use(expressSessions(sessions));
  inner.get("/", async (req, res) => {
    const session = await req.session();
    res.json(session.get("from") ?? null);
  });
  const app = express().use(expressSessions(sessions));
  app.use(async (req, _res, next) => {
    (await req.session()).set("from", "outside");
    next();
  });
  app.use("/inner", Router().use("/app", inner));
  const answer = await ask(app, "/inner/app");
  expect([await answer.json(), answer.headers.getSetCookie()]).toEqual(["outside", [SID]]);
  expect(sessions.opened).toHaveLength(1);
});

test("of two sessions mounted, each router has its own, and each finds its own by `of`", async () => {
  const shop = scriptedSessions();
  const admin = scriptedSessions();
  const app = express().use(expressSessions(shop));
  app.use("/admin", expressSessions(admin));
  app.get(["/", "/admin"], async (req, res) => {
    const own = await req.session();
    res.json({ shop: own === (await shop.of(req)), admin: own === (await admin.of(req).catch(() => null)) });
  });
  expect(await (await ask(app, "/")).json()).toEqual({ shop: true, admin: false });
  expect(await (await ask(app, "/admin")).json()).toEqual({ shop: false, admin: true });
});

test("an error handler sees what it needs, and its own answer goes out", async () => {
  const sessions = scriptedSessions();
  sessions.failLoading(
    new SessionError("STORE_UNAVAILABLE", "Cannot read the session: the store did not answer"),
  );
  const app = express().use(expressSessions(sessions));
  app.get("/", async (req, res) => void res.json(await req.session()));
  const handler: ErrorRequestHandler = (error: SessionError, _req, res, _next) => {
    res.status(error.status).set(error.headers).json({ mine: error.code });
  };
  app.use(handler);
  const answer = await ask(app, "/");
  expect([answer.status, answer.headers.get("retry-after"), await answer.json()]).toEqual([
    503,
    "1",
    { mine: "STORE_UNAVAILABLE" },
  ]);
});

test("a failed commit is a refusal even where the application has an error handler", async () => {
  const sessions = scriptedSessions();
  sessions.finish(STORE_DOWN);
  const app = express().use(expressSessions(sessions));
  app.get("/", async (req, res) => {
    (await req.session()).set("a", 1);
    res.json({ ok: true });
  });
  const answer = await ask(app, "/");
  expect([answer.status, await answer.text()]).toEqual([503, refusalBody("STORE_UNAVAILABLE")]);
});

test("whether the connection is secure is what Express trusts", async () => {
  const sessions = scriptedSessions();
  const app = express().use(expressSessions(sessions));
  app.get("/", async (req, res) => void res.json((await req.session()).get("x") ?? null));
  const headers = { "x-forwarded-proto": "https" };
  await ask(app, "/", { headers });
  app.set("trust proxy", "loopback");
  await ask(app, "/", { headers });
  expect(sessions.opened.map(({ secure }) => secure)).toEqual([false, true]);
});

test("middleware that wraps the response, before us and after, neither bypasses the hold nor loses the cookie", async () => {
  const sessions = scriptedSessions();
  const order: string[] = [];
  const wrap =
    (name: string): express.RequestHandler =>
    (_req, res, next) => {
      const { write, end, writeHead } = res;
      res.writeHead = ((...args: Parameters<typeof writeHead>) => {
        order.push(name);
        res.setHeader(`x-${name}`, "1");
        return writeHead.apply(res, args);
      }) as typeof writeHead;
      res.write = ((...args: Parameters<typeof write>) => write.apply(res, args)) as typeof write;
      res.end = ((...args: Parameters<typeof end>) => end.apply(res, args)) as typeof end;
      next();
    };
  const app = express().use(wrap("before"), expressSessions(sessions), wrap("after"));
  app.get("/", async (req, res) => {
    (await req.session()).set("a", 1);
    res.write("one,");
    res.end("two");
  });
  const pending = ask(app, "/");
  await sessions.committing();
  expect(order).toEqual(["after", "before"]);
  sessions.finish(COMMITTED);
  const answer = await pending;
  expect([
    answer.headers.getSetCookie(),
    answer.headers.get("x-before"),
    answer.headers.get("x-after"),
  ]).toEqual([[SID], "1", "1"]);
  expect(await answer.text()).toBe("one,two");
});

test("two sessions changed by one request are committed together, and one failure refuses the answer", async () => {
  const shop = scriptedSessions();
  const admin = scriptedSessions();
  const app = express().use(expressSessions(shop), expressSessions(admin));
  app.get("/", async (req, res) => {
    (await shop.of(req)).set("a", 1);
    (await admin.of(req)).set("b", 2);
    res.write("both ");
    res.end("changed");
  });
  const pending = ask(app, "/");
  await Promise.all([shop.committing(), admin.committing()]);
  admin.finish({ ok: true, setCookies: ["admin=1"] });
  shop.finish(COMMITTED);
  const answer = await pending;
  expect([await answer.text(), answer.headers.getSetCookie()]).toEqual(["both changed", [SID, "admin=1"]]);
  shop.finish(STORE_DOWN);
  const refused = await ask(app, "/");
  expect([refused.status, await refused.text(), refused.headers.getSetCookie()]).toEqual([
    503,
    refusalBody("STORE_UNAVAILABLE"),
    ["admin=1"],
  ]);
});
