/**
 * One application on three servers, each with another framework and its own connection to the store. Routes are written
 * once; a framework only says how it hands over the session and answers.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import express from "express";
import { fastify } from "fastify";
import { createSessions, isSessionError, type Session, type Sessions, type SessionsOptions } from "sojourn";
import { expressSessions } from "sojourn/express";
import { fastifySessions } from "sojourn/fastify";
import { nodeSessions } from "sojourn/node";
import type { Place } from "./places.ts";

const COOKIE_SECRET = "signs the cookies of the acceptance tests";

export type Data = Record<string, unknown>;
export type View = Readonly<{ principal: string | null; isNew: boolean; attributes: Data }>;

interface Reply {
  readonly status: number;
  readonly location?: string;
  readonly body?: unknown;
}

interface Ask {
  readonly query: URLSearchParams;
  session(options?: { passive?: boolean }): Promise<Session<Data>>;
}

type Route = (ask: Ask) => Promise<Reply>;

const ROUTES: Readonly<Record<string, Route>> = {
  "/plain": async () => ({ status: 200, body: { text: "no session asked for" } }),
  "/view": async ({ query, session }) => view(await slow(session(), query)),
  "/poll": async ({ session }) => view(await session({ passive: true })),
  "/set": async ({ query, session }) => {
    (await slow(session(), query)).set(query.get("name") ?? "x", 1);
    return { status: 204 };
  },
  "/set-and-show": async ({ query, session }) => {
    (await session()).set(query.get("name") ?? "x", 1);
    return { status: 200, body: { stored: true, padding: "x".repeat(200_000) } };
  },
  "/count": async ({ query, session }) => {
    const current = await slow(session(), query);
    return { status: 200, body: { n: await current.update("n", (n = 0) => (n as number) + 1) } };
  },
  "/login": async ({ query, session }) => {
    const current = await slow(session(), query);
    current.set("user", query.get("user"));
    await current.renew({ principal: query.get("user") });
    return { status: 303, location: "/view" };
  },
  "/logout": async ({ session }) => {
    await (await session()).destroy();
    return { status: 204 };
  },
};

/** The handler has its session and works on: what arrives meanwhile is in flight with it. */
async function slow(session: Promise<Session<Data>>, query: URLSearchParams): Promise<Session<Data>> {
  const loaded = await session;
  const delayMs = Number(query.get("delayMs") ?? 0);
  if (delayMs > 0) await wait(delayMs);
  return loaded;
}

function view(session: Session<Data>): Reply {
  const attributes = Object.fromEntries(session.keys().map((name) => [name, session.get(name)]));
  return { status: 200, body: { principal: session.principal, isNew: session.isNew, attributes } };
}

export class Site {
  readonly origins: readonly [string, string, string];
  /** The sessions of the first server: for what administrators do. */
  readonly sessions: Sessions<Data>;
  readonly #close: () => Promise<void>;

  private constructor(
    origins: [string, string, string],
    sessions: Sessions<Data>,
    close: () => Promise<void>,
  ) {
    this.origins = origins;
    this.sessions = sessions;
    this.#close = close;
  }

  static async open(place: Place, options: SessionsOptions = {}): Promise<Site> {
    const stores = [place.store(), place.store(), place.store()];
    const [first, second, third] = stores.map((store) =>
      createSessions<Data>({ store, secret: COOKIE_SECRET, onDiagnostic: () => {}, ...options }),
    ) as [Sessions<Data>, Sessions<Data>, Sessions<Data>];
    const servers = [onExpress(first), await onFastify(second), onNode(third)];
    const origins = await Promise.all(servers.map(listen));
    return new Site(origins as [string, string, string], first, async () => {
      for (const server of servers) server.closeAllConnections();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
      await Promise.all([first, second, third].map((sessions) => sessions.close()));
      await Promise.all(stores.map((store) => store.close()));
    });
  }

  close(): Promise<void> {
    return this.#close();
  }
}

function onExpress(sessions: Sessions<Data>): Server {
  const app = express().use(expressSessions(sessions));
  for (const [path, route] of Object.entries(ROUTES)) {
    app.all(path, async (req, res) => {
      const query = new URL(req.url, "http://site").searchParams;
      const { status, location, body } = await route({ query, session: (how) => sessions.of(req, how) });
      if (location !== undefined) res.redirect(status, location);
      else if (body === undefined) res.sendStatus(status);
      else res.status(status).json(body);
    });
  }
  return createServer(app);
}

async function onFastify(sessions: Sessions<Data>): Promise<Server> {
  const app = fastify();
  await app.register(fastifySessions, { sessions });
  for (const [path, route] of Object.entries(ROUTES)) {
    app.route({
      method: ["GET", "HEAD", "POST"],
      url: path,
      handler: async (request, reply) => {
        const query = new URL(request.url, "http://site").searchParams;
        const { status, location, body } = await route({
          query,
          session: (how) => sessions.of(request, how),
        });
        if (location !== undefined) return reply.redirect(location, status);
        return reply.code(status).send(body);
      },
    });
  }
  await app.ready();
  return app.server;
}

function onNode(sessions: Sessions<Data>): Server {
  return createServer(
    nodeSessions(sessions, async (req, res) => {
      const { pathname, searchParams: query } = new URL(req.url ?? "/", "http://site");
      const route = ROUTES[pathname];
      if (route === undefined) return void res.writeHead(404).end();
      try {
        const { status, location, body } = await route({ query, session: (how) => sessions.of(req, how) });
        res.writeHead(status, location === undefined ? {} : { location });
        res.end(body === undefined ? undefined : JSON.stringify(body));
      } catch (error) {
        if (isSessionError(error)) throw error;
        res.writeHead(500).end();
      }
    }),
  );
}

async function listen(server: Server): Promise<string> {
  if (!server.listening) {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, "127.0.0.1", resolve);
    });
  }
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
