import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import Koa from "koa";
import { afterEach, expect, test } from "vitest";
import { SessionError } from "../core/errors.ts";
import { refusalBody } from "./answer.ts";
import { koaSessions } from "./koa.ts";
import { COMMITTED, SID, STORE_DOWN, scriptedSessions } from "./scripted-sessions.test.support.ts";

const DOWN = new SessionError("STORE_UNAVAILABLE", "Cannot read the session: the store did not answer");

let server: Server | undefined;

afterEach(async () => {
  server?.close().closeAllConnections();
  if (server) await once(server, "close");
  server = undefined;
});

async function ask(app: Koa, path: string, init: RequestInit = {}): Promise<Response> {
  server ??= app.listen(0, "127.0.0.1");
  if (!server.listening) await once(server, "listening");
  return fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, init);
}

test("every way in which Koa answers waits for the commit and carries the cookie", async () => {
  const sessions = scriptedSessions();
  sessions.finish(COMMITTED);
  const bodies: Record<string, unknown> = {
    "/text": "text",
    "/bytes": Buffer.from("bytes"),
    "/json": { a: 1 },
    "/web": new Blob(["from a Blob"]),
    "/empty": null,
    "/nowhere": undefined,
  };
  const app = new Koa().use(koaSessions(sessions)).use(async (ctx) => {
    (await ctx.session()).set("seen", true);
    const body = bodies[ctx.path];
    if (body !== undefined) ctx.body = body;
  });
  const seen: Record<string, unknown> = {};
  for (const path of Object.keys(bodies)) {
    const answer = await ask(app, path);
    seen[path] = [answer.status, answer.headers.getSetCookie(), await answer.text()];
  }
  expect(seen).toEqual({
    "/text": [200, [SID], "text"],
    "/bytes": [200, [SID], "bytes"],
    "/json": [200, [SID], '{"a":1}'],
    "/web": [200, [SID], "from a Blob"],
    "/empty": [204, [SID], ""],
    "/nowhere": [404, [SID], "Not Found"],
  });
});

test("ctx.session(), of(ctx) and of(ctx.req) are one session, and each of two sessions finds its own", async () => {
  const shop = scriptedSessions();
  const admin = scriptedSessions();
  const app = new Koa().use(koaSessions(shop));
  app.use((ctx, next) => (ctx.path === "/admin" ? koaSessions(admin)(ctx, next) : next()));
  app.use(async (ctx) => {
    const own = await ctx.session();
    const shops = await shop.of(ctx);
    const admins = await admin.of(ctx).catch(() => null);
    ctx.body = [own === shops, own === admins, (await shop.of(ctx.req)) === shops];
  });
  expect(await (await ask(app, "/")).json()).toEqual([true, false, true]);
  expect(await (await ask(app, "/admin")).json()).toEqual([false, true, true]);
});

test("whether the connection is secure is what Koa trusts", async () => {
  const sessions = scriptedSessions();
  const app = new Koa().use(koaSessions(sessions)).use(async (ctx) => {
    ctx.body = { x: (await ctx.session()).get("x") ?? null };
  });
  const headers = { "x-forwarded-proto": "https" };
  await ask(app, "/", { headers });
  app.proxy = true;
  await ask(app, "/", { headers });
  expect(sessions.opened.map(({ secure }) => secure)).toEqual([false, true]);
});

test("ctx.onerror answers a session error with its status and Retry-After, and the application hears of it", async () => {
  const sessions = scriptedSessions();
  sessions.failLoading(DOWN);
  const heard: unknown[] = [];
  const app = new Koa().use(koaSessions(sessions)).use(async (ctx) => void (await ctx.session()));
  app.on("error", (error: SessionError) => heard.push(error.code));
  const answer = await ask(app, "/");
  expect([answer.status, answer.headers.get("retry-after"), await answer.text()]).toEqual([
    503,
    "1",
    "Service Unavailable",
  ]);
  expect(heard).toEqual(["STORE_UNAVAILABLE"]);
});

test("middleware above catches a session error and answers itself; a failed commit it cannot whitewash", async () => {
  const sessions = scriptedSessions();
  const app = new Koa().use(async (ctx, next) => {
    try {
      await next();
    } catch (error) {
      ctx.body = { mine: (error as SessionError).code };
    }
  });
  app.use(koaSessions(sessions)).use(async (ctx) => {
    (await ctx.session()).set("a", 1);
    ctx.body = "stored?";
  });
  sessions.failLoading(DOWN);
  const caught = await ask(app, "/");
  expect([caught.status, await caught.json()]).toEqual([200, { mine: "STORE_UNAVAILABLE" }]);
  sessions.reset();
  sessions.finish(STORE_DOWN);
  const refused = await ask(app, "/");
  expect([refused.status, await refused.text()]).toEqual([503, refusalBody("STORE_UNAVAILABLE")]);
});

test("middleware above still changes the session and sets headers after ours has returned", async () => {
  const sessions = scriptedSessions();
  sessions.finish(COMMITTED);
  const app = new Koa().use(async (ctx, next) => {
    await next();
    ctx.set("x-after", "1");
    (await ctx.session()).set("late", "but not too late");
  });
  app.use(koaSessions(sessions)).use((ctx) => {
    ctx.body = "answered";
  });
  const answer = await ask(app, "/");
  expect([answer.headers.get("x-after"), answer.headers.getSetCookie()]).toEqual(["1", [SID]]);
});
