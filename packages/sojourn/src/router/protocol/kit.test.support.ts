/**
 * Both ends of a proxy on raw sockets: a client that sends exactly what a case says, and servers that show exactly what
 * reached them. No HTTP library on either end, since what one would repair is what the cases are about.
 */
import { connect, createServer, type Server, type Socket } from "node:net";

/** How long a case waits for something that should come at once. */
export const PATIENCE_MS = 4_000;

const RUNNING_OUT = Symbol("out of patience");

/** Bytes of one connection, as they come. */
export class Stream {
  readonly socket: Socket;
  received = "";
  closed = false;
  /** How the other side ended it: "end", or "reset". */
  ending: "open" | "end" | "reset" = "open";
  readonly #wakers = new Set<() => void>();

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => {
      this.received += chunk.toString("latin1");
      this.#wake();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNRESET") this.ending = "reset";
    });
    socket.on("end", () => {
      this.ending = "end";
      this.#wake();
    });
    socket.on("close", () => {
      this.closed = true;
      this.#wake();
    });
  }

  /** latin1: one character, one byte. */
  send(text: string): this {
    if (!this.socket.destroyed) this.socket.write(text, "latin1");
    return this;
  }

  /** @returns whether `met` came true in time */
  async until(met: () => boolean, withinMs: number = PATIENCE_MS): Promise<boolean> {
    const deadline = new Promise<typeof RUNNING_OUT>((resolve) => {
      setTimeout(() => resolve(RUNNING_OUT), withinMs).unref();
    });
    while (!met()) {
      const woken = new Promise<void>((resolve) => {
        this.#wakers.add(resolve);
      });
      if ((await Promise.race([woken, deadline])) === RUNNING_OUT) return met();
    }
    return true;
  }

  get over(): boolean {
    return this.closed || this.ending !== "open";
  }

  #wake(): void {
    for (const waker of this.#wakers) waker();
    this.#wakers.clear();
  }
}

export interface Reply {
  readonly status: number;
  /** Status line and fields. */
  readonly head: string;
  /** Without chunk framing. */
  readonly body: string;
  /** The body came to its announced end. */
  readonly complete: boolean;
}

export class Client extends Stream {
  #read = 0;
  /** Statuses of the 1xx responses so far. */
  readonly informational: number[] = [];

  static async open(port: number): Promise<Client> {
    const socket = connect({ port, host: "127.0.0.1" });
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new Client(socket);
  }

  /**
   * The next final response; null when the connection ended or nothing came. A response cut short is returned with
   * `complete: false`.
   */
  async reply(toHead = false, withinMs: number = PATIENCE_MS): Promise<Reply | null> {
    for (;;) {
      const parsed = () => parseReply(this.received.slice(this.#read), toHead, this.over);
      await this.until(() => parsed()?.complete === true || this.over, withinMs);
      const found = parsed();
      if (found === null) return null;
      this.#read += found.length;
      if (found.status >= 200 || found.status === 101) return found;
      this.informational.push(found.status);
    }
  }

  /** Bytes after the last reply read. */
  get rest(): string {
    return this.received.slice(this.#read);
  }

  async ends(withinMs: number = PATIENCE_MS): Promise<boolean> {
    return this.until(() => this.over, withinMs);
  }
}

function parseReply(text: string, toHead: boolean, over: boolean): (Reply & { length: number }) | null {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd < 0) return null;
  const head = text.slice(0, headEnd);
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? 0);
  const start = headEnd + 4;
  if (status < 200 || status === 204 || status === 304 || toHead) {
    return { status, head, body: "", complete: true, length: start };
  }
  const body = text.slice(start);
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
    const end = chunkedEnd(body);
    const chunks = end < 0 ? body : body.slice(0, end);
    return { status, head, body: unchunk(chunks), complete: end >= 0, length: start + chunks.length };
  }
  if (length !== undefined) {
    const complete = body.length >= Number(length);
    const taken = body.slice(0, Number(length));
    return { status, head, body: taken, complete, length: start + taken.length };
  }
  return { status, head, body, complete: over, length: start + body.length };
}

/** Length of a chunked body with its last chunk and trailers; -1 while it is not all there. */
function chunkedEnd(text: string): number {
  const last = /(?:^|\r\n)0\r\n(?:[^\r\n]+\r\n)*\r\n/.exec(text);
  return last === null ? -1 : last.index + last[0].length;
}

export function unchunk(text: string): string {
  let rest = text;
  let body = "";
  for (;;) {
    const size = /^([0-9a-f]+)[^\r\n]*\r\n/i.exec(rest);
    if (size === null) return body;
    const length = Number.parseInt(size[1]!, 16);
    if (length === 0) return body;
    body += rest.slice(size[0].length, size[0].length + length);
    rest = rest.slice(size[0].length + length + 2);
  }
}

/** A request as it reached a server. */
export class SeenRequest {
  readonly stream: Stream;
  readonly line: string;
  /** Name and value as they came. */
  readonly fields: readonly (readonly [string, string])[];
  readonly #start: number;

  constructor(stream: Stream, head: string, start: number) {
    const [line = "", ...rest] = head.split("\r\n");
    this.stream = stream;
    this.line = line;
    this.fields = rest.map((text) => {
      const colon = text.indexOf(":");
      return [text.slice(0, colon), text.slice(colon + 1).trim()] as const;
    });
    this.#start = start;
  }

  /** All values of a field, in order. */
  all(name: string): string[] {
    return this.fields.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
  }

  get(name: string): string | undefined {
    return this.all(name)[0];
  }

  /** Everything after the head so far. */
  get rawBody(): string {
    return this.stream.received.slice(this.#start);
  }

  get bodyDone(): boolean {
    if (this.get("transfer-encoding") !== undefined) return chunkedEnd(this.rawBody) >= 0;
    return this.rawBody.length >= Number(this.get("content-length") ?? 0);
  }

  get body(): string {
    return this.get("transfer-encoding") === undefined ? this.rawBody : unchunk(this.rawBody);
  }

  async whole(): Promise<this> {
    await this.stream.until(() => this.bodyDone || this.stream.over);
    return this;
  }

  /** Where the next request of the connection begins. */
  get endsAt(): number {
    const chunked = this.get("transfer-encoding") !== undefined;
    return this.#start + (chunked ? chunkedEnd(this.rawBody) : Number(this.get("content-length") ?? 0));
  }
}

/** What a server does with a request; `number` counts from 0 over both servers of a case. */
export type Script = (request: SeenRequest, number: number) => void | Promise<void>;

/** Answers "ok" once the body is in. */
export const sayOk: Script = async (request) => {
  await request.whole();
  request.stream.send(okText("ok"));
};

export function okText(body: string, fields = ""): string {
  return `HTTP/1.1 200 OK\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`;
}

/** An application server of raw bytes. */
export class RawServer {
  readonly streams: Stream[] = [];
  readonly #onRequest: (request: SeenRequest) => void;
  #server: Server | null = null;
  port = 0;

  constructor(onRequest: (request: SeenRequest) => void) {
    this.#onRequest = onRequest;
  }

  async start(): Promise<void> {
    const server = createServer((socket) => this.#serve(new Stream(socket)));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.port, "127.0.0.1", resolve);
    });
    this.port = (server.address() as { port: number }).port;
    this.#server = server;
  }

  /** From now on connections are refused; open ones are cut. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    for (const { socket } of this.streams.splice(0)) socket.destroy();
    if (server !== null) await new Promise((resolve) => server.close(resolve));
  }

  get running(): boolean {
    return this.#server !== null;
  }

  #serve(stream: Stream): void {
    this.streams.push(stream);
    let from = 0;
    let current: SeenRequest | null = null;
    stream.socket.on("data", () => {
      if (current !== null && !current.bodyDone) return;
      from = Math.max(from, current?.endsAt ?? 0);
      const end = stream.received.indexOf("\r\n\r\n", from);
      if (end < 0) return;
      current = new SeenRequest(stream, stream.received.slice(from, end), end + 4);
      from = end + 4;
      this.#onRequest(current);
    });
  }
}
