/** What the driver needs of a Redis client, whichever it is. */

export type Argument = string | Buffer;
/** Sends one command; bulk strings of the reply are Buffers. Rejects with what the client rejects with. */
export type Send = (args: Argument[]) => Promise<unknown>;

export interface RedisPort {
  /** For messages: "@redis/client", "ioredis Cluster". */
  readonly client: string;
  /** Made here from a URL, so ended with the store. */
  readonly isOurs: boolean;
  /** To the node that holds `key`, the primary. Each node has one connection, so commands to it keep their order. */
  send(key: string, args: Argument[]): Promise<unknown>;
  /** The node that holds `key`, as far as the client knows; "" with a single server. */
  nodeOf(key: string): string;
  /** Every primary by name, with a way to it alone. */
  nodes(): Promise<ReadonlyMap<string, Send>>;
  /** A second connection to that node, kept for commands that block theirs. */
  side(node: string): Promise<Send>;
  /** Resolves when commands can be sent. Called before the first one and again after an outage. */
  ready(): Promise<void>;
  /** Tells of errors and of being ready again. */
  observe(observer: PortObserver): void;
  /** Ends the connection if it is ours; else lets go of the client. */
  close(): Promise<void>;
}

export interface PortObserver {
  failed(error: unknown): void;
  isReady(): void;
}

const silenced = new WeakSet<object>();

/** A client that outlives its stores must not end the process by an `error` event that nobody hears. One listener each. */
export function silence(client: { on(event: "error", listener: () => void): unknown }): void {
  if (silenced.has(client)) return;
  silenced.add(client);
  client.on("error", () => undefined);
}
