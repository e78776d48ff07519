/**
 * The side that faces clients: a `node:http` server with every limit set, and what it says to bytes that are no request.
 * Node's parser is strict about framing and stays so; what it lets through is checked in request-head.ts.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { answer, rawAnswer } from "./answer.ts";
import type { RouterSettings } from "./options.ts";

export interface EdgeHandlers {
  request(request: IncomingMessage, response: ServerResponse): void;
  upgrade(request: IncomingMessage, socket: Socket, first: Buffer): void;
}

/** How often Node looks for heads that take too long: a fraction of the limit, so the limit is nearly exact. */
const CHECKS_PER_HEADERS_TIMEOUT = 5;

interface Served {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

export function createEdge(settings: RouterSettings, handlers: EdgeHandlers): Server {
  const { limits, timeouts } = settings;
  const server = createServer({
    // Node counts the request line too; both limits are checked apart in request-head.ts.
    maxHeaderSize: limits.headerBytesMax + limits.urlBytesMax,
    headersTimeout: timeouts.headersMs,
    // A whole request may take as long as its body keeps coming.
    requestTimeout: 0,
    keepAliveTimeout: timeouts.keepAliveMs,
    connectionsCheckingInterval: Math.ceil(timeouts.headersMs / CHECKS_PER_HEADERS_TIMEOUT),
    insecureHTTPParser: false,
    requireHostHeader: true,
    noDelay: true,
  });
  // Node would silently drop the fields beyond a count; we count and refuse.
  server.maxHeadersCount = 0;
  server.maxConnections = limits.connectionsMax;

  const open = new WeakMap<Duplex, Served[]>();
  const broken = new WeakSet<Duplex>();
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    let served = open.get(socket);
    if (served === undefined) {
      served = [];
      open.set(socket, served);
    }
    const entry = { request, response };
    served.push(entry);
    response.on("close", () => served.splice(served.indexOf(entry), 1));
    try {
      handlers.request(request, response);
    } catch (error) {
      // A fault of ours in one request must not end all the others.
      fault(settings, error);
      answer(request, response, 500, "the router failed");
    }
  };
  server.on("request", serve);
  server.on("checkContinue", serve);
  server.on("connect", (_request, socket) => {
    socket.on("error", () => socket.destroy());
    end(socket, 405, "CONNECT is not allowed");
  });
  server.on("upgrade", (request, socket, first) => {
    // Node takes its own listener off with the socket; an error nobody listens to would end the process.
    socket.on("error", () => socket.destroy());
    const proceed = () => {
      try {
        handlers.upgrade(request, socket as Socket, first);
      } catch (error) {
        fault(settings, error);
        socket.destroy();
      }
    };
    // Requests in front of it on the connection still own the socket.
    const last = open.get(socket)?.at(-1);
    if (last === undefined) proceed();
    else last.response.on("close", () => (socket.destroyed ? undefined : proceed()));
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (broken.has(socket)) return;
    broken.add(socket);
    if (error.code === "ECONNRESET" || !socket.writable) {
      socket.destroy();
      return;
    }
    const { status, reason } = meaningOf(error);
    const served = open.get(socket) ?? [];
    const last = served.at(-1);
    if (last === undefined) {
      end(socket, status, reason);
    } else if (last.request.complete) {
      // Earlier requests on the connection were fine and get their answers, in order, before this one.
      socket.pause();
      last.response.on("close", () => end(socket, status, reason));
    } else if (served.length === 1 && !last.response.headersSent) {
      end(socket, status, reason);
    } else {
      socket.destroy();
    }
  });
  return server;
}

function fault(settings: RouterSettings, error: unknown): void {
  const detail = error instanceof Error ? `${error.name}: ${error.message}` : "unknown";
  settings.log({ level: "warn", event: "fault", server: "", detail });
}

function end(socket: Duplex, status: number, reason: string): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  // Not destroyed before it is written; and not left half open by a client that never closes its side.
  socket.end(rawAnswer(status, reason), () => socket.destroy());
}

function meaningOf(error: NodeJS.ErrnoException): { status: number; reason: string } {
  switch (error.code) {
    case "HPE_HEADER_OVERFLOW":
      return { status: 431, reason: "the request head is too large" };
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return { status: 413, reason: "the chunk extensions are too large" };
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return { status: 408, reason: "the request head took too long" };
    default:
      return { status: 400, reason: "this is not a valid HTTP request" };
  }
}
