/**
 * For tests of this folder: one set of routes served by every framework, each in its own idiom, over real sockets.
 * A route gets an `Exchange`; what `json` or `redirect` means is the framework's business.
 */
import { once } from "node:events";
import http, { type IncomingHttpHeaders, type ServerResponse } from "node:http";
import http2, { type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import { createRequire } from "node:module";
import { type AddressInfo, connect } from "node:net";
import { Readable } from "node:stream";
import { createAdaptorServer, type HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import express from "express";
import fastify, { type FastifyReply } from "fastify";
import { Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import Koa from "koa";
import type { Session } from "../sessions/session.ts";
import { expressSessions } from "./express.ts";
import { fastifySessions } from "./fastify.ts";
import { honoSessions, type SessionVariables } from "./hono.ts";
import { koaSessions } from "./koa.ts";
import { nodeSessions, type WithSession } from "./node.ts";
import type { ScopeSource } from "./served.ts";

// An alias, which has no types of its own; what these tests use of Express is the same in both.
const express4: typeof express = createRequire(import.meta.url)("express4");

type Data = Record<string, unknown>;

export interface Exchange {
  session(): Promise<Session<Data>>;
  header(name: string, value: string | string[]): void;
  json(body: unknown, status?: number): void;
  redirect(to: string): void;
  stream(body: Readable): void;
  /** Past the framework: for routes that write by hand. */
  takeOver(): ServerResponse;
}

/** What a route returns is awaited; what it throws goes to the framework's error handling. */
export type Routes = Record<string, (exchange: Exchange) => unknown>;

export interface App {
  readonly port: number;
  close(): Promise<void>;
}

export interface Framework {
  readonly name: string;
  readonly http2: boolean;
  /** @param sessions  undefined: the same application without sessions */
  launch(routes: Routes, sessions: ScopeSource<Data> | undefined): Promise<App>;
}

function noSession(): Promise<never> {
  return Promise.reject(new Error("this application has no sessions"));
}

async function listening(server: http.Server | http2.Http2Server, close: () => unknown): Promise<App> {
  if (!server.listening) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  }
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      await close();
    },
  };
}

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
            await route({
              session: sessions ? () => req.session() : noSession,
              header: (name, value) => res.setHeader(name, value),
              json: (body, status = 200) => res.status(status).json(body),
              redirect: (to) => res.redirect(303, to),
              stream: (body) => body.pipe(res),
              takeOver: () => res,
            });
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

const koaFramework: Framework = {
  name: "Koa 3",
  http2: false,
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
    const server = http.createServer(app.callback());
    return listening(server, () => server.close().closeAllConnections());
  },
};

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
          await route({
            session: sessions ? () => request.session() : noSession,
            header: (name, value) => reply.header(name, value),
            json: (body, status = 200) => reply.code(status).send(body),
            redirect: (to) => reply.redirect(to, 303),
            stream: (body) => reply.send(body),
            takeOver: () => hijack(reply),
          });
          return reply;
        });
      }
      await app.listen({ port: 0, host: "127.0.0.1" });
      return listening(app.server, () => app.close());
    },
  };
}

function hijack(reply: FastifyReply): ServerResponse {
  const headers = reply.getHeaders();
  reply.hijack();
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined) reply.raw.setHeader(name, value);
  return reply.raw;
}

export const frameworks: readonly Framework[] = [
  nodeFramework("node:http", 1),
  nodeFramework("node:http2", 2),
  expressFramework("Express 5", express, true),
  expressFramework("Express 4", express4, false),
  koaFramework,
  honoFramework("Hono", 1),
  honoFramework("Hono on HTTP/2", 2),
  fastifyFramework("Fastify 5", 1),
  fastifyFramework("Fastify 5 on HTTP/2", 2),
];

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly setCookies: readonly string[];
  readonly body: string;
  /** False: the connection went before the response was whole. */
  readonly complete: boolean;
}

export interface Pending {
  /** Bytes of a response, or for HTTP/2 frames of one, that have arrived so far. */
  arrived(): number;
  abort(): void;
  /** Rejects when nothing of a response arrives. */
  readonly answer: Promise<Answer>;
}

export interface AskOptions {
  readonly method?: string;
  readonly headers?: Record<string, string>;
}

export function ask(framework: Framework, app: App, path: string, options: AskOptions = {}): Pending {
  return framework.http2 ? askHttp2(app, path, options) : askHttp1(app, path, options);
}

function askHttp1(app: App, path: string, { method = "GET", headers = {} }: AskOptions): Pending {
  const socket = connect(app.port, "127.0.0.1");
  const req = http.request({ method, path, headers, createConnection: () => socket });
  req.end();
  const answer = new Promise<Answer>((resolve, reject) => {
    req.on("error", reject);
    req.on("response", (res) => {
      let body = "";
      res.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      res.on("error", () => {});
      res.on("close", () =>
        resolve({
          status: res.statusCode ?? 0,
          headers: res.headers,
          setCookies: res.headers["set-cookie"] ?? [],
          body,
          complete: res.complete,
        }),
      );
    });
  });
  return { arrived: () => socket.bytesRead, abort: () => socket.destroy(), answer };
}

function askHttp2(app: App, path: string, { method = "GET", headers = {} }: AskOptions): Pending {
  const client = http2.connect(`http://127.0.0.1:${app.port}`);
  client.on("error", () => {});
  const stream = client.request({ ":method": method, ":path": path, ...headers });
  let arrived = 0;
  let head: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {};
  let body = "";
  let ended = false;
  const answer = new Promise<Answer>((resolve, reject) => {
    stream.on("response", (incoming) => {
      arrived += 1;
      head = incoming;
    });
    stream.setEncoding("utf8").on("data", (text: string) => {
      arrived += 1;
      body += text;
    });
    stream.on("end", () => {
      ended = stream.rstCode === 0;
    });
    stream.on("error", () => {});
    stream.on("close", () => {
      client.close();
      const status = head[":status"];
      if (status === undefined) return reject(new Error(`no response, reset code ${stream.rstCode}`));
      const setCookies = head["set-cookie"] ?? [];
      resolve({
        status,
        headers: Object.fromEntries(Object.entries(head)) as IncomingHttpHeaders,
        setCookies,
        body,
        complete: ended,
      });
    });
  });
  return { arrived: () => arrived, abort: () => client.destroy(), answer };
}
