/** ioredis 5 and newer (and iovalkey): a Redis or a Cluster instance. */
import { type Argument, type PortObserver, type RedisPort, type Send, silence } from "./port.ts";
import { slotOf } from "./slot.ts";

interface Instance {
  readonly status: string;
  connect(): Promise<unknown>;
  disconnect(): void;
  duplicate(override?: object): unknown;
  on(event: string, listener: (...args: never[]) => void): unknown;
  off(event: string, listener: (...args: never[]) => void): unknown;
  once(event: string, listener: () => void): unknown;
  callBuffer(command: string, args: Argument[]): Promise<unknown>;
}

export interface IoRedis extends Instance {
  readonly options: {
    readonly autoResendUnfulfilledCommands?: boolean;
    readonly enableOfflineQueue?: boolean;
    readonly maxRetriesPerRequest?: number | null;
    readonly keyPrefix?: string;
    readonly host?: string;
    readonly port?: number;
  };
}

export interface IoRedisCluster extends Instance {
  readonly isCluster: true;
  /** Of each slot: "host:port" of its primary, then its replicas. */
  readonly slots: readonly (readonly string[])[];
  readonly options: { readonly keyPrefix?: string; readonly redisOptions?: IoRedis["options"] };
  nodes(role: "master"): readonly IoRedis[];
}

abstract class IoRedisBase<R extends Instance> {
  readonly isOurs = false;
  protected readonly redis: R;
  readonly #sides = new Map<string, IoRedis>();
  #isReady: () => void = () => undefined;
  #failed: (error: unknown) => void = () => undefined;
  #becomingReady: Promise<void> | undefined;

  constructor(redis: R) {
    this.redis = redis;
  }

  send(_key: string, args: Argument[]): Promise<unknown> {
    return call(this.redis, args);
  }

  async ready(): Promise<void> {
    const { redis } = this;
    if (redis.status === "ready") return;
    // Lazily made, or ended by somebody: everything else connects by itself.
    if (redis.status === "wait" || redis.status === "end") {
      await redis.connect();
      return;
    }
    // One listener, however many wait.
    this.#becomingReady ??= new Promise<void>((resolve) => redis.once("ready", resolve)).finally(() => {
      this.#becomingReady = undefined;
    });
    await this.#becomingReady;
  }

  observe(observer: PortObserver): void {
    // Without a listener an `error` event ends the process.
    this.#failed = (error: unknown) => observer.failed(error);
    this.redis.on("error", this.#failed);
    this.#isReady = () => observer.isReady();
    this.redis.on("ready", this.#isReady);
  }

  protected besides(node: string, of: () => IoRedis): Send {
    let side = this.#sides.get(node);
    if (side === undefined) {
      const made = of().duplicate({ lazyConnect: true, retryStrategy: null }) as IoRedis;
      made.on("error", () => undefined);
      // Made anew when it is needed again.
      made.once("end", () => this.#sides.delete(node));
      made.connect().catch(() => undefined);
      this.#sides.set(node, made);
      side = made;
    }
    const connection = side;
    return (args) => call(connection, args);
  }

  async close(): Promise<void> {
    for (const side of this.#sides.values()) side.disconnect();
    silence(this.redis);
    this.redis.off("error", this.#failed);
    this.redis.off("ready", this.#isReady);
  }
}

export class IoRedisPort extends IoRedisBase<IoRedis> implements RedisPort {
  readonly client = "ioredis";

  nodeOf(): string {
    return "";
  }

  async nodes(): Promise<ReadonlyMap<string, Send>> {
    return new Map([["", (args: Argument[]) => call(this.redis, args)]]);
  }

  async side(node: string): Promise<Send> {
    return this.besides(node, () => this.redis);
  }
}

export class IoRedisClusterPort extends IoRedisBase<IoRedisCluster> implements RedisPort {
  readonly client = "ioredis Cluster";

  nodeOf(key: string): string {
    return this.redis.slots[slotOf(key)]?.[0] ?? "?";
  }

  async nodes(): Promise<ReadonlyMap<string, Send>> {
    const masters = this.redis.nodes("master");
    return new Map(masters.map((node) => [nameOf(node), (args: Argument[]) => call(node, args)]));
  }

  async side(node: string): Promise<Send> {
    return this.besides(node, () => {
      const master = this.redis.nodes("master").find((each) => nameOf(each) === node);
      if (!master) throw new Error("the node has left the cluster");
      return master;
    });
  }
}

/** As in the table of slots. */
function nameOf({ options }: IoRedis): string {
  return `${options.host}:${options.port}`;
}

function call(redis: Instance, [command, ...args]: Argument[]): Promise<unknown> {
  return redis.callBuffer(command as string, args);
}
