/**
 * A WebSocket through the router. The server is asked before the client is told anything, a refusal arrives with its
 * body, and after a 101 the bytes pass untouched both ways until either side closes.
 *
 * Only `websocket` is an upgrade here. Any other (`h2c`, which some HTTP clients offer on every request) is an offer that
 * a proxy declines by serving the request as if it had not been made (RFC 9110 §7.8).
 */
import { type ClientRequest, type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { answer, rawAnswer } from "./answer.ts";
import type { Backend, Closable } from "./backend.ts";
import { affinityCookie, type RouterContext, type Watched } from "./context.ts";
import { codeOf, mayRetry, SENT_ATTEMPTS_MAX, statusOf } from "./failure.ts";
import type { Refusal, RequestHead } from "./request-head.ts";
import { responseHead } from "./response-head.ts";
import { openRequest } from "./upstream-node.ts";

export function isWebSocket(request: IncomingMessage): boolean {
  return (
    request.method === "GET" &&
    request.httpVersionMinor === 1 &&
    request.headers.upgrade?.trim().toLowerCase() === "websocket" &&
    request.headers["transfer-encoding"] === undefined &&
    (request.headers["content-length"] ?? "0") === "0"
  );
}

/** Gives the connection back to the HTTP server, as if the request had come without `Upgrade`. */
export function declineUpgrade(
  server: Server,
  request: IncomingMessage,
  socket: Socket,
  first: Buffer,
): void {
  const raw = request.rawHeaders;
  let head = `${request.method} ${request.url} HTTP/${request.httpVersion}\r\n`;
  for (let i = 0; i < raw.length; i += 2) {
    const lower = raw[i]!.toLowerCase();
    if (lower === "upgrade" || lower === "http2-settings") continue;
    const value = lower === "connection" ? withoutUpgrade(raw[i + 1]!) : raw[i + 1]!;
    if (lower !== "connection" || value !== "") head += `${raw[i]}: ${value}\r\n`;
  }
  socket.unshift(Buffer.concat([Buffer.from(`${head}\r\n`, "latin1"), first]));
  server.emit("connection", socket);
}

function withoutUpgrade(connection: string): string {
  return connection
    .split(",")
    .map((name) => name.trim())
    .filter((name) => !/^(?:upgrade|http2-settings)$/i.test(name))
    .join(", ");
}

export class Tunnel implements Watched, Closable {
  bagIndex = -1;
  readonly #context: RouterContext;
  readonly #request: IncomingMessage;
  readonly #head: RequestHead;
  readonly #client: Socket;
  readonly #first: Buffer;
  /** Speaks HTTP to the client until there is a tunnel. */
  readonly #response: ServerResponse;
  #backend: Backend | null = null;
  #token: string | null = null;
  #outgoing: ClientRequest | null = null;
  #server: Socket | null = null;
  #attempts = 0;
  readonly #failedOn: string[] = [];
  #sent = false;
  #heard = false;
  #closed = false;
  #progressMs = 0;
  #seenBytes = 0;
  #endingSinceMs: number | null = null;

  private constructor(
    context: RouterContext,
    request: IncomingMessage,
    socket: Socket,
    first: Buffer,
    head: RequestHead,
  ) {
    this.#context = context;
    this.#request = request;
    this.#head = head;
    this.#client = socket;
    this.#first = first;
    this.#response = new ServerResponse(request);
    this.#response.shouldKeepAlive = false;
    this.#response.assignSocket(socket);
    this.#response.on("finish", () => socket.destroySoon());
  }

  /** Answers a refused request the same way as one that is not an upgrade. */
  static open(
    context: RouterContext,
    request: IncomingMessage,
    socket: Socket,
    first: Buffer,
    read: RequestHead | Refusal,
  ): void {
    if ("status" in read) {
      socket.end(rawAnswer(read.status, read.reason), () => socket.destroy());
      return;
    }
    new Tunnel(context, request, socket, first, read).#start();
  }

  #start(): void {
    this.#context.fleet.retries.earn();
    this.#context.watched.add(this);
    this.#client.on("close", () => {
      if (this.#server === null) this.close();
    });
    if (!this.#try()) answer(this.#request, this.#response, 503, "no server is available");
  }

  rescue(from: Backend): void {
    const backend = this.#backend;
    if (backend !== from || this.#heard) return;
    this.#outgoing?.destroy();
    this.#failed(backend, Object.assign(new Error("server went down"), { code: "ECONNRESET" }));
  }

  check(nowMs: number): void {
    const { timeouts } = this.#context.settings;
    if (this.#endingSinceMs !== null) {
      if (nowMs - this.#endingSinceMs > timeouts.clientStallMs) this.close();
    } else if (this.#server !== null) {
      if (nowMs - this.#lastActivityMs(nowMs) > timeouts.tunnelIdleMs) this.close();
    } else if (!this.#heard && nowMs - this.#progressMs > timeouts.firstByteMs) {
      this.#outgoing?.destroy();
      this.#leave();
      answer(this.#request, this.#response, 504, "the server did not answer in time");
    }
  }

  cut(): void {
    this.close();
  }

  /** Both sides, whichever closed first. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#outgoing?.destroy();
    this.#server?.destroy();
    this.#client.destroy();
    this.#leave();
    this.#context.watched.delete(this);
  }

  #try(): boolean {
    const { fleet, settings } = this.#context;
    const { hints, affinityOff } = this.#head;
    const choice = fleet.choose({ hints, affinityOff, excluded: this.#failedOn });
    if (choice === null) return false;
    const { backend } = choice;
    this.#attempts++;
    this.#backend = backend;
    this.#token = choice.token;
    this.#sent = false;
    this.#progressMs = settings.clock.monotonicMs();
    backend.begin();
    backend.tunnels.add(this);
    const target = { ...backend.nodeTarget, agent: false as const };
    const outgoing = openRequest(
      target,
      this.#head,
      ["Connection", "Upgrade", "Upgrade", "websocket"],
      () => {
        this.#sent = true;
      },
    );
    this.#outgoing = outgoing;
    outgoing.on("error", (error) => {
      if (this.#outgoing === outgoing && !this.#heard) this.#failed(backend, error);
    });
    outgoing.on("upgrade", (incoming, socket, first) => this.#open(incoming, socket as Socket, first));
    outgoing.on("response", (incoming) => this.#refused(incoming));
    outgoing.end();
    return true;
  }

  #failed(backend: Backend, error: Error): void {
    const { fleet, settings } = this.#context;
    this.#leave();
    if (this.#closed) return;
    if (!this.#sent) fleet.connectFailed(backend, codeOf(error));
    const mayAgain = !this.#sent || this.#attempts < SENT_ATTEMPTS_MAX;
    const again = mayAgain && mayRetry(this.#head, this.#sent, false, error);
    if (again && fleet.retries.spend()) {
      settings.log({ level: "info", event: "retry", server: backend.id, detail: codeOf(error) });
      this.#failedOn.push(backend.id);
      if (this.#try()) return;
    }
    const { status, reason } = statusOf(this.#sent, error);
    answer(this.#request, this.#response, status, reason);
  }

  /** The server said 101: from here on there are only bytes. */
  #open(incoming: IncomingMessage, server: Socket, first: Buffer): void {
    this.#answered();
    this.#server = server;
    const { headers } = responseHead(101, incoming.rawHeaders, false, this.#cookie());
    headers.push("Connection", "Upgrade", "Upgrade", "websocket");
    let text = `HTTP/1.1 101 ${incoming.statusMessage || "Switching Protocols"}\r\n`;
    for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
    const client = this.#client;
    this.#response.detachSocket(client);
    client.write(`${text}\r\n`, "latin1");
    if (first.length > 0) client.write(first);
    if (this.#first.length > 0) server.write(this.#first);
    for (const socket of [client, server]) {
      socket.setTimeout(0);
      socket.setNoDelay(true);
      // Whoever ended its half gets the other half for a while, not for the hour that a tunnel may be silent.
      socket.on("end", () => this.#ending());
    }
    server.on("error", () => {});
    // One side gone is both gone, but what is already on its way to the other still arrives.
    server.on("close", () => this.#end(client));
    client.on("close", () => this.#end(server));
    server.pipe(client);
    client.pipe(server);
  }

  #end(other: Socket): void {
    if (other.destroyed) {
      this.close();
      return;
    }
    this.#ending();
    other.destroySoon();
  }

  #ending(): void {
    this.#endingSinceMs ??= this.#context.settings.clock.monotonicMs();
  }

  #refused(incoming: IncomingMessage): void {
    this.#answered();
    incoming.on("error", () => this.close());
    const head = responseHead(incoming.statusCode!, incoming.rawHeaders, false, this.#cookie());
    head.headers.push("Connection", "close");
    try {
      this.#response.writeHead(incoming.statusCode!, incoming.statusMessage, head.headers);
    } catch {
      answer(this.#request, this.#response, 502, "the server sent an invalid response");
      return;
    }
    incoming.pipe(this.#response);
  }

  #answered(): void {
    this.#heard = true;
    this.#backend?.answered();
  }

  #cookie(): string | null {
    return this.#token === null
      ? null
      : affinityCookie(this.#context.settings, this.#token, this.#head.clientSecure);
  }

  #leave(): void {
    const backend = this.#backend;
    if (backend === null) return;
    this.#backend = null;
    backend.tunnels.delete(this);
    backend.end();
  }

  /** Counting what passed is cheaper than listening to every chunk a second time. */
  #lastActivityMs(nowMs: number): number {
    const bytes = this.#client.bytesRead + this.#client.bytesWritten;
    if (bytes !== this.#seenBytes) {
      this.#seenBytes = bytes;
      this.#progressMs = nowMs;
    }
    return this.#progressMs;
  }
}
