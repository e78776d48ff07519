/** @redis/client 5 and newer: a client, a cluster or a sentinel client of it. */

import { type Argument, type PortObserver, type RedisPort, type Send, silence } from "./port.ts";
import { slotOf } from "./slot.ts";

/** `$`: bulk strings come as Buffers. No AbortSignal per command: the driver bounds its calls itself. */
const OPTIONS = { typeMapping: { 36: Buffer }, timeout: 0 } as const;

interface Client {
  readonly isOpen: boolean;
  readonly isReady?: boolean;
  connect(): Promise<unknown>;
  close(): Promise<void>;
  destroy(): void;
  duplicate(): unknown;
  on(event: string, listener: (...args: never[]) => void): unknown;
  off(event: string, listener: (...args: never[]) => void): unknown;
  once(event: string, listener: () => void): unknown;
}

export interface StandaloneClient extends Client {
  sendCommand(args: readonly Argument[], options: typeof OPTIONS): Promise<unknown>;
}

export interface SentinelClient extends Client {
  sendCommand(isReadonly: boolean, args: readonly Argument[], options: typeof OPTIONS): Promise<unknown>;
}

interface Master {
  readonly address: string;
}

export interface ClusterClient extends Client {
  sendCommand(
    firstKey: string,
    isReadonly: boolean,
    args: readonly Argument[],
    options: typeof OPTIONS,
  ): Promise<unknown>;
  readonly slots: readonly { readonly master: Master }[];
  readonly masters: readonly Master[];
  nodeClient(node: Master): StandaloneClient | Promise<StandaloneClient>;
}

abstract class NodeRedisPort<C extends Client> {
  readonly isOurs: boolean;
  protected readonly redis: C;
  /** What the client emits when commands can be sent. */
  protected readonly readyEvent: string = "ready";
  readonly #sides = new Map<string, Promise<StandaloneClient>>();
  #isReady: () => void = () => undefined;
  #failed: (error: unknown) => void = () => undefined;
  #becomingReady: Promise<void> | undefined;

  constructor(redis: C, isOurs: boolean) {
    this.redis = redis;
    this.isOurs = isOurs;
  }

  protected besides(node: string, of: () => Promise<StandaloneClient>): Promise<Send> {
    let side = this.#sides.get(node);
    if (side === undefined) {
      side = this.#duplicated(node, of);
      this.#sides.set(node, side);
      side.catch(() => this.#sides.delete(node));
    }
    return side.then((client) => (args) => client.sendCommand(args, OPTIONS));
  }

  async #duplicated(node: string, of: () => Promise<StandaloneClient>): Promise<StandaloneClient> {
    const client = (await of()).duplicate() as StandaloneClient;
    client.on("error", () => {
      // Made anew when it is needed again.
      this.#sides.delete(node);
      ended(client);
    });
    await client.connect();
    return client;
  }

  async ready(): Promise<void> {
    const { redis } = this;
    if (!redis.isOpen) {
      await redis.connect();
      return;
    }
    if (redis.isReady ?? true) return;
    // One listener, however many wait.
    this.#becomingReady ??= new Promise<void>((resolve) => redis.once(this.readyEvent, resolve)).finally(
      () => {
        this.#becomingReady = undefined;
      },
    );
    await this.#becomingReady;
  }

  observe(observer: PortObserver): void {
    // Without a listener an `error` event ends the process.
    this.#failed = (error: unknown) => observer.failed(error);
    this.redis.on("error", this.#failed);
    this.#isReady = () => observer.isReady();
    this.redis.on(this.readyEvent, this.#isReady);
  }

  async close(): Promise<void> {
    for (const side of this.#sides.values()) void side.then(ended, () => undefined);
    this.#sides.clear();
    if (this.isOurs) {
      if (this.redis.isOpen) this.redis.destroy();
      return;
    }
    silence(this.redis);
    this.redis.off("error", this.#failed);
    this.redis.off(this.readyEvent, this.#isReady);
  }
}

export class StandalonePort extends NodeRedisPort<StandaloneClient> implements RedisPort {
  readonly client = "@redis/client";

  send(_key: string, args: Argument[]): Promise<unknown> {
    return this.redis.sendCommand(args, OPTIONS);
  }

  nodeOf(): string {
    return "";
  }

  async nodes(): Promise<ReadonlyMap<string, Send>> {
    return new Map([["", (args: Argument[]) => this.redis.sendCommand(args, OPTIONS)]]);
  }

  side(node: string): Promise<Send> {
    return this.besides(node, async () => this.redis);
  }
}

export class SentinelPort extends NodeRedisPort<SentinelClient> implements RedisPort {
  readonly client = "@redis/client sentinel";

  send(_key: string, args: Argument[]): Promise<unknown> {
    return this.redis.sendCommand(false, args, OPTIONS);
  }

  nodeOf(): string {
    return "";
  }

  async nodes(): Promise<ReadonlyMap<string, Send>> {
    return new Map([["", (args: Argument[]) => this.redis.sendCommand(false, args, OPTIONS)]]);
  }

  /** Which server that is changes with a fail-over, so only the client's own connection follows it. */
  async side(): Promise<Send> {
    return (args) => this.redis.sendCommand(false, args, OPTIONS);
  }
}

export class ClusterPort extends NodeRedisPort<ClusterClient> implements RedisPort {
  readonly client = "@redis/client cluster";
  protected override readonly readyEvent = "connect";

  send(key: string, args: Argument[]): Promise<unknown> {
    return this.redis.sendCommand(key, false, args, OPTIONS);
  }

  nodeOf(key: string): string {
    return this.redis.slots[slotOf(key)]?.master.address ?? "?";
  }

  async nodes(): Promise<ReadonlyMap<string, Send>> {
    const nodes = new Map<string, Send>();
    for (const master of this.redis.masters) {
      nodes.set(master.address, async (args) =>
        (await this.redis.nodeClient(master)).sendCommand(args, OPTIONS),
      );
    }
    return nodes;
  }

  side(node: string): Promise<Send> {
    return this.besides(node, async () => {
      const master = this.redis.masters.find(({ address }) => address === node);
      if (!master) throw new Error("the node has left the cluster");
      return this.redis.nodeClient(master);
    });
  }
}

function ended(client: StandaloneClient): void {
  if (client.isOpen) client.destroy();
}
