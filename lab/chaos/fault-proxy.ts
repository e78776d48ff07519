/**
 * A TCP proxy whose verbs are faults: put between two processes, it delays, freezes, cuts, or talks rubbish, and goes
 * back to plain forwarding when told. Works below TLS, so it can harm any connection without its keys.
 */
import { randomBytes } from "node:crypto";
import { connect, createServer, type Server, type Socket } from "node:net";

export type Fault =
  | { readonly kind: "none" }
  /** Each direction's bytes arrive this much later, in order. */
  | { readonly kind: "delay"; readonly delayMs: number }
  /** Connections open, nothing passes: what a stopped process or a dropped link looks like. */
  | { readonly kind: "freeze" }
  /** New connections are closed at once; existing ones are cut when the fault begins. */
  | { readonly kind: "refuse" }
  /** Answers random bytes to whatever arrives, and passes nothing on. */
  | { readonly kind: "garbage" };

export class FaultProxy {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #fault: Fault = { kind: "none" };
  /** Connections accepted so far: shows whether somebody reconnects in a storm. */
  accepted = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Forwards a free loopback port to `targetPort`. */
  static async start(targetPort: number): Promise<FaultProxy> {
    const server = createServer({ pauseOnConnect: true });
    const proxy = new FaultProxy(server);
    server.on("connection", (client) => proxy.#accept(client, targetPort));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, "127.0.0.1", resolve);
    });
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("The proxy is closed");
    return address.port;
  }

  /** From now on, for connections that exist and those to come. Bytes held by a freeze pass when it ends. */
  inject(fault: Fault): void {
    this.#fault = fault;
    if (fault.kind === "refuse") this.cut();
    for (const pair of this.#pairs) pair.flow();
  }

  /** Resets every connection there is. */
  cut(): void {
    for (const pair of this.#pairs) pair.destroy();
  }

  get fault(): Fault {
    return this.#fault;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(client: Socket, targetPort: number): void {
    this.accepted++;
    if (this.#fault.kind === "refuse") {
      client.resetAndDestroy();
      return;
    }
    const pair = new Pair(client, connect(targetPort, "127.0.0.1"), () => this.#fault);
    this.#pairs.add(pair);
    client.once("close", () => this.#pairs.delete(pair));
  }
}

interface HeldBytes {
  readonly to: Socket;
  readonly bytes: Buffer;
  readonly dueMs: number;
}

/** Two sockets and what is on its way between them. */
class Pair {
  readonly #sockets: readonly [Socket, Socket];
  readonly #held: HeldBytes[] = [];
  readonly #fault: () => Fault;
  #timer: NodeJS.Timeout | undefined;

  constructor(client: Socket, server: Socket, fault: () => Fault) {
    this.#sockets = [client, server];
    this.#fault = fault;
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.setNoDelay(true);
      from.on("data", (bytes) => this.#take(from, to, bytes));
      from.on("error", () => this.destroy());
      from.on("close", () => this.destroy());
    }
    client.resume();
  }

  destroy(): void {
    clearTimeout(this.#timer);
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Sends on what may pass now. */
  flow(): void {
    clearTimeout(this.#timer);
    for (let next = this.#held[0]; next; next = this.#held[0]) {
      if (this.#fault().kind === "freeze") return;
      const waitMs = this.#fault().kind === "delay" ? next.dueMs - performance.now() : 0;
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.flow(), waitMs);
        return;
      }
      this.#held.shift();
      if (next.to.writable) next.to.write(next.bytes);
    }
  }

  #take(from: Socket, to: Socket, bytes: Buffer): void {
    const fault = this.#fault();
    if (fault.kind === "garbage") {
      if (from === this.#sockets[0] && from.writable) from.write(randomBytes(64 + bytes.length));
      return;
    }
    const delayMs = fault.kind === "delay" ? fault.delayMs : 0;
    this.#held.push({ to, bytes, dueMs: performance.now() + delayMs });
    this.flow();
  }
}
