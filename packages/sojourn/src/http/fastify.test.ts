import fastify, { type FastifyInstance } from "fastify";
import { afterEach, expect, test } from "vitest";
import { SessionError } from "../core/errors.ts";
import { refusalBody } from "./answer.ts";
import { fastifySessions } from "./fastify.ts";
import { COMMITTED, SID, STORE_DOWN, scriptedSessions } from "./scripted-sessions.test.support.ts";

let app: FastifyInstance | undefined;

afterEach(async () => {
  await app?.close();
  app = undefined;
});

async function launch(sessions: ReturnType<typeof scriptedSessions>, options = {}): Promise<FastifyInstance> {
  app = fastify(options);
  await app.register(fastifySessions, { sessions });
  return app;
}

async function ask(instance: FastifyInstance, path: string, init: RequestInit = {}): Promise<Response> {
  const address = instance.server.listening
    ? instance.listeningOrigin
    : await instance.listen({ port: 0, host: "127.0.0.1" });
  return fetch(`${address}${path}`, init);
}

test("the plugin reaches the whole instance, also what is registered beside it", async () => {
  const sessions = scriptedSessions();
  sessions.finish(COMMITTED);
  const instance = await launch(sessions);
  await instance.register(async (child) => {
    child.get("/child", async (request) => {
      (await request.session()).set("a", 1);
      return { same: (await request.session()) === (await sessions.of(request.raw)) };
    });
  });
  const answer = await ask(instance, "/child");
  expect([answer.headers.getSetCookie(), await answer.json()]).toEqual([[SID], { same: true }]);
});

test("onSend hooks added later still set headers and change the session", async () => {
  const sessions = scriptedSessions();
  sessions.finish(COMMITTED);
  const instance = await launch(sessions);
  instance.addHook("onSend", async (request, reply, payload) => {
    (await request.session()).set("late", "but not too late");
    reply.header("x-added", "later").header("set-cookie", "theirs=1");
    return payload;
  });
  instance.get("/", async () => ({ ok: true }));
  const answer = await ask(instance, "/");
  expect(answer.headers.get("x-added")).toBe("later");
  expect(answer.headers.getSetCookie()).toEqual(["theirs=1", SID]);
});

test("an onSend hook that fails after the change leaves an error answer with the cookie", async () => {
  const sessions = scriptedSessions();
  sessions.finish(COMMITTED);
  const instance = await launch(sessions);
  let runs = 0;
  instance.addHook("onSend", async () => {
    runs += 1;
    if (runs === 1) throw new Error("in a hook");
  });
  instance.get("/", async (request) => {
    (await request.session()).set("a", 1);
    return { ok: true };
  });
  const answer = await ask(instance, "/");
  expect([answer.status, answer.headers.getSetCookie(), runs]).toEqual([500, [SID], 2]);
});

test("routes that nobody declared have sessions too", async () => {
  const sessions = scriptedSessions();
  sessions.finish(COMMITTED);
  const instance = await launch(sessions);
  instance.setNotFoundHandler(async (request, reply) => {
    (await request.session()).set("lost", true);
    return reply.code(404).send({ nothing: "here" });
  });
  const answer = await ask(instance, "/nowhere");
  expect([answer.status, answer.headers.getSetCookie()]).toEqual([404, [SID]]);
});

test("a session that cannot be loaded is answered by Fastify with 503, Retry-After and no stack", async () => {
  const sessions = scriptedSessions();
  sessions.failLoading(
    new SessionError("STORE_UNAVAILABLE", "Cannot read the session: the store did not answer"),
  );
  const instance = await launch(sessions);
  instance.get("/", async (request) => (await request.session()).keys());
  const answer = await ask(instance, "/");
  expect([answer.status, answer.headers.get("retry-after"), await answer.json()]).toEqual([
    503,
    "1",
    {
      statusCode: 503,
      code: "STORE_UNAVAILABLE",
      error: "Service Unavailable",
      message: "Cannot read the session: the store did not answer",
    },
  ]);
});

test("whether the connection is secure is what Fastify trusts", async () => {
  const headers = { "x-forwarded-proto": "https" };
  const seen: unknown[] = [];
  for (const trustProxy of [false, true]) {
    const sessions = scriptedSessions();
    const instance = await launch(sessions, { trustProxy });
    instance.get("/", async (request) => (await request.session()).get("x") ?? {});
    await ask(instance, "/", { headers });
    seen.push(sessions.opened[0]?.secure);
    await instance.close();
  }
  expect(seen).toEqual([false, true]);
});

test("a plugin that already owns request.session is named, not overwritten", async () => {
  app = fastify();
  app.decorateRequest("session", null as never);
  await expect(async () => app?.register(fastifySessions, { sessions: scriptedSessions() })).rejects.toThrow(
    /'session' has already been added/,
  );
});

test("inject, which has no connection, commits before it answers", async () => {
  const sessions = scriptedSessions();
  const instance = await launch(sessions);
  instance.get("/", async (request, reply) => {
    (await request.session()).set("a", 1);
    reply.header("set-cookie", "theirs=1").header("cache-control", "public");
    return { ok: true };
  });
  const pending = instance.inject("/");
  const raced = Promise.race([
    pending.then(() => "answered"),
    sessions.committing().then(() => "committing"),
  ]);
  expect(await raced).toBe("committing");
  sessions.finish(COMMITTED);
  const answer = await pending;
  expect(answer.headers["set-cookie"]).toEqual(["theirs=1", SID]);
  expect(answer.headers["cache-control"]).toBe('private, no-cache="Set-Cookie"');
  sessions.finish(STORE_DOWN);
  const refused = await instance.inject("/");
  expect([
    refused.statusCode,
    refused.body,
    refused.headers["set-cookie"],
    refused.headers["retry-after"],
  ]).toEqual([503, refusalBody("STORE_UNAVAILABLE"), undefined, "1"]);
});
