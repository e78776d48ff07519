/** The store contract over real sockets, plain and inside TLS: the client passes everything that memory passes. */
import { describe, test } from "vitest";
import { systemClock, type Timer } from "../../core/clock.ts";
import { encryptedStore } from "../../store/encrypted.ts";
import type { SessionStore } from "../../store/store.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { registerConformance } from "../../testing/store-conformance.ts";
import { startSessionServer } from "../server/session-server.ts";
import { type SessionServersStore, sessionServers } from "./session-servers.ts";

const SECRET = "conformance suite secret";

/** Time moves by hand, so deadlines are exact; sockets and what waits for them run on. */
class HandMovedClock extends FakeClock {
  override setTimer(callback: () => void, delayMs: number): Timer {
    return systemClock.setTimer(callback, delayMs);
  }
}

function harness(
  name: string,
  secret: string | undefined,
  around: (store: SessionServersStore) => SessionStore = (store) => store,
) {
  const open = async (maxBytes?: number) => {
    const clock = new HandMovedClock();
    const security = secret === undefined ? {} : { secret };
    const server = await startSessionServer({
      port: 0,
      clock,
      domain: "shop",
      ...security,
      ...(maxBytes === undefined ? {} : { maxBytes }),
    });
    const members = [`127.0.0.1:${server.address.port}`];
    const client = () =>
      around(sessionServers({ members, domain: "shop", clock, timeoutMs: 5_000, ...security }));
    const [store, second] = [client(), client()];
    return {
      store,
      second,
      clock: {
        nowMs: () => clock.nowMs(),
        advance: async (ms: number) => clock.advance(ms),
        stepWall: (ms: number) => clock.stepWall(ms),
      },
      async close() {
        await Promise.all([store.close(), second.close()]);
        await server.close();
      },
    };
  };
  return { name, open: () => open(), openSmall: () => open(400_000) };
}

registerConformance({ test, describe }, harness("session servers over TCP", undefined));
registerConformance({ test, describe }, harness("session servers over TLS", SECRET));
registerConformance(
  { test, describe },
  harness("encrypted, on session servers over TCP", undefined, (store) =>
    encryptedStore(store, { keys: [{ id: "2026-11", key: "a key for the conformance suite, long enough" }] }),
  ),
);
