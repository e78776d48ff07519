/** For tests of this folder: every framework we adapt to, over real sockets. */
import http, { type ServerResponse } from "node:http";
import http2, { type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import { createRequire } from "node:module";
import { Readable } from "node:stream";
import { createAdaptorServer, type HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import Koa from "koa";
import type { Session } from "../sessions/session.ts";
import { expressExchange, fastifyExchange } from "./exchange.test.support.ts";
import { expressSessions } from "./express.ts";
import { fastifySessions } from "./fastify.ts";
import { type Data, type Framework, listening, noSession } from "./framework.test.support.ts";
import { honoSessions, type SessionVariables } from "./hono.ts";
import { koaSessions } from "./koa.ts";
import { nestFramework } from "./nest-framework.test.support.ts";
import { nodeSessions, type WithSession } from "./node.ts";

// An alias, which has no types of its own; what these tests use of Express is the same in both.
const express4: typeof express = createRequire(import.meta.url)("express4");

/** @param isCatching  Express 5 hands what an asynchronous handler throws to the error handlers; with 4 the handler does */
function expressFramework(name: string, create: typeof express, isCatching: boolean): Framework {
  return {
    name,
    http2: false,
    async launch(routes, sessions) {
      const app = create();
      app.set("env", "production");
      app.set("trust proxy", "loopback");
      if (sessions) {
        app.use(expressSessions(sessions));
        // Again inside a router, as happens when an application is put together from parts.
        app.use(expressSessions(sessions));
      }
      for (const [path, route] of Object.entries(routes)) {
        app.all(path, async (req, res, next) => {
          try {
            await route(expressExchange(req, res));
          } catch (error) {
            if (isCatching) throw error;
            next(error);
          }
        });
      }
      const server = http.createServer(app);
      return listening(server, () => server.close().closeAllConnections());
    },
  };
}

function honoFramework(name: string, version: 1 | 2): Framework {
  return {
    name,
    http2: version === 2,
    async launch(routes, sessions) {
      const app = new Hono<{ Bindings: HttpBindings; Variables: SessionVariables<Data> }>();
      if (sessions) {
        // On Node only the half that tests of this folder script is used.
        const source = sessions as Parameters<typeof honoSessions<Data>>[0];
        app.use(honoSessions(source)).use(honoSessions(source));
      }
      for (const [path, route] of Object.entries(routes)) {
        app.all(path, async (c) => {
          let response: Response | undefined;
          await route({
            session: sessions ? () => c.var.session() : noSession,
            header: (name, value) => {
              for (const one of [value].flat()) c.header(name, one, { append: name === "set-cookie" });
            },
            json(body, status = 200) {
              response = c.json(body as never, status as ContentfulStatusCode);
            },
            redirect(to) {
              response = c.redirect(to, 303);
            },
            stream(body) {
              response = c.body(Readable.toWeb(body) as ReadableStream);
            },
            takeOver() {
              response = RESPONSE_ALREADY_SENT;
              return c.env.outgoing;
            },
          });
          return response ?? c.notFound();
        });
      }
      const createServer = version === 2 ? http2.createServer : http.createServer;
      const server = createAdaptorServer({ fetch: app.fetch, createServer } as never) as http.Server;
      return listening(server, () => server.close().closeAllConnections?.());
    },
  };
}

function koaFramework(name: string, version: 1 | 2): Framework {
  return {
    name,
    http2: version === 2,
    async launch(routes, sessions) {
      const app = new Koa({ proxy: true });
      if (sessions) app.use(koaSessions(sessions)).use(koaSessions(sessions));
      app.use(async (ctx) => {
        await routes[ctx.path]?.({
          session: sessions ? () => ctx.session() : noSession,
          header: (name, value) => ctx.set(name, value),
          json(body, status = 200) {
            ctx.status = status;
            ctx.type = "json";
            ctx.body = JSON.stringify(body);
          },
          redirect(to) {
            ctx.status = 303;
            ctx.redirect(to);
          },
          stream(body) {
            ctx.body = body;
          },
          takeOver() {
            ctx.respond = false;
            ctx.res.statusCode = 200;
            return ctx.res;
          },
        });
      });
      const server = version === 2 ? http2.createServer(app.callback()) : http.createServer(app.callback());
      return listening(server, () => server.close());
    },
  };
}

function nodeFramework(name: string, version: 1 | 2): Framework {
  return {
    name,
    http2: version === 2,
    async launch(routes, sessions) {
      const handle = async (
        req: { url?: string | undefined; session?: () => Promise<Session<Data>> },
        res: ServerResponse,
      ): Promise<void> => {
        const route = routes[new URL(req.url ?? "/", "http://a").pathname];
        const json = (body: unknown, status = 200) => {
          res.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
        };
        try {
          await route?.({
            session: () => req.session?.() ?? noSession(),
            header: (name, value) => res.setHeader(name, value),
            json,
            redirect: (to) => res.writeHead(303, { location: to }).end(),
            stream: (body) => body.pipe(res),
            takeOver: () => res,
          });
        } catch (error) {
          // The usual last resort of a hand-made server. A SessionError is left to the adapter.
          if (error instanceof Error && error.name !== "Error") throw error;
          if (!res.headersSent) json({ failed: true }, 500);
        }
      };
      if (version === 1) {
        const listener = sessions ? nodeSessions(sessions, handle as never) : handle;
        const server = http.createServer(listener as http.RequestListener);
        return listening(server, () => server.close().closeAllConnections());
      }
      const listener = sessions
        ? nodeSessions(sessions, (req: Http2ServerRequest & WithSession<Data>, res: Http2ServerResponse) =>
            handle(req, res as never),
          )
        : handle;
      const server = http2.createServer(listener as never);
      return listening(server, () => server.close());
    },
  };
}

function fastifyFramework(name: string, version: 1 | 2): Framework {
  return {
    name,
    http2: version === 2,
    async launch(routes, sessions) {
      const options = version === 2 ? { http2: true } : { trustProxy: true };
      const app = fastify(options as { trustProxy: true });
      if (sessions) {
        await app.register(fastifySessions, { sessions });
        await app.register(fastifySessions, { sessions });
      }
      for (const [path, route] of Object.entries(routes)) {
        app.all(path, async (request, reply) => {
          await route(fastifyExchange(request, reply));
          return reply;
        });
      }
      await app.listen({ port: 0, host: "127.0.0.1" });
      return listening(app.server, () => app.close());
    },
  };
}

export const frameworks: readonly Framework[] = [
  nodeFramework("node:http", 1),
  nodeFramework("node:http2", 2),
  expressFramework("Express 5", express, true),
  expressFramework("Express 4", express4, false),
  koaFramework("Koa 3", 1),
  koaFramework("Koa 3 on HTTP/2", 2),
  honoFramework("Hono", 1),
  honoFramework("Hono on HTTP/2", 2),
  nestFramework("NestJS on Express", "express"),
  fastifyFramework("Fastify 5", 1),
  fastifyFramework("Fastify 5 on HTTP/2", 2),
  nestFramework("NestJS on Fastify", "fastify"),
];
