/** On a real Redis: sessions that express-session + connect-redis and Sojourn hand to each other, and what each loses. */
import { createHmac } from "node:crypto";
import { createClient } from "@redis/client";
import { type RedisServer, redisServerPath, startRedis } from "@sojourn/testbed";
import { RedisStore } from "connect-redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { newSessionId } from "../../core/ids.ts";
import { redisStore } from "../redis/index.ts";
import { decoded, encoded } from "./connect-stores.test.support.ts";
import {
  expressApp,
  expressSession,
  fastifyApp,
  type Handler,
  type Make,
  survivors,
  userAfterLogout,
  WRITERS,
} from "./express-session.test.support.ts";
import { expressStore } from "./express-store.ts";
import { connectKey, connectStore } from "./listing-connect-store.ts";

const SECRET = "a secret of the test";
const COOKIE = { maxAge: 60_000, path: "/", sameSite: "strict" };
const AT = new Date(1_700_000_000_123);

/** `connect.sid=s%3A<id>.<signature>` */
function idOf(visitor: string): string {
  return /=s:([^.]+)\./.exec(decodeURIComponent(visitor))![1]!;
}

function visitorWith(id: string): string {
  const signature = createHmac("sha256", SECRET).update(id).digest("base64").replace(/=+$/, "");
  return `connect.sid=${encodeURIComponent(`s:${id}.${signature}`)}`;
}

describe.skipIf(redisServerPath() === undefined)("express-session, connect-redis and Sojourn", () => {
  let redis: RedisServer;
  let client: ReturnType<typeof createClient>;
  beforeAll(async () => {
    redis = await startRedis();
    client = createClient({ url: redis.url });
    await client.connect();
  });
  afterAll(async () => {
    await client?.close();
    await redis?.stop();
  });

  let prefixes = 0;
  const connectRedis = () => new RedisStore({ client, prefix: `sess-${prefixes++}:` });
  const sojournRedis = () => redisStore({ url: redis.url, prefix: `sojourn-${prefixes++}:` });

  test("what express-session wrote is read and changed by us; it reads on, Dates and cookie intact", async () => {
    const backend = connectRedis();
    const store = connectStore(backend, { onDiagnostic: () => undefined });
    const handler: Handler = (session, { pathname }) => {
      if (pathname === "/login") Object.assign(session, { user: "ada", at: AT, cart: { n: 1 } });
      if (pathname === "/add") session.cart = { n: 2 };
    };
    const app = await expressApp(backend, handler, { secret: SECRET, cookie: COOKIE });
    try {
      const { visitor } = await app.get("/login");
      const key = connectKey(idOf(visitor));
      const record = (await store.read(key))!;
      expect(decoded(record)).toEqual({ user: "ada", at: AT.toISOString(), cart: { n: 1 } });
      const before = (await app.get("/look", visitor)).session;
      const delta = { set: encoded({ note: "ours", at: AT, seen: new Map([["x", AT]]) }) };
      expect((await store.apply(key, delta)).status).toBe("applied");
      const { session } = await app.get("/look", visitor);
      expect(session).toMatchObject({ user: "ada", note: "ours", at: AT.toISOString(), cart: { n: 1 } });
      const unmoved = (cookie: unknown) => ({ ...(cookie as object), expires: undefined });
      expect(unmoved(session.cookie)).toEqual(unmoved(before.cookie));
      await app.get("/add", visitor);
      const after = (await store.read(key))!;
      expect(decoded(after)).toEqual({
        user: "ada",
        note: "ours",
        at: AT,
        seen: new Map([["x", AT]]),
        cart: { n: 2 },
      });
      expect(after.expiresAtMs).toBeGreaterThan(Date.now());
      expect(await store.destroy(key)).toBe(true);
      expect((await app.get("/look", visitor)).session.user).toBeUndefined();
    } finally {
      await app.close();
      await store.close();
    }
  });

  test("what we wrote is a session to express-session: it reads, touches, writes; our Dates stay Dates", async () => {
    const backend = connectRedis();
    const store = connectStore(backend, { onDiagnostic: () => undefined });
    const app = await expressApp(
      backend,
      (session, { pathname }) => {
        if (pathname === "/write") session.theirs = (session.at as string).slice(0, 10);
        if (pathname === "/forget") delete session.user;
      },
      { secret: SECRET },
    );
    try {
      const id = newSessionId(systemClock);
      const key = connectKey(id);
      const attributes = encoded({ user: "ada", at: AT, bytes: new Uint8Array([0, 255]) });
      const nowMs = Date.now();
      const session = {
        key,
        attributes,
        expiresAtMs: nowMs + 60_000,
        absoluteExpiresAtMs: nowMs + 3_600_000,
      };
      expect((await store.create(session)).status).toBe("created");
      for (const path of ["/look", "/write", "/forget"]) await app.get(path, visitorWith(id));
      const record = (await store.read(key))!;
      expect(decoded(record)).toEqual({
        at: AT,
        bytes: new Uint8Array([0, 255]),
        theirs: AT.toISOString().slice(0, 10),
      });
      expect(record.absoluteExpiresAtMs).toBe(session.absoluteExpiresAtMs);
    } finally {
      await app.close();
      await store.close();
    }
  });

  describe.each([
    ["express-session", expressApp, { Store: expressSession.Store }],
    ["@fastify/session", fastifyApp, {}],
  ] as const)("under %s", (_, app, options) => {
    const theirs: Make = (handler) => app(connectRedis(), handler);
    const ours: Make = async (handler) => {
      const store = sojournRedis();
      const { get, close } = await app(expressStore(store, options), handler);
      return { get, close: () => close().finally(() => store.close()) };
    };

    test("20 parallel writers of different attributes: 20 survive on our Redis store, 1 on connect-redis", async () => {
      expect(await survivors(ours)).toBe(WRITERS);
      expect(await survivors(theirs)).toBe(1);
    });

    test("a logout that a slow write outlives is final on our Redis store, undone on connect-redis", async () => {
      expect(await userAfterLogout(ours, "/slow-write")).toBeUndefined();
      expect(await userAfterLogout(theirs, "/slow-write")).toBe("ada");
    });
  });
});
