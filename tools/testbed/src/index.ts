/** Real servers for tests and benchmarks: started on loopback, really killed, gone with the process that started them. */
export { freePort } from "./port.ts";
export { type Program, startProgram } from "./program.ts";
export { type RedisOptions, type RedisServer, redisServerPath, startRedis } from "./redis.ts";
export { type RedisCluster, startRedisCluster } from "./redis-cluster.ts";
export { Visitor, type VisitorOptions } from "./visitor.ts";
