/** A client and servers, real or puppets, on a network in memory: time moves by hand, so bounds are exact. */
import { afterEach } from "vitest";
import { newSessionId, type SessionKey, sessionKeyOf } from "../../core/ids.ts";
import type { NewSession } from "../../core/record.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { type SessionServer, startSessionServer } from "../server/session-server.ts";
import { MemoryNetwork } from "../transport/in-memory.ts";
import type { Connection } from "../transport/transport.ts";
import { encodeWelcome, type Hello } from "../wire/hello.ts";
import { encodeReply, type Reply } from "../wire/replies.ts";
import { decodeRequest, type RequestEnvelope } from "../wire/requests.ts";
import { type SessionServersOptions, type SessionServersStore, sessionServers } from "./session-servers.ts";

export const ADDRESS = { host: "127.0.0.1", port: 5701 };
export const MEMBER = "127.0.0.1:5701";

const opened: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
});

export function given(options: Partial<SessionServersOptions> = {}) {
  const clock = new FakeClock();
  const network = new MemoryNetwork(clock);
  const { transport } = network;
  const key = (): SessionKey => sessionKeyOf(newSessionId(clock));
  const session = (at = key()): NewSession => ({
    key: at,
    attributes: new Map([["a", Buffer.from("1")]]),
    expiresAtMs: clock.nowMs() + 600_000,
    absoluteExpiresAtMs: clock.nowMs() + 3_600_000,
  });
  const serve = async (): Promise<SessionServer> => {
    const server = await startSessionServer({ transport, clock, domain: "shop" });
    opened.push({ close: () => server.close({ graceMs: 0 }) });
    return server;
  };
  const client = (more: Partial<SessionServersOptions> = {}): SessionServersStore => {
    const store = sessionServers({
      members: [MEMBER],
      domain: "shop",
      transport,
      clock,
      ...options,
      ...more,
    });
    opened.push({
      close: async () => {
        const closed = store.close();
        await clock.advanceAsync(10_000);
        await closed;
      },
    });
    return store;
  };
  return { clock, network, transport, key, session, serve, client };
}

/** How a promise stands, without waiting for it. */
export function watched<T>(promise: Promise<T>) {
  const state: {
    outcome: "pending" | "ok" | "failed";
    value?: T;
    error?: { code: string; message: string };
  } = {
    outcome: "pending",
  };
  promise.then(
    (value) => Object.assign(state, { outcome: "ok", value }),
    (error) => Object.assign(state, { outcome: "failed", error }),
  );
  return state;
}

export interface Received extends RequestEnvelope {
  readonly connection: Connection;
}

/** A server that says hello and then answers only what the test makes it answer. */
export async function puppet({ transport, clock }: Pick<ReturnType<typeof given>, "transport" | "clock">) {
  const received: Received[] = [];
  const connections: Connection[] = [];
  const ended: Connection[] = [];
  const puppeteer = {
    received,
    connections,
    ended,
    refuse: undefined as Uint8Array | undefined,
    beats: true,
  };
  const identity: Hello = {
    protocols: { min: 1, max: 1 },
    role: "member",
    features: 0,
    domain: "shop",
    member: "puppet",
    incarnation: "0123456789abcdef",
    software: "test",
  };
  await transport.listen(ADDRESS, (connection) => {
    connections.push(connection);
    let greeted = false;
    return {
      frame(frame) {
        const now = { wallMs: clock.nowMs(), authorityMs: clock.monotonicMs() };
        if (!greeted) {
          greeted = true;
          connection.admit(1024 * 1024);
          if (puppeteer.refuse) connection.send(puppeteer.refuse);
          else connection.send(encodeWelcome({ ...identity, protocol: 1, authorityMs: now.authorityMs }));
          return;
        }
        const envelope = decodeRequest(frame, now);
        if (envelope.request.op !== "heartbeat") received.push({ ...envelope, connection });
        else if (puppeteer.beats) {
          const beat: Reply = { op: "heartbeat", authorityMs: now.authorityMs };
          connection.send(encodeReply(envelope.id, beat, now.wallMs));
        }
      },
      closed: () => ended.push(connection),
    };
  });
  return puppeteer;
}

export const notThere = (key: SessionKey): Reply => ({ op: "read", key, record: null });
