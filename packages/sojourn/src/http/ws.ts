/**
 * Sessions for WebSockets and other upgraded connections: the handshake is authenticated by the session cookie, each
 * message reads the session as it is then, and the connection closes when the session ends.
 *
 *   const sockets = socketSessions(sessions);
 *   server.on("upgrade", async (req, socket, head) => {
 *     const visitor = await sockets.accept(req, socket);
 *     if (visitor === null) return; // answered: no session, another origin, or the store is away
 *     wss.handleUpgrade(req, socket, head, (ws) => {
 *       visitor.closeWhenEnded(ws);
 *       ws.on("message", (data) => visitor.use((session) => session.set("draft", String(data))));
 *     });
 *   });
 *
 * Decided here:
 * - A message is no activity of the visitor: an open tab must not keep a session alive. Call `touch()` where it is one.
 * - A renewed id closes the sockets of the old one: whoever logs in is somebody else, and the page connects again with
 *   its new cookie.
 * - Browsers send cookies with handshakes from foreign pages, and no CORS protects them; so `accept` compares `Origin`.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { systemClock } from "../core/clock.ts";
import { isSessionError, SessionError } from "../core/errors.ts";
import { refusalBody } from "../sessions/answer.ts";
import type { Sessions } from "../sessions/create-sessions.ts";
import type { EndListener, EndReason } from "../sessions/end-watch.ts";
import type { DefaultData, Session } from "../sessions/session.ts";
import type { VisitOptions } from "../sessions/visit-options.ts";
import { reasonOf } from "./answer.ts";

export type { EndListener, EndReason } from "../sessions/end-watch.ts";

/** The application's own range; "4401" reads like 401. */
export const CLOSE_CODE_DEFAULT = 4401;
/** A peer that does not answer the close frame is cut off after this long. */
const CLOSE_GRACE_MS = 1_000;

/** An empty session in place of one that cannot be read would look like one that has ended. */
const VISIT: VisitOptions = { passive: true, onStoreUnavailable: "fail" };

export interface SocketSessionsOptions {
  /** For stores that do not tell of changes (Redis): how often they are asked for each session, ± 25 %. Default 5,000. */
  readonly pollMs?: number;
  /**
   * Whether a page of this origin may connect. Default: only those of the request's own `Host`. Called only when there is
   * an `Origin`: clients that are no browsers send none.
   */
  readonly isAllowedOrigin?: (origin: string, req: IncomingMessage) => boolean;
}

/** What a message may do with the session. Nothing that needs a cookie: those throw LATE_WRITE. */
export type SocketData<Data extends object> = Omit<Session<Data>, "renew" | "start" | "commit">;

/** A `WebSocket` of the package ws, or anything that closes like one. */
export interface ClosableSocket {
  close(code: number, reason: string): void;
  terminate(): void;
  once(event: "close", listener: () => void): unknown;
}

export interface SocketSession<Data extends object> {
  /** As at the handshake; it cannot change while the session lives under this id. */
  readonly principal: string | null;
  readonly hasEnded: boolean;
  /**
   * Loads the session as it is now, runs `work`, and stores what it changed, as one request would. Nothing is stored when
   * `work` throws.
   *
   * @throws {SessionError} SESSION_ENDED when it has ended (and the socket closes), whatever the store says, and what
   *         `work` throws
   */
  use<T>(work: (session: SocketData<Data>) => T | Promise<T>): Promise<T>;
  /** The visitor did something: moves the idle deadline. @returns false when the session has ended */
  touch(): Promise<boolean>;
  /** Calls `listener` once when the session has ended, at once if it has already. @returns stops waiting */
  onEnd(listener: EndListener): () => void;
  /**
   * Closes `socket` when the session has ended; a WebSocket with `code` and the reason, and cut off if it does not answer,
   * a bare connection at once. Stops waiting when the socket closes by itself.
   *
   * @param code  default 4401
   */
  closeWhenEnded(socket: ClosableSocket | Duplex, code?: number): void;
  /** Stops waiting for the end. `closeWhenEnded` does it with the socket. */
  close(): void;
}

export interface SocketSessions<Data extends object> {
  /**
   * The session that the handshake's cookie names, or null when it names none that lives. Neither `Origin` is looked at
   * nor anything answered: for libraries with an answer of their own (Socket.IO).
   *
   * @throws {SessionError} STORE_UNAVAILABLE and its kin
   */
  open(req: IncomingMessage): Promise<SocketSession<Data> | null>;
  /** As `open`; when there is no session to give, answers the handshake: 401, 403 for a foreign page, 503. Never rejects. */
  accept(req: IncomingMessage, socket: Duplex): Promise<SocketSession<Data> | null>;
}

type Source<Data extends object> = Pick<Sessions<Data>, "open" | "onEnd">;

export function socketSessions<Data extends object = DefaultData>(
  sessions: Source<Data>,
  options: SocketSessionsOptions = {},
): SocketSessions<Data> {
  const { isAllowedOrigin = isSameOrigin, pollMs } = options;
  async function open(req: IncomingMessage): Promise<SocketSession<Data> | null> {
    const { cookie } = req.headers;
    const scope = sessions.open({ cookie, secure: true, headersSent: true });
    const session = await scope.session(VISIT);
    return session.id === null ? null : new OpenSocket(sessions, cookie, session, pollMs);
  }
  return {
    open,
    async accept(req, socket) {
      // Nobody else listens yet, and an error that nobody hears ends the process.
      const ignore = () => {};
      socket.on("error", ignore);
      const { origin } = req.headers;
      if (origin !== undefined && !isAllowedOrigin(origin, req)) {
        refuse(socket, 403);
        return null;
      }
      try {
        const opened = await open(req);
        if (opened !== null && !socket.destroyed) {
          socket.removeListener("error", ignore);
          return opened;
        }
        opened?.close();
        refuse(socket, 401);
      } catch (error) {
        if (isSessionError(error)) refuse(socket, error.status, error);
        else refuse(socket, 500);
      }
      return null;
    },
  };
}

class OpenSocket<Data extends object> implements SocketSession<Data> {
  readonly principal: string | null;
  readonly #sessions: Source<Data>;
  readonly #cookie: string | undefined;
  readonly #listeners = new Set<EndListener>();
  readonly #stopWaiting: () => void;
  #reason: EndReason | undefined;

  constructor(
    sessions: Source<Data>,
    cookie: string | undefined,
    session: Session<Data>,
    pollMs: number | undefined,
  ) {
    this.principal = session.principal;
    this.#sessions = sessions;
    this.#cookie = cookie;
    const options = pollMs === undefined ? {} : { pollMs };
    this.#stopWaiting = sessions.onEnd(session, (reason) => this.#ended(reason), options);
  }

  get hasEnded(): boolean {
    return this.#reason !== undefined;
  }

  async use<T>(work: (session: SocketData<Data>) => T | Promise<T>): Promise<T> {
    return this.#visit(async (session, settle) => {
      const result = await work(session);
      await settle();
      return result;
    });
  }

  async touch(): Promise<boolean> {
    try {
      return await this.#visit((session) => session.touch());
    } catch (error) {
      if (isSessionError(error) && error.code === "SESSION_ENDED") return false;
      throw error;
    }
  }

  onEnd(listener: EndListener): () => void {
    if (this.#reason !== undefined) listener(this.#reason);
    else this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  closeWhenEnded(socket: ClosableSocket | Duplex, code = CLOSE_CODE_DEFAULT): void {
    this.onEnd((reason) => {
      if (!("terminate" in socket)) {
        socket.destroy();
        return;
      }
      socket.close(code, `session ${reason}`);
      const cutOff = systemClock.setTimer(() => socket.terminate(), CLOSE_GRACE_MS);
      socket.once("close", () => cutOff.cancel());
    });
    socket.once("close", () => this.close());
  }

  close(): void {
    this.#listeners.clear();
    this.#stopWaiting();
  }

  /** One look at the session, as a request has it; no activity, and no response. */
  async #visit<T>(work: (session: Session<Data>, settle: () => Promise<void>) => Promise<T>): Promise<T> {
    if (this.#reason !== undefined) throw hasEnded();
    const scope = this.#sessions.open({ cookie: this.#cookie, secure: true, headersSent: true });
    try {
      const session = await scope.session(VISIT);
      if (session.id === null) throw hasEnded();
      return await work(session, async () => {
        const outcome = await scope.settle();
        if (outcome?.ok !== false) return;
        throw new SessionError(outcome.code, "Cannot store what a message changed in its session");
      });
    } finally {
      scope.close();
    }
  }

  #ended(reason: EndReason): void {
    this.#reason = reason;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener(reason);
  }
}

function hasEnded(): SessionError {
  return new SessionError("SESSION_ENDED", "Cannot use the session of a socket: it has ended");
}

function isSameOrigin(origin: string, req: IncomingMessage): boolean {
  return URL.canParse(origin) && new URL(origin).host === req.headers.host;
}

/** Answers a handshake with an ordinary response and ends the connection. */
function refuse(socket: Duplex, status: number, error?: SessionError): void {
  const body = error ? refusalBody(error.code) : "";
  const lines = [
    `HTTP/1.1 ${status} ${reasonOf(status)}`,
    "Connection: close",
    "Cache-Control: no-store",
    ...Object.entries(error?.headers ?? {}).map(([name, value]) => `${name}: ${value}`),
    ...(body ? ["Content-Type: application/json; charset=utf-8"] : []),
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${lines.join("\r\n")}\r\n\r\n${body}`);
}
