/** Links to a real Redis as monitoring hears of them: made, answered, lost, made again. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { redisServerPath, startRedis } from "@sojourn/testbed";
import { afterEach, describe, expect, test } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { newSessionId, sessionKeyOf } from "../../core/ids.ts";
import { redisStore } from "./index.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function hear(word: string): Record<string, unknown>[] {
  const heard: Record<string, unknown>[] = [];
  const listener = (event: unknown) => heard.push(event as Record<string, unknown>);
  subscribe(`sojourn:link:${word}`, listener);
  ends.push(() => unsubscribe(`sojourn:link:${word}`, listener));
  return heard;
}

describe.skipIf(redisServerPath() === undefined)("links to Redis", () => {
  test("made once, answered in seconds and bytes, lost, and made again when Redis is back", async () => {
    const [connected, answered, lost, failed] = ["connected", "answered", "lost", "failed"].map(hear);
    const redis = await startRedis();
    ends.push(() => redis.stop());
    // The first call loads the client and connects; on a busy machine that takes its time.
    const store = redisStore({ url: redis.url, timeoutMs: 10_000, onDiagnostic: () => undefined });
    ends.push(() => store.close());
    const key = sessionKeyOf(newSessionId(systemClock));
    const expiresAtMs = Date.now() + 600_000;
    const attributes = new Map([["telling-attribute", Buffer.from("telling-value".repeat(20))]]);
    const read = () => store.read(key, { timeoutMs: 500 }).catch(() => "failed");
    expect(await store.read(key)).toBeNull();
    await store.create({ key, attributes, expiresAtMs, absoluteExpiresAtMs: expiresAtMs });
    await read();
    const link = { store: "redis", remote: `127.0.0.1:${redis.port}` };
    expect(connected).toEqual([link]);
    const [sent, received] = [answered!.at(-2), answered!.at(-1)];
    expect(sent).toMatchObject({ ...link, operation: "create a session" });
    expect(sent?.seconds).toBeGreaterThan(0);
    expect(sent?.bytesSent).toBeGreaterThan(260);
    expect(received?.bytesReceived).toBeGreaterThan(260);
    await redis.kill();
    await expect.poll(read).toBe("failed");
    await expect.poll(() => lost).toEqual([{ ...link, code: "STORE_UNAVAILABLE" }]);
    await redis.restart();
    await expect.poll(() => connected, { timeout: 10_000 }).toEqual([link, link]);
    expect(failed).toEqual([]);
    const said = JSON.stringify([connected, answered, lost]);
    for (const telling of [key, "telling-attribute", "telling-value"]) expect(said).not.toContain(telling);
  });

  test("a Redis that is not there: the link could not be made, and then it could", async () => {
    const [connected, failed] = ["connected", "failed"].map(hear);
    const redis = await startRedis();
    ends.push(() => redis.stop());
    await redis.kill();
    const store = redisStore({ url: redis.url, timeoutMs: 500, onDiagnostic: () => undefined });
    ends.push(() => store.close());
    await expect(store.read(sessionKeyOf(newSessionId(systemClock)))).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
    });
    expect(failed).toEqual([
      { store: "redis", remote: `127.0.0.1:${redis.port}`, code: "STORE_UNAVAILABLE" },
    ]);
    await redis.restart();
    await expect.poll(() => connected?.length, { timeout: 10_000 }).toBe(1);
  });
});
