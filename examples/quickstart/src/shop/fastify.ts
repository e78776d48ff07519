/** The shop on Fastify 5. */
import { type FastifyReply, fastify } from "fastify";
import { fastifySessions } from "sojourn/fastify";
import { shopConfig, shopSessions } from "./config.ts";
import { ControlProxy } from "./control.ts";
import { pageFile } from "./page.ts";
import { startReporting } from "./report.ts";
import {
  BODY_BYTES_MAX,
  NAME_CHARACTERS_MAX,
  parseJson,
  parseUser,
  pause,
  plusOne,
  problemOf,
  unmatched,
  viewOf,
} from "./shop.ts";
import { stopOnSignal } from "./stop.ts";

interface Slow {
  Querystring: { delayMs?: string };
}
interface Named extends Slow {
  Params: { name: string };
}

const config = shopConfig();
const sessions = shopSessions(config);
const control = new ControlProxy(config.control, config.origins);
const count = startReporting(config, sessions);

const app = fastify({
  bodyLimit: BODY_BYTES_MAX,
  routerOptions: { maxParamLength: NAME_CHARACTERS_MAX },
  // An address that cannot be decoded never reaches a route.
  frameworkErrors: (error, _request, reply: FastifyReply) => {
    const { status, body } = problemOf(error);
    reply.code(status).send(body);
  },
});
app.removeAllContentTypeParsers();
app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
app.addHook("onRequest", async (_request, reply) => {
  reply.header("shop-server", config.name);
});
// Before the routes: a part registered earlier would keep Fastify's own.
app.setErrorHandler((error, _request, reply) => {
  const { status, headers, body } = problemOf(error);
  return reply.code(status).headers(headers).send(body);
});

// Pages, health and control have no session: nothing is loaded unless a handler asks for it.
app.get("/health", () => ({ server: config.name }));
app.all("/control/*", async (request, reply) => {
  const { status, headers, body } = await control.forward(request.method, request.url, request.headers);
  return reply.code(status).headers(headers).send(body);
});

await app.register(fastifySessions, { sessions });
await app.register(async (shop) => {
  shop.addHook("onRequest", async (_request, reply) => {
    count();
    reply.header("cache-control", "no-store");
  });

  shop.get<Slow>("/session", async (request) => {
    const session = await request.session();
    await pause(request.query.delayMs);
    return viewOf(session, config.name);
  });

  shop.put<Named>("/session/attributes/:name(.+)", async (request, reply) => {
    const value = parseJson(request.body);
    const session = await request.session();
    await pause(request.query.delayMs);
    session.set(request.params.name, value);
    return reply.code(204).send();
  });

  shop.delete<Named>("/session/attributes/:name(.+)", async (request, reply) => {
    const session = await request.session();
    await pause(request.query.delayMs);
    session.delete(request.params.name);
    return reply.code(204).send();
  });

  shop.post<Named>("/session/counters/:name(.+)", async (request) => {
    const session = await request.session();
    await pause(request.query.delayMs);
    return { value: await session.update(request.params.name, plusOne) };
  });

  shop.post<Slow>("/login", async (request, reply) => {
    const user = parseUser(request.body);
    const session = await request.session();
    await pause(request.query.delayMs);
    await session.renew({ principal: user });
    return reply.redirect("/session", 303);
  });

  shop.post<Slow>("/logout", async (request, reply) => {
    const session = await request.session();
    await pause(request.query.delayMs);
    await session.destroy();
    return reply.code(204).send();
  });

  shop.post<Slow>("/logout-everywhere", async (request, reply) => {
    const session = await request.session();
    await pause(request.query.delayMs);
    if (session.principal !== null) await sessions.endAll(session.principal);
    await session.destroy();
    return reply.code(204).send();
  });
});

app.setNotFoundHandler((request, reply) => {
  const file = pageFile(request.method, request.url, request.headers["if-none-match"]);
  if (file !== undefined) return reply.code(file.status).headers(file.headers).send(file.body);
  const { status, headers, body } = unmatched(request.method, request.url);
  return reply.code(status).headers(headers).send(body);
});

await app.listen({ port: config.port, host: "127.0.0.1" });
stopOnSignal(app.server, sessions);
