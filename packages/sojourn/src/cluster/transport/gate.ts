/**
 * Who may be connected to a listener: counts, evicts, and sweeps. Every check is O(1) per connection and second, so being
 * flooded costs little more than the accepts themselves.
 */
import type { Socket } from "node:net";
import type { Clock, Timer } from "../../core/clock.ts";
import { SessionError } from "../../core/errors.ts";
import type { FramedSocket } from "./framed-socket.ts";
import type { ListenLimits, ListenOptions } from "./transport.ts";

const SWEEP_INTERVAL_MS = 1_000;
/** A sweep this late means that the process itself was away. */
const AWAY_MS = 1_000;

interface HalfOpen {
  readonly socket: Socket;
  sinceMs: number;
}

export class Gate {
  readonly #limits: ListenLimits;
  readonly #options: ListenOptions;
  readonly #clock: Clock;
  /** Who has not said who it is, by remote address, oldest first. */
  readonly #halfOpen = new Map<string, HalfOpen>();
  readonly #connections = new Set<FramedSocket>();
  #unfinishedBytes = 0;
  #sweepDueMs = 0;
  #timer: Timer | undefined;

  constructor(limits: ListenLimits, options: ListenOptions, clock: Clock) {
    this.#limits = limits;
    this.#options = options;
    this.#clock = clock;
  }

  /** See ListenOptions. */
  get refusal(): Uint8Array | undefined {
    return this.#options.refusal;
  }

  start(): void {
    this.#sweepDueMs = this.#clock.monotonicMs() + SWEEP_INTERVAL_MS;
    this.#timer = this.#clock.setTimer(() => this.#sweep(), SWEEP_INTERVAL_MS);
  }

  /** Callers that never said who they are do not delay a stop. */
  stopping(): void {
    for (const { socket } of this.#halfOpen.values()) socket.destroy();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** A new raw socket. @returns false when it was turned away at once */
  knock(socket: Socket, remote: string): boolean {
    // Until a FramedSocket listens: a reset during the handshake must not become an uncaught error.
    socket.on("error", () => undefined);
    if (this.#connections.size >= this.#limits.connectionsMax) {
      this.#turnAway(socket, remote, `${this.#limits.connectionsMax} are connected`);
      return false;
    }
    this.#halfOpen.set(remote, { socket, sinceMs: this.#clock.monotonicMs() });
    socket.once("close", () => {
      if (this.#halfOpen.get(remote)?.socket === socket) this.#halfOpen.delete(remote);
    });
    if (this.#halfOpen.size > this.#limits.halfOpenMax) {
      const [oldest] = this.#halfOpen;
      if (oldest) {
        this.#turnAway(oldest[1].socket, oldest[0], `${this.#limits.halfOpenMax} others have not said hello`);
      }
    }
    return true;
  }

  enter(connection: FramedSocket): void {
    this.#connections.add(connection);
  }

  admitted(connection: FramedSocket): void {
    this.#halfOpen.delete(connection.remote);
  }

  leave(connection: FramedSocket): void {
    this.#connections.delete(connection);
  }

  /** Accounts what unfinished frames hold. @returns false when this connection asks for more than there is */
  hold(bytesMore: number): boolean {
    this.#unfinishedBytes += bytesMore;
    return bytesMore <= 0 || this.#unfinishedBytes <= this.#limits.unfinishedBytesMax;
  }

  #turnAway(socket: Socket, remote: string, found: string): void {
    this.#halfOpen.delete(remote);
    this.#options.refused?.(
      new SessionError("TOO_MANY_CONNECTIONS", `Cannot accept ${remote}: ${found}`),
      remote,
    );
    socket.destroy();
  }

  #sweep(): void {
    const nowMs = this.#clock.monotonicMs();
    const away = nowMs - this.#sweepDueMs > AWAY_MS;
    this.start();
    if (away) {
      // Everyone looks late after our own absence; the next sweep has seen what they really sent.
      for (const connection of this.#connections) connection.forgive(nowMs);
      for (const each of this.#halfOpen.values()) each.sinceMs = nowMs;
      return;
    }
    for (const [remote, { socket, sinceMs }] of this.#halfOpen) {
      if (nowMs - sinceMs < this.#limits.halfOpenTimeoutMs) break;
      this.#turnAway(socket, remote, `no hello within ${this.#limits.halfOpenTimeoutMs} ms`);
    }
    for (const connection of this.#connections) {
      const found = connection.stalled(nowMs, this.#limits);
      if (found === undefined) continue;
      const reason = new SessionError("INVALID_FRAME", `Cannot go on with ${connection.remote}: ${found}`);
      this.#options.refused?.(reason, connection.remote);
      connection.destroy(reason);
    }
  }
}
