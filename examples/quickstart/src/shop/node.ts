/** The shop on plain node:http: a table of routes, and nothing between them and the sessions. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { nodeSessions, type WithSession } from "sojourn/node";
import { shopConfig, shopSessions } from "./config.ts";
import { CONTROL_PREFIX, ControlProxy } from "./control.ts";
import { pageFile } from "./page.ts";
import { startReporting } from "./report.ts";
import {
  BODY_BYTES_MAX,
  parseJson,
  parseUser,
  pause,
  plusOne,
  problemOf,
  ShopError,
  unmatched,
  viewOf,
} from "./shop.ts";
import { stopOnSignal } from "./stop.ts";

interface Call {
  readonly req: IncomingMessage & WithSession;
  readonly res: ServerResponse;
  /** The decoded end of the path: an attribute's name. */
  readonly name: string;
  readonly delayMs: string | null;
}

const config = shopConfig();
const sessions = shopSessions(config);
const control = new ControlProxy(config.control, config.origins);
const count = startReporting(config, sessions);

const ROUTES: Readonly<Record<string, (call: Call) => Promise<void>>> = {
  "GET /session": async ({ req, res, delayMs }) => {
    const session = await req.session();
    await pause(delayMs);
    sendJson(res, 200, viewOf(session, config.name));
  },

  "PUT /session/attributes/:name": async ({ req, res, name, delayMs }) => {
    const value = parseJson(await readBody(req));
    const session = await req.session();
    await pause(delayMs);
    session.set(name, value);
    res.writeHead(204).end();
  },

  "DELETE /session/attributes/:name": async ({ req, res, name, delayMs }) => {
    const session = await req.session();
    await pause(delayMs);
    session.delete(name);
    res.writeHead(204).end();
  },

  "POST /session/counters/:name": async ({ req, res, name, delayMs }) => {
    const session = await req.session();
    await pause(delayMs);
    sendJson(res, 200, { value: await session.update(name, plusOne) });
  },

  "POST /login": async ({ req, res, delayMs }) => {
    const user = parseUser(await readBody(req));
    const session = await req.session();
    await pause(delayMs);
    await session.renew({ principal: user });
    res.writeHead(303, { location: "/session" }).end();
  },

  "POST /logout": async ({ req, res, delayMs }) => {
    const session = await req.session();
    await pause(delayMs);
    await session.destroy();
    res.writeHead(204).end();
  },

  "POST /logout-everywhere": async ({ req, res, delayMs }) => {
    const session = await req.session();
    await pause(delayMs);
    if (session.principal !== null) await sessions.endAll(session.principal);
    await session.destroy();
    res.writeHead(204).end();
  },
};

const server = createServer(
  nodeSessions(sessions, async (req: IncomingMessage & WithSession, res: ServerResponse) => {
    res.setHeader("shop-server", config.name);
    try {
      await serve(req, res);
    } catch (error) {
      if (res.headersSent) res.destroy();
      else sendProblem(res, problemOf(error));
      // What is left of a body that was too large is not waited for.
      if (!req.complete) res.once("finish", () => req.socket.destroySoon());
    }
  }),
);
server.listen(config.port, "127.0.0.1");
stopOnSignal(server, sessions);

async function serve(req: IncomingMessage & WithSession, res: ServerResponse): Promise<void> {
  const { url = "" } = req;
  const method = req.method === "HEAD" ? "GET" : (req.method ?? "");
  const [path = "", query = ""] = url.split("?", 2);
  const [, parent = "", encoded = ""] = /^(\/session\/\w+\/)([^/]+)$/.exec(path) ?? [];
  const handle = ROUTES[`${method} ${encoded === "" ? path : `${parent}:name`}`];
  if (handle !== undefined) {
    count();
    res.setHeader("cache-control", "no-store");
    const delayMs = new URLSearchParams(query).get("delayMs");
    return await handle({ req, res, name: decode(encoded), delayMs });
  }
  // Pages, health and control have no session: nothing is loaded unless a handler asks for it.
  const file = pageFile(req.method ?? "", path, req.headers["if-none-match"]);
  if (file !== undefined) {
    res.writeHead(file.status, file.headers).end(file.body);
  } else if (`${method} ${path}` === "GET /health") {
    sendJson(res, 200, { server: config.name });
  } else if (path.startsWith(`${CONTROL_PREFIX}/`)) {
    const answer = await control.forward(method, url, req.headers);
    res.writeHead(answer.status, answer.headers).end(answer.body);
  } else {
    sendProblem(res, unmatched(req.method ?? "", url));
  }
}

function sendJson(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function sendProblem(res: ServerResponse, { status, headers, body }: ReturnType<typeof problemOf>): void {
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
  sendJson(res, status, body);
}

async function readBody(req: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Not destroyed when we leave early: the answer goes out on the same connection.
  for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > BODY_BYTES_MAX) throw Object.assign(new Error("body too large"), { status: 413 });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function decode(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw new ShopError(400, "BAD_REQUEST", "The request cannot be understood");
  }
}
