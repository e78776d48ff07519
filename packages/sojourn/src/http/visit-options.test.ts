/** Options of the mount, the route and the call reach the session, in every framework's own words. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import Koa from "koa";
import { afterEach, expect, test } from "vitest";
import { SessionError } from "../core/errors.ts";
import { createSessions } from "../sessions/create-sessions.ts";
import { GatedStore } from "../sessions/harness.test.support.ts";
import type { VisitOptions } from "../sessions/visit-options.ts";
import { memoryStore } from "../store/memory.ts";
import { expressSessions } from "./express.ts";
import { fastifySessions } from "./fastify.ts";
import { honoSessions, type SessionVariables } from "./hono.ts";
import { koaSessions } from "./koa.ts";
import { nodeSessions } from "./node.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** A store that is away: only who asked for "anonymous" gets an answer, which shows whose options counted. */
function outage() {
  const memory = memoryStore();
  const store = new GatedStore(memory);
  const sessions = createSessions<Record<string, unknown>>({ store, secret: "a secret of the http tests" });
  closers.push(() => memory.close());
  return { store, sessions };
}

async function listening(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => server.close().closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Begins a session, takes the store away, and tells each path's status. */
async function statuses(origin: string, store: GatedStore, paths: readonly string[]): Promise<number[]> {
  const begun = await fetch(`${origin}/begin`);
  expect(begun.status).toBe(200);
  const cookie = begun.headers.get("set-cookie")?.split(";")[0];
  expect(cookie).toMatch(/^sid=/);
  store.before = () => Promise.reject(new SessionError("STORE_UNAVAILABLE", "Cannot read: down"));
  const found: number[] = [];
  for (const path of paths) found.push((await fetch(origin + path, { headers: { cookie: cookie! } })).status);
  return found;
}

const ANONYMOUS: VisitOptions = { onStoreUnavailable: "anonymous" };
const FAIL: VisitOptions = { onStoreUnavailable: "fail" };

test("Express: options of the mount, of some requests and of the call", async () => {
  const { store, sessions } = outage();
  const app = express();
  app.set("env", "test");
  app.use("/mounted", expressSessions(sessions, ANONYMOUS));
  app.use(expressSessions(sessions, { forRequest: (req) => (req.path === "/some" ? ANONYMOUS : undefined) }));
  app.get("/begin", async (req, res) => {
    (await req.session()).set("n", 1);
    res.end();
  });
  app.get("/called", async (req, res) => {
    res.json((await req.session(ANONYMOUS)).isUnavailable);
  });
  app.get("/typed", async (req, res) => {
    res.json((await sessions.of(req, ANONYMOUS)).isUnavailable);
  });
  app.get("/mounted/fail", async (req, res) => {
    res.json((await req.session(FAIL)).isUnavailable);
  });
  app.get(/.*/, async (req, res) => {
    res.json((await req.session()).isUnavailable);
  });
  const origin = await listening(createServer(app));
  const paths = ["/other", "/some", "/some/not", "/mounted", "/mounted/fail", "/called", "/typed"];
  expect(await statuses(origin, store, paths)).toEqual([503, 200, 503, 200, 503, 200, 200]);
});

test("node:http: options of the mount, of some requests and of the call", async () => {
  const { store, sessions } = outage();
  const listener = nodeSessions(
    sessions,
    async (req, res) => {
      const session = await req.session(req.url === "/called" ? ANONYMOUS : undefined);
      if (req.url === "/begin") session.set("n", 1);
      res.end();
    },
    {
      isSecure: () => false,
      onStoreUnavailable: "fail",
      forRequest: (req) => (req.url === "/some" ? ANONYMOUS : undefined),
    },
  );
  const origin = await listening(createServer(listener));
  expect(await statuses(origin, store, ["/other", "/some", "/called"])).toEqual([503, 200, 200]);
});

test("Fastify: options of the plugin, of the route's config and of the call", async () => {
  const { store, sessions } = outage();
  const app = fastify();
  closers.push(() => app.close());
  await app.register(fastifySessions, {
    sessions,
    prefix: "/none-of-ours",
    forRequest: (request: { url: string }) => (request.url === "/some" ? ANONYMOUS : undefined),
  });
  app.get("/begin", async (request) => (await request.session()).set("n", 1) ?? null);
  app.get("/other", async (request) => (await request.session()).isUnavailable);
  app.get("/some", async (request) => (await request.session()).isUnavailable);
  app.get("/route", { config: { session: ANONYMOUS } }, async (request) => (await request.session()).isNew);
  app.get("/called", { config: { session: ANONYMOUS } }, async (request) => (await request.session(FAIL)).id);
  app.get("/typed", async (request) => (await sessions.of(request, ANONYMOUS)).isUnavailable);
  const origin = await app.listen({ port: 0, host: "127.0.0.1" });
  const paths = ["/other", "/some", "/route", "/called", "/typed", "/no-such-route"];
  expect(await statuses(origin, store, paths)).toEqual([503, 200, 200, 503, 200, 404]);
});

test("Fastify: a mistake in a route's config stops the application from starting", async () => {
  const app = fastify();
  await app.register(fastifySessions, { sessions: outage().sessions });
  const config = { session: { passive: "yes" } as unknown as VisitOptions };
  expect(() => app.get("/", { config }, async () => "never")).toThrow(/passive/);
});

test("Koa: options of the mount, of some requests and of the call", async () => {
  const { store, sessions } = outage();
  const app = new Koa();
  app.silent = true;
  app.use(koaSessions(sessions, { forRequest: (ctx) => (ctx.path === "/some" ? ANONYMOUS : undefined) }));
  app.use((ctx, next) => (ctx.path === "/again" ? koaSessions(sessions, ANONYMOUS)(ctx, next) : next()));
  app.use(async (ctx) => {
    const session = await ctx.session(ctx.path === "/called" ? ANONYMOUS : undefined);
    if (ctx.path === "/begin") session.set("n", 1);
    ctx.body = { isUnavailable: session.isUnavailable };
  });
  const origin = await listening(createServer(app.callback()));
  expect(await statuses(origin, store, ["/other", "/some", "/again", "/called"])).toEqual([
    503, 200, 200, 200,
  ]);
});

test.each([
  ["on Node", true],
  ["without a response of Node's", false],
])("Hono %s: options of the mount, of some requests and of the call", async (_, onNode) => {
  const { store, sessions } = outage();
  const app = new Hono<{ Variables: SessionVariables<Record<string, unknown>> }>();
  app.use(honoSessions(sessions, { forRequest: (c) => (c.req.path === "/some" ? ANONYMOUS : undefined) }));
  app.use("/again", honoSessions(sessions, ANONYMOUS));
  app.get("*", async (c) => {
    const session = await c.var.session(c.req.path === "/called" ? ANONYMOUS : undefined);
    if (c.req.path === "/begin") session.set("n", 1);
    return c.json(session.isUnavailable);
  });
  const listener = getRequestListener((request, env) => app.fetch(request, onNode ? env : undefined));
  const origin = await listening(createServer(listener));
  expect(await statuses(origin, store, ["/other", "/some", "/again", "/called"])).toEqual([
    503, 200, 200, 200,
  ]);
});
