/**
 * The libraries we are measured against, configured as their documentation advises and as favourably as it allows:
 * `resave: false`, `saveUninitialized: false`, `rolling: false`; a cookie that ends with the browser and 30 minutes in the
 * store, as ours. (With `maxAge` in the cookie, express-session hashes once more and sets the cookie at each write.)
 *
 * Loaded without their types: express-session brings none, and those of @fastify/session claim `request.session` for
 * every file of this package.
 */
import { createRequire } from "node:module";
import { createClient } from "@redis/client";
import type { RequestHandler } from "express";
import type { FastifyPluginAsync, FastifyPluginCallback } from "fastify";
import type { Contents } from "./contents.ts";

export type IncumbentKind = "express-session-memory" | "connect-redis";

const require = createRequire(import.meta.url);
const SECRET = "a secret of the laboratory, of 32 characters";
const TTL_S = 1_800;

/** A session of these libraries: a plain object on the request. */
export type PlainSession = Contents & { destroy(done?: (error?: unknown) => void): Promise<void> | void };

export function plainSession(request: unknown): PlainSession {
  return (request as { session: PlainSession }).session;
}

export async function expressSession(kind: IncumbentKind, url: string): Promise<RequestHandler> {
  const session = require("express-session") as (options: object) => RequestHandler;
  return session({
    secret: SECRET,
    // Without a store: the MemoryStore that comes with it.
    ...(kind === "connect-redis" ? { store: await redisStoreOf(url) } : {}),
    resave: false,
    rolling: false,
    saveUninitialized: false,
  });
}

export async function fastifySession(url: string) {
  return {
    cookie: require("@fastify/cookie") as FastifyPluginCallback,
    session: require("@fastify/session") as FastifyPluginAsync<object>,
    options: {
      secret: SECRET,
      store: await redisStoreOf(url),
      rolling: false,
      saveUninitialized: false,
      cookie: { secure: false },
    },
  };
}

async function redisStoreOf(url: string): Promise<object> {
  const { RedisStore } = require("connect-redis") as { RedisStore: new (options: object) => object };
  const client = createClient({ url });
  client.on("error", (error) => process.stderr.write(`redis: ${error.message}\n`));
  await client.connect();
  return new RedisStore({ client, prefix: "incumbent:", ttl: TTL_S });
}
