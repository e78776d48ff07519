/** For tests of WebSockets: an application that takes them, and browsers that dial it. */
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocket, WebSocketServer } from "ws";
import type { SessionError } from "../core/errors.ts";
import { createSessions, type Sessions } from "../sessions/create-sessions.ts";
import type { SessionsOptions } from "../sessions/options.ts";
import type { SessionStore } from "../store/store.ts";
import { type SocketSession, type SocketSessionsOptions, socketSessions } from "./ws.ts";

export interface Data {
  count: number;
}

export const SECRET = "a secret of the socket tests";
export const cleanups: (() => unknown)[] = [];

/** After each test. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

export function sessionsOver(store: SessionStore, options: SessionsOptions = {}): Sessions<Data> {
  const sessions = createSessions<Data>({ store, secret: SECRET, onDiagnostic: () => {}, ...options });
  cleanups.push(() => sessions.close());
  return sessions;
}

/** A browser's cookie, after a login. */
export async function login(sessions: Sessions<Data>): Promise<string> {
  const scope = sessions.open({ cookie: undefined, secure: false });
  await (await scope.session()).renew({ principal: "ada" });
  const outcome = await scope.settle();
  scope.close();
  return outcome!.setCookies[0]!.split(";")[0]!;
}

/** One HTTP request with that cookie, on whatever server. */
export async function request<T>(
  sessions: Sessions<Data>,
  cookie: string,
  handle: (session: Awaited<ReturnType<ReturnType<Sessions<Data>["open"]>["session"]>>) => T,
): Promise<Awaited<T>> {
  const scope = sessions.open({ cookie, secure: false });
  const result = await handle(await scope.session());
  await scope.settle();
  scope.close();
  return result;
}

export type OnSocket = (visitor: SocketSession<Data>, ws: WebSocket) => void;

/** An application that takes WebSockets; `onSocket` is its part. */
export async function listening(
  sessions: Sessions<Data>,
  onSocket: OnSocket,
  options?: SocketSessionsOptions,
): Promise<number> {
  const sockets = socketSessions(sessions, options);
  const wss = new WebSocketServer({ noServer: true });
  return upgrading(async (req, socket, head) => {
    const visitor = await sockets.accept(req, socket);
    if (visitor === null) return;
    wss.handleUpgrade(req, socket, head, (ws) => {
      visitor.closeWhenEnded(ws);
      onSocket(visitor, ws);
    });
  });
}

export async function upgrading(
  handle: (req: IncomingMessage, socket: Duplex, head: Buffer) => unknown,
): Promise<number> {
  const server = createServer((_, res) => res.end());
  server.on("upgrade", handle);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

export function dial(port: number, headers: Record<string, string> = {}): WebSocket {
  const ws = new WebSocket(`ws://127.0.0.1:${port}/`, { headers });
  cleanups.push(() => {
    // One that was refused has nothing to cut off, and says so.
    ws.on("error", () => {});
    ws.terminate();
  });
  return ws;
}

export async function closed(ws: WebSocket): Promise<[code: number, reason: string]> {
  const [code, reason] = (await once(ws, "close")) as [number, Buffer];
  return [code, String(reason)];
}

/** The status with which a handshake was refused. */
export async function refused(ws: WebSocket): Promise<IncomingMessage> {
  const [, response] = (await once(ws, "unexpected-response")) as [unknown, IncomingMessage];
  return response;
}

export const counting: OnSocket = (visitor, ws) => {
  ws.on("message", async (data) => {
    try {
      if (String(data) === "logout") await visitor.use((session) => session.destroy());
      else if (String(data) === "read") ws.send(String(await visitor.use((session) => session.get("count"))));
      else ws.send(String(await visitor.use((session) => session.update("count", (n = 0) => n + 1))));
    } catch (error) {
      ws.send((error as SessionError).code);
    }
  });
};

export async function say(ws: WebSocket, text: string): Promise<string> {
  const answer = once(ws, "message");
  ws.send(text);
  return String(((await answer) as [Buffer])[0]);
}

export function handshake(cookie: string): string {
  return [
    "GET / HTTP/1.1",
    "Host: 127.0.0.1",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    `Cookie: ${cookie}`,
    "\r\n",
  ].join("\r\n");
}

export async function until(holds: () => boolean): Promise<void> {
  const giveUpAtMs = Date.now() + 5_000;
  while (!holds()) {
    if (Date.now() > giveUpAtMs) throw new Error("it never came true");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
