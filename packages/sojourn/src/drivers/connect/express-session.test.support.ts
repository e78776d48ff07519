/** Applications of express-session and @fastify/session over a given store, and a gate that makes their requests overlap. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import fastifyCookie from "@fastify/cookie";
import fastify from "fastify";

// express-session ships no types, and those of @fastify/session declare `request.session` otherwise than ours.
const require = createRequire(import.meta.url);
/** `import session from "express-session"` */
export const expressSession = require("express-session");
/** `import fastifySession from "@fastify/session"` */
export const fastifySession = require("@fastify/session");

export type AnySession = Record<string, unknown> & {
  destroy(done: (error?: unknown) => void): void;
  save(done: (error?: unknown) => void): void;
};

/** What a request does with its session before it answers with it. */
export type Handler = (session: AnySession, url: URL) => unknown;

/** An application of its own for a handler. */
export type Make = (handler: Handler) => Promise<Application>;

export interface Application {
  /** One request; the cookie of `visitor`, if any. */
  get(
    path: string,
    visitor?: Visitor,
  ): Promise<{ readonly visitor: Visitor; readonly session: Record<string, unknown> }>;
  close(): Promise<void>;
}

/** The value of its Cookie header. */
export type Visitor = string;

/** Holds everyone who arrives until `count` are there. */
export function gate(count: number): () => Promise<void> {
  let arrived = 0;
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return () => {
    if (++arrived === count) open();
    return opened;
  };
}

export async function expressApp(
  store: unknown,
  handler: Handler,
  options: object = {},
): Promise<Application> {
  const middleware = expressSession({
    secret: "a secret of the test",
    resave: false,
    saveUninitialized: false,
    store,
    ...options,
  });
  const server = createServer(
    (request: IncomingMessage & { session?: AnySession }, response: ServerResponse) => {
      middleware(request, response, async (error: unknown) => {
        if (error) return response.writeHead(500).end(String(error));
        await handler(request.session as AnySession, new URL(request.url ?? "/", "http://localhost"));
        response.end(JSON.stringify(request.session ?? null));
      });
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  return { get: visit(`http://127.0.0.1:${(server.address() as AddressInfo).port}`), close };
}

export async function fastifyApp(
  store: unknown,
  handler: Handler,
  options: object = {},
): Promise<Application> {
  const app = fastify({ forceCloseConnections: true });
  await app.register(fastifyCookie);
  await app.register(fastifySession, {
    secret: "a secret of the test, long enough for this one",
    cookie: { secure: false },
    saveUninitialized: false,
    store,
    ...options,
  });
  app.get("/*", async (request) => {
    const { session } = request as unknown as { session: AnySession };
    await handler(session, new URL(request.url, "http://localhost"));
    return session;
  });
  const address = await app.listen({ port: 0, host: "127.0.0.1" });
  return { get: visit(address), close: () => app.close() };
}

function visit(base: string): Application["get"] {
  return async (path, visitor = "") => {
    const response = await fetch(base + path, { headers: visitor ? { cookie: visitor } : {} });
    const body = await response.text();
    if (!response.ok) throw new Error(`${path} was answered ${response.status}: ${body}`);
    const cookie = response.headers.getSetCookie()[0]?.split(";")[0];
    return { visitor: cookie ?? visitor, session: (JSON.parse(body) ?? {}) as Record<string, unknown> };
  };
}

export const WRITERS = 20;

/** Each request loads its session, waits for all the others to have done so, and sets an attribute of its own. */
function overlapping(): Handler {
  const all = gate(WRITERS);
  return async (session, url) => {
    if (url.pathname !== "/write") {
      session.user = "ada";
      return;
    }
    await all();
    session[`key-${url.searchParams.get("n")}`] = true;
  };
}

/** How many of 20 overlapping writes of different attributes are there afterwards. */
export async function survivors(make: Make): Promise<number> {
  const app = await make(overlapping());
  try {
    const { visitor } = await app.get("/begin");
    await Promise.all(Array.from({ length: WRITERS }, (_, n) => app.get(`/write?n=${n}`, visitor)));
    const { session } = await app.get("/begin", visitor);
    return Object.keys(session).filter((name) => name.startsWith("key-")).length;
  } finally {
    await app.close();
  }
}

/** A request that began before a logout and writes after it. */
function slow(): { handler: Handler; loaded: () => Promise<void>; ended: () => Promise<void> } {
  const [loaded, ended] = [gate(2), gate(2)];
  return {
    loaded,
    ended,
    async handler(session, url) {
      if (url.pathname === "/begin") session.user = "ada";
      if (url.pathname === "/logout") {
        await new Promise<void>((resolve, reject) => session.destroy((e) => (e ? reject(e) : resolve())));
      }
      if (url.pathname.startsWith("/slow")) {
        await loaded();
        await ended();
        if (url.pathname === "/slow-write") session.cart = "late";
      }
    },
  };
}

/** Who is logged in after a logout that a slow request outlived: undefined when it is final. */
export async function userAfterLogout(make: Make, path: "/slow-write" | "/slow-read"): Promise<unknown> {
  const { handler, loaded, ended } = slow();
  const app = await make(handler);
  try {
    const { visitor } = await app.get("/begin");
    const late = app.get(path, visitor);
    await loaded();
    await app.get("/logout", visitor);
    await ended();
    await late;
    return (await app.get("/look", visitor)).session.user;
  } finally {
    await app.close();
  }
}
