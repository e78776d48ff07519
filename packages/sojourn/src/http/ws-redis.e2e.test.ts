/** WebSockets over a store that tells nothing of changes and can be away: a real Redis. */
import { once } from "node:events";
import { type RedisServer, redisServerPath, startRedis } from "@sojourn/testbed";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { redisStore } from "../drivers/redis/index.ts";
import type { Sessions } from "../sessions/create-sessions.ts";
import {
  cleanUp,
  cleanups,
  closed,
  counting,
  type Data,
  dial,
  listening,
  login,
  refused,
  request,
  say,
  sessionsOver,
} from "./sockets.test.support.ts";

const POLL_MS = 100;

describe.skipIf(redisServerPath() === undefined)("over Redis", () => {
  let redis: RedisServer;

  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());
  afterEach(cleanUp);

  /** One server of the application. */
  function server(): Sessions<Data> {
    const store = redisStore({ url: redis.url });
    cleanups.push(() => store.close());
    // A busy machine takes its time to connect.
    return sessionsOver(store, { storeBudgetMs: 5_000 });
  }

  test("a socket closes when another server ends the session, by logout or for all of the user", async () => {
    const [here, there] = [server(), server()];
    const port = await listening(here, counting, { pollMs: POLL_MS });
    const [first, second] = [await login(there), await login(there)];
    const sockets = [dial(port, { cookie: first }), dial(port, { cookie: second })] as const;
    await Promise.all(sockets.map((ws) => once(ws, "open")));
    expect(await say(sockets[0], "count")).toBe("1");
    const end = closed(sockets[0]);
    await request(there, first, (session) => session.destroy());
    expect(await end).toEqual([4401, "session ended"]);
    expect(sockets[1].readyState).toBe(WebSocket.OPEN);
    const secondEnd = closed(sockets[1]);
    await there.endAll("ada");
    expect(await secondEnd).toEqual([4401, "session ended"]);
  });

  test("an outage closes no socket, refuses handshakes with 503, and after it everything goes on", async () => {
    const here = server();
    const port = await listening(here, counting, { pollMs: POLL_MS });
    const cookie = await login(here);
    const ws = dial(port, { cookie });
    await once(ws, "open");
    expect(await say(ws, "count")).toBe("1");
    redis.freeze();
    cleanups.push(() => redis.resume());
    expect(await say(ws, "count")).toBe("STORE_UNAVAILABLE");
    expect((await refused(dial(port, { cookie }))).statusCode).toBe(503);
    // Several polls long: none of them may take silence for an end.
    await new Promise((resolve) => setTimeout(resolve, 5 * POLL_MS));
    expect(ws.readyState).toBe(WebSocket.OPEN);
    redis.resume();
    let counted = "";
    const giveUpAtMs = Date.now() + 10_000;
    while (!/^\d+$/.test(counted) && Date.now() < giveUpAtMs) counted = await say(ws, "count");
    expect(Number(counted)).toBeGreaterThanOrEqual(2);
    const end = closed(ws);
    await request(server(), cookie, (session) => session.destroy());
    expect(await end).toEqual([4401, "session ended"]);
  });
});
