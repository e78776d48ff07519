import { createClient, createClientPool } from "@redis/client";
import { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import { type RedisDiagnostic, type RedisStoreOptions, redisStore } from "./index.ts";

const refused: Record<string, [RedisStoreOptions, RegExp]> = {
  "nothing to connect with": [{}, /0 of `url`, `cluster` and `client`/],
  "two ways to connect": [{ url: "redis://a", cluster: ["redis://b"] }, /2 of/],
  "another scheme": [{ url: "http://localhost:6379" }, /http:.*redis:\/\//],
  "no URL at all": [{ url: "localhost" }, /cannot be read/],
  "a URL without a host": [{ url: "redis:///0" }, /no host/],
  "a URL with a path": [{ url: "redis://h/sessions" }, /database number/],
  "an empty cluster": [{ cluster: [] }, /names no node/],
  "a cluster's wrong URL": [{ cluster: ["h:6379"] }, /redis:\/\//],
  "something that is no client": [{ client: {} }, /@redis\/client 5/],
  "a pool": [{ client: createClientPool() }, /pool/],
  "a client that puts a prefix of its own": [
    { client: new Redis({ keyPrefix: "app:", lazyConnect: true }) },
    /keyPrefix/,
  ],
  "a prefix with braces": [{ url: "redis://h", prefix: "a{b}" }, /prefix/],
  "no time to wait": [{ url: "redis://h", timeoutMs: 0 }, /timeoutMs/],
};

describe("redisStore refuses", () => {
  for (const [name, [options, message]] of Object.entries(refused)) {
    test(`${name}, and says what is expected`, () => {
      expect(() => redisStore(options)).toThrow(message);
      expect(() => redisStore(options)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
    });
  }

  test("a URL without showing its password", () => {
    const options = { url: "redis://user:hush-hush@/0?x" };
    expect(() => redisStore(options)).toThrow(expect.not.stringContaining("hush-hush"));
  });
});

test("an ioredis client that sends twice draws a warning that says what to set", async () => {
  const told: RedisDiagnostic[] = [];
  const onDiagnostic = (diagnostic: RedisDiagnostic) => told.push(diagnostic);
  await redisStore({ client: new Redis({ lazyConnect: true }), onDiagnostic }).close();
  expect(told.map(({ code }) => code)).toEqual(["CLIENT_RESENDS", "CLIENT_QUEUES"]);
  expect(told[0]?.message).toContain("autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0");
  told.length = 0;
  const careful = new Redis({
    lazyConnect: true,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
  });
  await redisStore({ client: careful, onDiagnostic }).close();
  expect(told).toEqual([]);
});

test("stores that come and go over one client leave one listener behind, so that its errors end no process", async () => {
  for (const client of [new Redis({ lazyConnect: true }), createClient()]) {
    const before = client.listenerCount("error");
    for (let stores = 0; stores < 20; stores++) {
      await redisStore({ client, onDiagnostic: () => undefined }).close();
    }
    expect(client.listenerCount("error")).toBe(before + 1);
    client.emit("error", new Error("the server went away"));
  }
});
