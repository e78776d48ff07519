/**
 * A protocol case: bytes in, one line of observation out. The same case is played against our router, where the
 * observation must be the expected one, and against other proxies, where it is only written down.
 */
import type { RouterOptions } from "../options.ts";
import type { Router } from "../router.ts";
import {
  Client,
  okText,
  RawServer,
  type Reply,
  type Script,
  type SeenRequest,
  sayOk,
} from "./kit.test.support.ts";

export interface ProtocolCase {
  readonly name: string;
  /** What our router must do. */
  readonly ours: string;
  /** Plays the case and tells what was seen. */
  readonly play: (stage: Stage) => Promise<string>;
  /** Options of our router beyond the common ones. */
  readonly options?: Partial<RouterOptions>;
  /** Needs a control or an option that only our router has: not played against others. */
  readonly onlyOurs?: true;
}

/** Common to all proxies under test, so that no case waits for minutes. */
export const SHORT = {
  connectMs: 1_000,
  headersMs: 800,
  bodyIdleMs: 800,
  firstByteMs: 1_000,
  responseIdleMs: 1_500,
  clientStallMs: 1_500,
} as const;

export class Stage {
  readonly servers: readonly [RawServer, RawServer];
  readonly seen: SeenRequest[] = [];
  script: Script = sayOk;
  proxyPort = 0;
  /** Only when our own is played. */
  router: Router | null = null;
  readonly #clients: Client[] = [];

  constructor() {
    const onRequest = (request: SeenRequest) => {
      this.seen.push(request);
      void this.script(request, this.seen.length - 1);
    };
    this.servers = [new RawServer(onRequest), new RawServer(onRequest)];
  }

  async start(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.start()));
  }

  /** Ready for the next case: all servers up and fresh, all connections of the last case gone. */
  async reset(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.socket.destroy();
    for (const server of this.servers) {
      await server.stop();
      await server.start();
    }
    this.seen.length = 0;
    this.script = sayOk;
  }

  async stop(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.socket.destroy();
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  async open(): Promise<Client> {
    const client = await Client.open(this.proxyPort);
    this.#clients.push(client);
    return client;
  }

  /** Sends on a connection of its own and waits for one response. */
  async ask(text: string): Promise<{ client: Client; reply: Reply | null }> {
    const client = await this.open();
    client.send(text);
    return { client, reply: await client.reply(text.startsWith("HEAD")) };
  }

  /** A plain request with extra fields, each ending in CRLF. */
  get(fields = "", path = "/"): Promise<{ client: Client; reply: Reply | null }> {
    return this.ask(`GET ${path} HTTP/1.1\r\nHost: shop.example\r\n${fields}\r\n`);
  }

  post(body: string, fields = ""): Promise<{ client: Client; reply: Reply | null }> {
    return this.ask(
      `POST / HTTP/1.1\r\nHost: shop.example\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`,
    );
  }

  /** The status, and whether any server got to see something. */
  async refused(text: string): Promise<string> {
    const { reply } = await this.ask(text);
    const status = reply === null ? "closed" : String(reply.status);
    return this.seen.length === 0 ? status : `${status}, forwarded`;
  }

  /** Values of a field as the server saw them in the last request. */
  sawField(name: string): string {
    return this.seen.at(-1)?.all(name).join(" | ") ?? "nothing forwarded";
  }
}

export function statusOf(reply: Reply | null): string {
  return reply === null ? "no response" : String(reply.status);
}

export function fieldOf(reply: Reply | null, name: string): string[] {
  return (reply?.head.split("\r\n") ?? [])
    .filter((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`))
    .map((line) => line.slice(name.length + 1).trim());
}

/** The pair of the affinity cookie, ready to be sent back. */
export function affinityPair(reply: Reply | null): string | undefined {
  return fieldOf(reply, "set-cookie")
    .find((value) => value.startsWith("SERVERID="))
    ?.split(";", 1)[0];
}

export { okText };
