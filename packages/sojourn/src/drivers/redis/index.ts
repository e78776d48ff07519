/** `sojourn/redis`: sessions in Redis or Valkey, one server, Sentinel or Cluster. */
import type { RedisStoreOptions } from "./options.ts";
import { RedisStore } from "./redis-store.ts";

export type { RedisDiagnostic, RedisStoreOptions } from "./options.ts";
export type { RedisStore } from "./redis-store.ts";

/** @throws {SessionError} INVALID_OPTION; whether a server answers is found out by the first call */
export function redisStore(options: RedisStoreOptions): RedisStore {
  return new RedisStore(options);
}
