/** What `redisStore` takes, checked once. */
import type { Clock } from "../../core/clock.ts";
import { SessionError } from "../../core/errors.ts";

export interface RedisStoreOptions {
  /**
   * `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS. A client is made by the optional peer
   * `@redis/client` at the first call, with the settings that docs/redis.md explains.
   */
  readonly url?: string;
  /** Some nodes of a Redis Cluster, as URLs; the others are found. */
  readonly cluster?: readonly string[];
  /**
   * A client of yours: @redis/client (client, cluster, sentinel) or ioredis (Redis, Cluster), connected or not yet. It
   * stays yours: `close()` leaves it open.
   */
  readonly client?: object;
  /** The session domain: all keys begin with it. Letters, digits, `_`, `.`, `-` and `:`. Default "sojourn". */
  readonly prefix?: string;
  /** For calls that bring none. Default 500. */
  readonly timeoutMs?: number;
  /** Calls under way at a time; one more fails at once. Default 10,000. */
  readonly pendingMax?: number;
  readonly clock?: Clock;
  /** Hears what an operator should know. Default: warnings become process warnings, the rest is silent. */
  readonly onDiagnostic?: (diagnostic: RedisDiagnostic) => void;
}

export interface RedisDiagnostic {
  readonly level: "info" | "warn";
  readonly code:
    | "CLIENT_RESENDS"
    | "CLIENT_QUEUES"
    | "EVICTION_POSSIBLE"
    | "REPLICAS_OPTIONAL"
    | "REPLICA_NOT_CONFIRMED"
    | "OUTAGE"
    | "RECOVERED";
  readonly message: string;
}

const PREFIX_PATTERN = /^[A-Za-z0-9_.:-]{1,64}$/;

export function checkPrefix(prefix: string): string {
  if (PREFIX_PATTERN.test(prefix)) return prefix;
  throw wrong(`the prefix is "${prefix.slice(0, 80)}", expected 1..64 letters, digits, "_", ".", "-" or ":"`);
}

/** @throws {SessionError} INVALID_OPTION; the message shows no password */
export function checkUrl(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw wrong("the URL cannot be read, expected redis://host:port or rediss://host:port");
  }
  if (url.protocol !== "redis:" && url.protocol !== "rediss:") {
    throw wrong(`the URL begins with ${url.protocol}//, expected redis:// or rediss://`);
  }
  if (url.hostname === "") throw wrong("the URL names no host, expected redis://host:port");
  if (!/^\/?\d*$/.test(url.pathname)) {
    throw wrong(`the URL's path is "${url.pathname}", expected a database number or nothing`);
  }
  return url;
}

/** For events: `host:port`, or "client" when the client is the user's. */
export function placeOf({ url }: RedisStoreOptions): string {
  if (url === undefined) return "client";
  const { hostname, port } = checkUrl(url);
  return `${hostname}:${port || 6379}`;
}

export function wrong(found: string): SessionError {
  return new SessionError("INVALID_OPTION", `Cannot use Redis: ${found}`);
}
