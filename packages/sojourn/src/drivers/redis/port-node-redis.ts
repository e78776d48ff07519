/** @redis/client 5 and newer: a client, a cluster or a sentinel client of it. */

import type { Argument, PortObserver, RedisPort, Send } from "./port.ts";
import { slotOf } from "./slot.ts";

/** `$`: bulk strings come as Buffers. No AbortSignal per command: the driver bounds its calls itself. */
const OPTIONS = { typeMapping: { 36: Buffer }, timeout: 0 } as const;

interface Client {
  readonly isOpen: boolean;
  readonly isReady?: boolean;
  connect(): Promise<unknown>;
  close(): Promise<void>;
  destroy(): void;
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
  #listening: [string, (...args: never[]) => void][] = [];
  #becomingReady: Promise<void> | undefined;

  constructor(redis: C, isOurs: boolean) {
    this.redis = redis;
    this.isOurs = isOurs;
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
    const failed = (error: unknown) => observer.failed(error);
    const isReady = () => observer.isReady();
    this.#listening = [
      ["error", failed],
      [this.readyEvent, isReady],
    ];
    for (const [event, listener] of this.#listening) this.redis.on(event, listener);
  }

  async close(): Promise<void> {
    if (this.isOurs) {
      if (this.redis.isOpen) this.redis.destroy();
      return;
    }
    for (const [event, listener] of this.#listening) this.redis.off(event, listener);
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
}
