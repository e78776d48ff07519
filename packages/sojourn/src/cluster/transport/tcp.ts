/**
 * Framed connections over TCP, inside TLS 1.3 when there is a secret.
 *
 * All hygiene of a listener runs in one sweep a second instead of a timer per connection. A sweep that comes late (the
 * process was stopped, or a collection took long) judges nobody: first the sockets must be drained.
 */
import { createServer, type Server, type Socket, connect as tcpConnect } from "node:net";
import { createServer as createTlsServer, connect as tlsConnect } from "node:tls";
import { type Clock, systemClock } from "../../core/clock.ts";
import { SessionError } from "../../core/errors.ts";
import { HELLO_BYTES_MAX } from "../wire/protocol.ts";
import { FramedSocket } from "./framed-socket.ts";
import { Gate } from "./gate.ts";
import { clientOptions, isNotTls, isWrongSecret, type Security, serverOptions, wrongSecret } from "./psk.ts";
import {
  type Address,
  addressText,
  type Connection,
  type ConnectionHandler,
  LISTEN_LIMITS,
  type Listener,
  type ListenLimits,
  type ListenOptions,
  type Transport,
} from "./transport.ts";

export interface TcpOptions {
  readonly clock?: Clock;
  readonly security?: Security | undefined;
}

export function tcpTransport({ clock = systemClock, security }: TcpOptions = {}): Transport {
  // A client with several secrets tries the next one when a server does not know this one.
  let keyIndex = 0;
  return {
    listen: (address, accept, options) => listenTcp(address, accept, options ?? {}, clock, security),
    connect(address, handler) {
      const remote = addressText(address);
      const key = security?.keys[keyIndex % security.keys.length];
      const options = { host: address.host, port: address.port };
      const socket =
        security && key
          ? tlsConnect({ ...options, ...clientOptions(security.domain, key) })
          : tcpConnect({ ...options, autoSelectFamily: true });
      let open = false;
      const framed = new FramedSocket(socket, remote, HELLO_BYTES_MAX, clock, {
        frame: (frame) => handler.frame(frame),
        closed(error) {
          if (open) return handler.closed(error);
          const reason = connectFault(error, remote, security);
          if (reason.code === "WRONG_SECRET") keyIndex++;
          handler.closed(reason);
        },
        drained: () => handler.drained?.(),
      });
      // Whoever waits for an answer keeps the process alive; an idle connection does not.
      socket.unref();
      socket.once(security ? "secureConnect" : "connect", () => {
        open = true;
        handler.opened?.();
      });
      return framed;
    },
  };
}

/** What a failed connect means, in words that say what to do. */
function connectFault(
  error: SessionError | undefined,
  remote: string,
  security: Security | undefined,
): SessionError {
  const cause = error?.cause as NodeJS.ErrnoException | undefined;
  if (cause && isNotTls(cause)) {
    // Not WRONG_SECRET: a server without one looks like this, and so does a port or a link that talks rubbish.
    return new SessionError(
      "INVALID_FRAME",
      `Cannot connect with ${remote}: it does not speak TLS; perhaps it was started without a secret, this side has one`,
      { cause },
    );
  }
  if (security && cause && isWrongSecret(cause))
    return wrongSecret(`Cannot connect with ${remote}`, security.domain, cause);
  return error ?? new SessionError("STORE_UNAVAILABLE", `Cannot connect with ${remote}: it hung up`);
}

async function listenTcp(
  address: Address,
  accept: (connection: Connection) => ConnectionHandler,
  options: ListenOptions,
  clock: Clock,
  security: Security | undefined,
): Promise<Listener> {
  const limits: ListenLimits = { ...LISTEN_LIMITS, ...options.limits };
  const gate = new Gate(limits, options, clock);
  const established = (socket: Socket, remote: string): void => {
    const connection = new FramedSocket(
      socket,
      remote,
      HELLO_BYTES_MAX,
      clock,
      {
        frame: (frame) => handler.frame(frame),
        closed(error) {
          gate.leave(connection);
          handler.closed(error);
        },
        drained: () => handler.drained?.(),
      },
      gate,
    );
    gate.enter(connection);
    const handler = accept(connection);
  };
  const tls = security ? createTlsServer(serverOptions(security, limits.halfOpenTimeoutMs)) : undefined;
  const server = createServer((raw) => {
    const remote = remoteText(raw);
    if (!gate.knock(raw, remote)) return;
    // The limits come before the handshake: a TLS server only sees callers that fit.
    if (tls) tls.emit("connection", raw);
    else established(raw, remote);
  });
  server.maxConnections = limits.connectionsMax + limits.halfOpenMax;
  tls?.on("secureConnection", (socket) => established(socket, remoteText(socket)));
  tls?.on("tlsClientError", (error: NodeJS.ErrnoException, socket) => {
    const remote = remoteText(socket);
    socket.destroy();
    // Connected and hung up: someone looks whether the port is open. Not worth a line for each look.
    if (error.code === "ECONNRESET") return;
    options.refused?.(handshakeFault(error, remote, security as Security), remote);
  });
  await listening(server, address);
  const bound = server.address();
  gate.start();
  return {
    address: { host: address.host, port: typeof bound === "object" && bound ? bound.port : address.port },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => {
          gate.stop();
          resolve();
        });
        gate.stopping();
      }),
  };
}

function remoteText(socket: Socket): string {
  const { remoteAddress, remotePort } = socket;
  // Gone already, and its address with it.
  if (remoteAddress === undefined) return "a caller that hung up";
  return addressText({ host: remoteAddress, port: remotePort ?? 0 });
}

function handshakeFault(error: NodeJS.ErrnoException, remote: string, security: Security): SessionError {
  if (isWrongSecret(error)) return wrongSecret(`Cannot accept ${remote}`, security.domain, error);
  if (isNotTls(error)) {
    return new SessionError(
      "WRONG_SECRET",
      `Cannot accept ${remote}: it speaks without TLS; it has no secret for domain "${security.domain}"`,
    );
  }
  return new SessionError("INVALID_FRAME", `Cannot accept ${remote}: the TLS handshake was not finished`, {
    cause: error,
  });
}

function listening(server: Server, address: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const text = addressText(address);
      reject(
        error.code === "EADDRINUSE"
          ? new SessionError("PORT_TAKEN", `Cannot listen on ${text}: port ${address.port} is in use`, {
              cause: error,
            })
          : new SessionError("INVALID_OPTION", `Cannot listen on ${text}: ${error.message}`, {
              cause: error,
            }),
      );
    });
    server.listen(address.port, address.host, () => {
      server.removeAllListeners("error");
      // Out of file descriptors and the like: this caller is lost, the server is not.
      server.on("error", () => undefined);
      resolve();
    });
  });
}
