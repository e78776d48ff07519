import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { sessionServers } from "../cluster/client/session-servers.ts";
import { startSessionServer } from "../cluster/server/session-server.ts";
import { SessionError } from "../core/errors.ts";
import { createSessions, type Sessions } from "../sessions/create-sessions.ts";
import { GatedStore } from "../sessions/harness.test.support.ts";
import { type MemoryStore, memoryStore } from "../store/memory.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import {
  cleanUp,
  cleanups,
  closed,
  counting,
  type Data,
  dial,
  handshake,
  listening,
  login,
  refused,
  request,
  SECRET,
  say,
  sessionsOver,
  until,
  upgrading,
} from "./sockets.test.support.ts";
import { socketSessions } from "./ws.ts";

afterEach(cleanUp);

describe("a socket", () => {
  test("reads the session as it is at each message, and what it writes is seen by requests", async () => {
    const sessions = sessionsOver(memoryStore());
    const port = await listening(sessions, counting);
    const cookie = await login(sessions);
    const ws = dial(port, { cookie });
    await once(ws, "open");
    expect(await say(ws, "count")).toBe("1");
    await request(sessions, cookie, (session) => session.set("count", 41));
    expect(await say(ws, "read")).toBe("41");
    expect(await say(ws, "count")).toBe("42");
    expect(await request(sessions, cookie, (session) => session.get("count"))).toBe(42);
  });

  test("closes with 4401 at the logout, wherever it was", async () => {
    const sessions = sessionsOver(memoryStore());
    const port = await listening(sessions, counting);
    const cookie = await login(sessions);
    const [first, second] = [dial(port, { cookie }), dial(port, { cookie })];
    await Promise.all([once(first, "open"), once(second, "open")]);
    const ends = Promise.all([closed(first), closed(second)]);
    first.send("logout");
    expect(await ends).toEqual([
      [4401, "session ended"],
      [4401, "session ended"],
    ]);
  });

  test("closes when another server ends the session, over session servers", async () => {
    const server = await startSessionServer({ port: 0, secret: SECRET });
    cleanups.push(() => server.close());
    const member = `127.0.0.1:${server.address.port}`;
    const [here, there] = [0, 1].map(() => {
      const store = sessionServers({ members: [member], secret: SECRET });
      cleanups.push(() => store.close());
      return sessionsOver(store);
    }) as [Sessions<Data>, Sessions<Data>];
    const port = await listening(here, counting);
    const cookie = await login(there);
    const ws = dial(port, { cookie });
    await once(ws, "open");
    expect(await say(ws, "count")).toBe("1");
    const end = closed(ws);
    expect(await there.endAll("ada")).toBe(1);
    expect(await end).toEqual([4401, "session ended"]);
  });

  test("closes when another server ends the session, over a store that must be asked", async () => {
    const memory = memoryStore();
    const here = sessionsOver(new GatedStore(memory));
    const port = await listening(here, counting, { pollMs: 50 });
    const cookie = await login(here);
    const ws = dial(port, { cookie });
    await once(ws, "open");
    const end = closed(ws);
    await request(sessionsOver(memory), cookie, (session) => session.destroy());
    expect(await end).toEqual([4401, "session ended"]);
  });

  test("closes when the id is renewed: who logs in connects again", async () => {
    const sessions = sessionsOver(memoryStore());
    const port = await listening(sessions, counting);
    const cookie = await login(sessions);
    const ws = dial(port, { cookie });
    await once(ws, "open");
    const end = closed(ws);
    await request(sessions, cookie, (session) => session.renew({ principal: "eve" }));
    expect(await end).toEqual([4401, "session renewed"]);
  });

  test.each([
    ["a store that tells", (store: MemoryStore) => store],
    ["a store that must be asked", (store: MemoryStore) => new GatedStore(store)],
  ])("closes at the idle timeout, over %s: messages keep no session alive, touch() does", async (_, over) => {
    const clock = new FakeClock();
    const store = over(memoryStore({ clock }));
    const idleTimeoutMs = 600_000;
    const sessions = createSessions<Data>({ store, secret: SECRET, clock, idleTimeoutMs });
    const port = await listening(sessions, (visitor, ws) => {
      ws.on("message", async (data) => {
        const acting = String(data) === "touch" ? visitor.touch() : visitor.use((s) => s.set("count", 1));
        await acting.catch(() => {});
        ws.send("done");
      });
    });
    const [idle, active] = await Promise.all(
      [0, 1].map(async () => {
        const cookie = await login(sessions);
        // The browser has shown that it holds the cookie.
        await request(sessions, cookie, () => {});
        const ws = dial(port, { cookie });
        await once(ws, "open");
        return ws;
      }),
    );
    const ends: unknown[] = [];
    closed(idle!).then((end) => ends.push(...end));
    for (let passedMs = 0; passedMs < idleTimeoutMs; passedMs += idleTimeoutMs / 4) {
      await Promise.all([say(idle!, "write"), say(active!, "touch")]);
      clock.advance(idleTimeoutMs / 4);
    }
    expect(ends).toEqual([]);
    await until(() => {
      // Less at a time than a request waits for its store.
      clock.advance(400);
      return ends.length > 0;
    });
    expect(ends).toEqual([4401, "session expired"]);
    expect(await say(active!, "touch")).toBe("done");
  });

  test("is cut off when its peer does not answer the close frame", async () => {
    const sessions = sessionsOver(memoryStore());
    const port = await listening(sessions, counting);
    const cookie = await login(sessions);
    const peer = connect(port, "127.0.0.1");
    cleanups.push(() => peer.destroy());
    peer.write(handshake(cookie));
    await once(peer, "data");
    peer.on("error", () => {});
    const gone = once(peer, "close");
    peer.resume();
    await sessions.endAll("ada");
    // Nothing is ever sent back, and the server's side of the connection still ends.
    await gone;
  });

  test("stops waiting when it closes by itself", async () => {
    const memory = memoryStore();
    const sessions = sessionsOver(memory);
    const port = await listening(sessions, counting);
    const ws = dial(port, { cookie: await login(sessions) });
    await once(ws, "open");
    await until(() => memory.stats().watches === 1);
    ws.close();
    await until(() => memory.stats().watches === 0);
  });

  test("use() refuses after the end, stores nothing when the work throws, and cannot renew", async () => {
    const sessions = sessionsOver(memoryStore());
    const opened = socketSessions(sessions);
    const cookie = await login(sessions);
    const visitor = (await opened.open({ headers: { cookie } } as IncomingMessage))!;
    cleanups.push(() => visitor.close());
    expect(visitor.principal).toBe("ada");
    await expect(
      visitor.use((session) => {
        session.set("count", 7);
        throw new Error("a bug");
      }),
    ).rejects.toThrow("a bug");
    expect(await visitor.use((session) => session.has("count"))).toBe(false);
    const renewing = visitor.use((session) => (session as unknown as { renew(): Promise<void> }).renew());
    await expect(renewing).rejects.toMatchObject({ code: "LATE_WRITE" });
    const reasons: string[] = [];
    visitor.onEnd((reason) => reasons.push(reason));
    await sessions.endAll("ada");
    await expect(visitor.use(() => {})).rejects.toMatchObject({ code: "SESSION_ENDED" });
    expect([await visitor.touch(), visitor.hasEnded, reasons]).toEqual([false, true, ["ended"]]);
    visitor.onEnd((reason) => reasons.push(reason));
    expect(reasons).toEqual(["ended", "ended"]);
  });
});

describe("a handshake", () => {
  test("without a session that lives is answered 401", async () => {
    const sessions = sessionsOver(memoryStore());
    const port = await listening(sessions, counting);
    const cookie = await login(sessions);
    await sessions.endAll("ada");
    for (const headers of [{}, { cookie }, { cookie: "sid=forged" }]) {
      expect((await refused(dial(port, headers as Record<string, string>))).statusCode).toBe(401);
    }
  });

  test("from a page of another origin is answered 403, whatever its cookie", async () => {
    const sessions = sessionsOver(memoryStore());
    const port = await listening(sessions, counting);
    const cookie = await login(sessions);
    for (const origin of ["https://evil.example", "null", `http://127.0.0.1:${port + 1}`]) {
      expect((await refused(dial(port, { cookie, origin }))).statusCode).toBe(403);
    }
    const own = dial(port, { cookie, origin: `http://127.0.0.1:${port}` });
    await once(own, "open");
  });

  test("from an origin that the application allows is taken", async () => {
    const sessions = sessionsOver(memoryStore());
    const isAllowedOrigin = (origin: string) => origin === "https://app.example";
    const port = await listening(sessions, counting, { isAllowedOrigin });
    const cookie = await login(sessions);
    await once(dial(port, { cookie, origin: "https://app.example" }), "open");
    expect((await refused(dial(port, { cookie, origin: "https://evil.example" }))).statusCode).toBe(403);
  });

  test("while the store is away is answered 503 with Retry-After, also where requests would go on without it", async () => {
    const store = new GatedStore(memoryStore());
    const sessions = createSessions<Data>({ store, secret: SECRET, onStoreUnavailable: "anonymous" });
    const port = await listening(sessions, counting);
    const cookie = await login(sessions);
    store.before = () => {
      throw new SessionError("STORE_UNAVAILABLE", "Cannot reach the store: it is down");
    };
    const { statusCode, headers } = await refused(dial(port, { cookie }));
    expect([statusCode, headers["retry-after"]]).toEqual([503, "1"]);
  });

  test("whose browser leaves meanwhile leaves nothing behind", async () => {
    const memory = memoryStore();
    const store = new GatedStore(memory);
    const sessions = sessionsOver(store);
    const cookie = await login(sessions);
    let peer: Socket | undefined;
    store.before = async (verb) => {
      if (verb !== "read") return;
      peer!.resetAndDestroy();
      await new Promise((resolve) => setTimeout(resolve, 50));
    };
    const accepted = new Promise<unknown>((resolve) => {
      void upgrading(async (req, socket) => {
        resolve(await socketSessions(sessions).accept(req, socket));
      }).then((port) => {
        peer = connect(port, "127.0.0.1");
        peer.on("error", () => {});
        peer.write(handshake(cookie));
      });
    });
    expect(await accepted).toBe(null);
  });
});

test("a bare upgraded connection is closed, too", async () => {
  const sessions = sessionsOver(memoryStore());
  const sockets = socketSessions(sessions);
  const port = await upgrading(async (req, socket) => {
    const visitor = await sockets.accept(req, socket);
    if (visitor === null) return;
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: own\r\n\r\n");
    visitor.closeWhenEnded(socket);
  });
  const cookie = await login(sessions);
  const peer = connect(port, "127.0.0.1");
  cleanups.push(() => peer.destroy());
  peer.write(handshake(cookie));
  await once(peer, "data");
  peer.resume();
  const end = once(peer, "close");
  await sessions.endAll("ada");
  await end;
});
