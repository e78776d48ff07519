/**
 * The seam between our engine and the network: framed connections, nothing else. TCP (transport/tcp.ts) and the network
 * in memory (transport/in-memory.ts) pass one suite (transport/transport-suite.ts).
 *
 * The transport owns what protects a process from its network: frame sizes, half-open connections, slow senders, slow
 * readers, silence. The protocol above only sees whole frames of callers that behave.
 */
import { SessionError } from "../../core/errors.ts";
import { SESSION_SERVER_PORT } from "../wire/protocol.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What a connection tells its owner. Nothing more is told after `closed`. */
export interface ConnectionHandler {
  /** The other side is reachable and, with a secret, has proved it. Only on the connecting side. */
  opened?(): void;
  /**
   * One whole frame, a view into the receive buffer. Throwing INVALID_FRAME destroys the connection with that error.
   */
  frame(frame: Buffer): void;
  /** What was queued has been taken; told after a `send` that the network did not take at once. */
  drained?(): void;
  /** Once, whoever ended it. Without `error`: the other side ended it in good order. */
  closed(error: SessionError | undefined): void;
}

export interface Connection {
  /** `host:port` of the other side, for messages. */
  readonly remote: string;
  /** Sent and not yet taken by the network. */
  readonly queuedBytes: number;
  /** Frames of the same turn travel together. After the end: ignored. */
  send(frame: Uint8Array): void;
  /** The other side has said who it is: it no longer counts as half open and may send frames up to `frameBytesMax`. */
  admit(frameBytesMax: number): void;
  /** While paused the other side is slowed down by the network itself. */
  setReading(reading: boolean): void;
  /** Ends after everything sent has left; what still arrives is not delivered. */
  close(): void;
  /** Ends now. */
  destroy(error?: SessionError): void;
}

export interface ListenLimits {
  /** All connections, whatever their state. */
  readonly connectionsMax: number;
  /** Connections not admitted yet; one more evicts the oldest, so a flood cannot keep a quick caller out. */
  readonly halfOpenMax: number;
  readonly halfOpenTimeoutMs: number;
  /** An unfinished frame, and bytes that the other side does not take, may be this old. */
  readonly stalledTimeoutMs: number;
  /** Without a single byte from the other side. */
  readonly silenceTimeoutMs: number;
  /** Held for unfinished frames of all connections together. */
  readonly unfinishedBytesMax: number;
}

export const LISTEN_LIMITS: ListenLimits = {
  connectionsMax: 4096,
  halfOpenMax: 256,
  halfOpenTimeoutMs: 5_000,
  stalledTimeoutMs: 10_000,
  silenceTimeoutMs: 30_000,
  unfinishedBytesMax: 128 * 1024 * 1024,
};

export interface ListenOptions {
  readonly limits?: Partial<ListenLimits>;
  /** Called for each caller that the transport turned away, with the reason. Bounded by the owner. */
  readonly refused?: (reason: SessionError, remote: string) => void;
  /** A frame for callers that are cut for what they sent before they were admitted: TLS clients see that here is none. */
  readonly refusal?: Uint8Array;
}

export interface Listener {
  readonly address: Address;
  /** Accepts no more; connections that stand go on. Resolves when the port is free. */
  stop(): Promise<void>;
}

export interface Transport {
  /**
   * @param accept  returns the handler of the new connection, which is half open until `admit`
   * @throws {SessionError} PORT_TAKEN
   */
  listen(
    address: Address,
    accept: (connection: Connection) => ConnectionHandler,
    options?: ListenOptions,
  ): Promise<Listener>;
  /** Never throws: what goes wrong arrives at `handler.closed`. */
  connect(address: Address, handler: ConnectionHandler): Connection;
}

/**
 * `host`, `host:port`, `[v6]` or `[v6]:port`.
 *
 * @throws {SessionError} INVALID_OPTION
 */
export function parseAddress(text: string, defaultPort: number = SESSION_SERVER_PORT): Address {
  const match = /^(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([A-Za-z0-9_.-]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (host === undefined || port > 65_535 || (port === 0 && defaultPort !== 0)) {
    throw new SessionError(
      "INVALID_OPTION",
      `Cannot use "${text.slice(0, 100)}" as an address: expected host:port, for example 127.0.0.1:${SESSION_SERVER_PORT}`,
    );
  }
  return { host, port };
}

export function addressText({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Nothing beyond this machine can reach such an address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}
