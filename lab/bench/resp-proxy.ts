/**
 * A TCP proxy in front of Redis that counts: commands from the application (RESP arrays, whoever's client wrote them)
 * and bytes in both directions. It changes nothing, and it understands nothing else.
 */
import { connect, createServer, type Server, type Socket } from "node:net";

export interface Counted {
  readonly commands: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
}

export class RespProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #counted = { commands: 0, bytesUp: 0, bytesDown: 0 };

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(targetPort: number): Promise<RespProxy> {
    const server = createServer({ noDelay: true });
    const proxy = new RespProxy(server);
    server.on("connection", (client) => proxy.#accept(client, targetPort));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("The proxy is closed");
    return `redis://127.0.0.1:${address.port}`;
  }

  /** Since the last call. */
  take(): Counted {
    const counted = this.#counted;
    this.#counted = { commands: 0, bytesUp: 0, bytesDown: 0 };
    return counted;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket, targetPort: number): void {
    const upstream = connect({ port: targetPort, host: "127.0.0.1", noDelay: true });
    const commands = new CommandCounter();
    client.on("data", (bytes) => {
      this.#counted.bytesUp += bytes.length;
      this.#counted.commands += commands.seen(bytes);
      upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      this.#counted.bytesDown += bytes.length;
      client.write(bytes);
    });
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }
}

/** Counts `*<n>\r\n($<length>\r\n<bytes>\r\n){n}` in a stream that is cut anywhere. */
export class CommandCounter {
  #rest: Buffer = Buffer.alloc(0);
  /** Arguments of the current command still to come. */
  #arguments = 0;
  /** Bytes of the current argument still to come, its line end included. */
  #skip = 0;

  /** @returns how many commands ended in these bytes */
  seen(bytes: Buffer): number {
    let text = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    let ended = 0;
    for (;;) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, text.length);
        this.#skip -= skipped;
        text = text.subarray(skipped);
        if (this.#skip > 0) break;
        if (--this.#arguments === 0) ended++;
      }
      const end = text.indexOf("\r\n");
      if (end < 0) break;
      const head = text.toString("latin1", 0, end);
      text = text.subarray(end + 2);
      if (head.startsWith("*")) this.#arguments = Number(head.slice(1));
      else if (head.startsWith("$")) this.#skip = Number(head.slice(1)) + 2;
      else throw new Error("The client of Redis speaks something else than RESP arrays");
    }
    this.#rest = text;
    return ended;
  }
}
