/**
 * The router's administration on a loopback port: figures to read, states to set. For the launcher, the CLI and scripts on
 * this machine, not for browsers: a page somewhere could make a visitor's browser call it, so whatever carries an
 * `Origin`, or a Host that is not this machine (DNS rebinding), is refused, and no CORS header is ever sent.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, isIP } from "node:net";
import { type Clock, systemClock } from "../core/clock.ts";
import { isSessionError, SessionError } from "../core/errors.ts";
import type { ServerState } from "./options.ts";
import type { Router } from "./router.ts";

export interface RouterAdminOptions {
  /** 0 takes a free one. */
  port: number;
  /** A loopback address. Default "127.0.0.1". */
  host?: string;
  clock?: Clock;
}

export interface RouterAdmin {
  readonly address: { readonly host: string; readonly port: number };
  close(): Promise<void>;
}

const BODY_BYTES_MAX = 4_096;
const STATES: readonly ServerState[] = ["up", "drain", "maintenance"];
const LOCAL_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i;

/** @throws {SessionError} INVALID_OPTION when the host is not loopback, PORT_TAKEN */
export async function startRouterAdmin(router: Router, options: RouterAdminOptions): Promise<RouterAdmin> {
  const { host = "127.0.0.1", port, clock = systemClock } = options;
  if (isIP(host) === 0 || !(host.startsWith("127.") || host === "::1")) {
    throw new SessionError(
      "INVALID_OPTION",
      `Cannot administer router on "${host}": expected a loopback address`,
    );
  }
  const startedMs = clock.monotonicMs();
  const server = createServer({ requestTimeout: 5_000, headersTimeout: 5_000 }, (request, response) => {
    serve(router, clock.monotonicMs() - startedMs, request).then(
      ({ status, body, allow }) => send(response, status, body, allow),
      () => response.destroy(),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const taken = error.code === "EADDRINUSE";
      const message = `Cannot administer router on ${host}:${port}: the port is taken`;
      reject(taken ? new SessionError("PORT_TAKEN", message, { cause: error }) : error);
    });
    server.listen(port, host, resolve);
  });
  const { address, port: actualPort } = server.address() as AddressInfo;
  return {
    address: { host: address, port: actualPort },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly allow?: string;
}

async function serve(router: Router, uptimeMs: number, request: IncomingMessage): Promise<Reply> {
  if (request.headers.origin !== undefined) return problem(403, "requests of web pages are refused");
  if (!LOCAL_HOST.test(request.headers.host ?? "")) return problem(403, "Host is not this machine");
  const path = (request.url ?? "").split("?", 1)[0]!;
  if (path === "/status") {
    if (request.method !== "GET") return { ...problem(405, "only GET is allowed here"), allow: "GET" };
    const body = { router: "up", uptimeMs, servers: router.servers(), outcomes: router.outcomes() };
    return { status: 200, body };
  }
  const id = /^\/servers\/([^/]+)\/state$/.exec(path)?.[1];
  if (id === undefined) return problem(404, "there is GET /status and POST /servers/:id/state");
  if (request.method !== "POST") return { ...problem(405, "only POST is allowed here"), allow: "POST" };
  return setState(router, decoded(id), request);
}

async function setState(router: Router, id: string, request: IncomingMessage): Promise<Reply> {
  // A form of a foreign page cannot send this type without asking first.
  if (!/^application\/json(?:\s*;|$)/i.test(request.headers["content-type"] ?? "")) {
    return problem(415, "expected Content-Type: application/json");
  }
  const state = stateOf(await readBody(request));
  if (state === null) return problem(400, `expected {"state": "${STATES.join('" | "')}"}`);
  try {
    router.setState(id, state);
  } catch (error) {
    if (isSessionError(error)) return problem(404, error.message);
    throw error;
  }
  return { status: 200, body: router.servers().find((server) => server.id === id) };
}

async function readBody(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > BODY_BYTES_MAX) return null;
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function stateOf(text: string | null): ServerState | null {
  try {
    const parsed: unknown = JSON.parse(text ?? "");
    const state =
      parsed !== null && typeof parsed === "object" ? (parsed as { state?: unknown }).state : null;
    return STATES.find((known) => known === state) ?? null;
  } catch {
    return null;
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function problem(status: number, message: string): Reply {
  return { status, body: { message } };
}

function send(response: ServerResponse, status: number, body: unknown, allow?: string): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    "Content-Type": "application/json; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Length": Buffer.byteLength(text),
    ...(allow === undefined ? {} : { Allow: allow }),
  });
  response.end(text);
}
