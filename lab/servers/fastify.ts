/** The measured application on Fastify 5. */
import fastify, { type FastifyInstance } from "fastify";
import { fastifySessions } from "sojourn/fastify";
import type { ApplicationConfig } from "./application.ts";
import { newContents, pause, VISITOR, view } from "./contents.ts";
import { fastifySession, plainSession } from "./incumbents.ts";
import { actions, sojournSessions } from "./sojourn.ts";

interface Named {
  Params: { name: string };
  Querystring: { delayMs?: string };
}

export async function fastifyApplication({
  sessions: kind,
  store,
}: ApplicationConfig): Promise<FastifyInstance> {
  const app = fastify();
  if (kind === "none") return withoutSessions(app);
  if (kind === "connect-redis") return await withPlainSessions(app, store);
  if (kind === "express-session-memory") throw new Error("express-session is for Express");
  const sessions = await sojournSessions(kind, store);
  await app.register(fastifySessions, { sessions });
  app.get("/anonymous", async () => VISITOR);
  app.get("/", async (request) => actions.read(await sessions.of(request)));
  app.post("/visits", async (request) => actions.write(await sessions.of(request)));
  app.post("/login", async (request, reply) => {
    actions.login(await sessions.of(request));
    return reply.redirect("/", 303);
  });
  app.post("/logout", async (request, reply) => {
    await (await sessions.of(request)).destroy();
    return reply.code(204).send();
  });
  app.put<Named>("/attributes/:name", async (request, reply) => {
    const { params, query } = request;
    await actions.setLater(await sessions.of(request), params.name, Number(query.delayMs ?? 0));
    return reply.code(204).send();
  });
  app.get("/attributes", async (request) => (await sessions.of(request)).keys());
  return app;
}

function withoutSessions(app: FastifyInstance): FastifyInstance {
  app.get("/", async () => view(VISITOR.user, VISITOR.visits));
  app.post("/visits", async () => view(VISITOR.user, VISITOR.visits));
  return app;
}

async function withPlainSessions(app: FastifyInstance, store: string): Promise<FastifyInstance> {
  const { cookie, session, options } = await fastifySession(store);
  await app.register(cookie);
  await app.register(session, options);
  app.get("/anonymous", async () => VISITOR);
  app.get("/", async (request) => {
    const { user, visits } = plainSession(request);
    return view(user, visits);
  });
  app.post("/visits", async (request) => {
    const stored = plainSession(request);
    stored.visits = (stored.visits ?? 0) + 1;
    return view(stored.user, stored.visits);
  });
  app.post("/login", async (request, reply) => {
    Object.assign(plainSession(request), newContents());
    return reply.redirect("/", 303);
  });
  app.post("/logout", async (request, reply) => {
    await plainSession(request).destroy();
    return reply.code(204).send();
  });
  app.put<Named>("/attributes/:name", async (request, reply) => {
    await pause(Number(request.query.delayMs ?? 0));
    plainSession(request)[request.params.name] = "set";
    return reply.code(204).send();
  });
  app.get("/attributes", async (request) =>
    Object.keys(plainSession(request)).filter((name) => name !== "cookie"),
  );
  return app;
}
