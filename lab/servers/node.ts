/** The measured application on node:http alone. */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Session } from "sojourn";
import { nodeSessions } from "sojourn/node";
import type { ApplicationConfig } from "./application.ts";
import { type Contents, VISITOR, view } from "./contents.ts";
import { actions, sojournSessions } from "./sojourn.ts";

export async function nodeApplication({
  sessions: kind,
  store,
}: ApplicationConfig): Promise<RequestListener> {
  if (kind === "none") return (_req, res) => json(res, view(VISITOR.user, VISITOR.visits));
  if (kind === "express-session-memory" || kind === "connect-redis") {
    throw new Error(`${kind} needs Express or Fastify`);
  }
  const sessions = await sojournSessions(kind, store);
  return nodeSessions(sessions, async (req, res) => {
    if (req.url === "/anonymous") return json(res, VISITOR);
    const session = await sessions.of(req);
    if (req.method === "GET" && req.url === "/") return json(res, actions.read(session));
    if (req.url === "/visits") return json(res, actions.write(session));
    await change(req, res, session);
  });
}

async function change(req: IncomingMessage, res: ServerResponse, session: Session<Contents>): Promise<void> {
  if (req.url === "/login") {
    actions.login(session);
    res.writeHead(303, { Location: "/" }).end();
  } else if (req.url === "/logout") {
    await session.destroy();
    res.writeHead(204).end();
  } else if (req.url === "/attributes" && req.method === "GET") {
    json(res, session.keys());
  } else {
    const url = new URL(req.url ?? "/", "http://localhost");
    const delayMs = Number(url.searchParams.get("delayMs") ?? 0);
    await actions.setLater(session, url.pathname.slice("/attributes/".length), delayMs);
    res.writeHead(204).end();
  }
}

function json(res: ServerResponse, value: unknown): void {
  const body = JSON.stringify(value);
  res.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
  res.end(body);
}
