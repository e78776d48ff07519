/**
 * One TCP or TLS socket as a `Connection`: frames in, frames out, and the figures by which a slow one is recognised.
 */
import type { Socket } from "node:net";
import type { Clock } from "../../core/clock.ts";
import { isSessionError, SessionError } from "../../core/errors.ts";
import { FrameParser, frameHeader } from "../wire/frame.ts";
import type { Gate } from "./gate.ts";
import type { Connection, ConnectionHandler, ListenLimits } from "./transport.ts";

/** Below this, frames of one turn are copied into one write: one system call and one TLS record instead of many. */
const JOINED_BYTES_MAX = 64 * 1024;

export class FramedSocket implements Connection {
  readonly remote: string;
  readonly #socket: Socket;
  readonly #handler: ConnectionHandler;
  readonly #parser: FrameParser;
  readonly #clock: Clock;
  readonly #gate: Gate | undefined;
  #outgoing: Uint8Array[] = [];
  #outgoingBytes = 0;
  #reading = true;
  /** Received while paused, at most one chunk of the socket's: a pause holds between two frames, not between two chunks. */
  #unread: Buffer | undefined;
  #flushing = false;
  #admitted = false;
  #ended = false;
  #closed = false;
  #error: SessionError | undefined;
  /** When the last byte came, and when the unfinished frame and the untaken bytes began. */
  #heardMs: number;
  #unfinishedSinceMs: number | undefined;
  #untakenSinceMs: number | undefined;
  #written = 0;

  constructor(
    socket: Socket,
    remote: string,
    frameBytesMax: number,
    clock: Clock,
    handler: ConnectionHandler,
    gate?: Gate,
  ) {
    this.remote = remote;
    this.#socket = socket;
    this.#clock = clock;
    this.#handler = handler;
    this.#gate = gate;
    this.#parser = new FrameParser(frameBytesMax);
    this.#heardMs = clock.monotonicMs();
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 10_000);
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("drain", () => handler.drained?.());
    socket.on("end", () => this.close());
    socket.on("error", (cause: NodeJS.ErrnoException) => {
      this.#error ??= networkFault(remote, cause);
    });
    socket.once("close", () => this.#finish());
  }

  get queuedBytes(): number {
    return this.#outgoingBytes + this.#socket.writableLength;
  }

  send(frame: Uint8Array): void {
    if (this.#ended || this.#closed) return;
    this.#outgoing.push(frameHeader(frame.byteLength), frame);
    this.#outgoingBytes += 4 + frame.byteLength;
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.#flush());
  }

  admit(frameBytesMax: number): void {
    this.#admitted = true;
    this.#parser.frameBytesMax = frameBytesMax;
    this.#gate?.admitted(this);
  }

  setReading(reading: boolean): void {
    if (reading === this.#reading) return;
    this.#reading = reading;
    if (!reading) this.#socket.pause();
    // Later, because whoever asks may stand in the middle of a frame.
    else queueMicrotask(() => this.#readOn());
  }

  #readOn(): void {
    const unread = this.#unread;
    this.#unread = undefined;
    if (unread && !this.#ended) this.#receive(unread);
    if (this.#reading && !this.#unread) this.#socket.resume();
  }

  close(): void {
    if (this.#ended) return;
    this.#flush();
    this.#ended = true;
    this.#socket.end();
  }

  destroy(error?: SessionError): void {
    this.#error ??= error;
    this.#ended = true;
    this.#outgoing = [];
    this.#outgoingBytes = 0;
    this.#socket.destroy();
  }

  /** Starts every measure anew. */
  forgive(nowMs: number): void {
    this.#heardMs = nowMs;
    if (this.#unfinishedSinceMs !== undefined) this.#unfinishedSinceMs = nowMs;
    if (this.#untakenSinceMs !== undefined) this.#untakenSinceMs = nowMs;
  }

  /** @returns what is wrong with it, or undefined */
  stalled(nowMs: number, limits: ListenLimits): string | undefined {
    const { stalledTimeoutMs, silenceTimeoutMs } = limits;
    if (this.queuedBytes === 0) this.#untakenSinceMs = undefined;
    else if (this.#untakenSinceMs === undefined || this.#taken() !== this.#written) {
      this.#written = this.#taken();
      this.#untakenSinceMs = nowMs;
    }
    const late = (sinceMs: number | undefined): boolean =>
      sinceMs !== undefined && nowMs - sinceMs >= stalledTimeoutMs;
    if (late(this.#unfinishedSinceMs)) return `a frame was not finished within ${stalledTimeoutMs} ms`;
    if (late(this.#untakenSinceMs)) return `it took nothing of what was sent for ${stalledTimeoutMs} ms`;
    if (nowMs - this.#heardMs >= silenceTimeoutMs && !this.#socket.isPaused()) {
      return `it was silent for ${silenceTimeoutMs} ms`;
    }
    return undefined;
  }

  #taken(): number {
    return this.#socket.bytesWritten - this.#socket.writableLength;
  }

  #receive(chunk: Buffer): void {
    this.#heardMs = this.#clock.monotonicMs();
    if (!this.#reading) {
      this.#unread = this.#unread ? Buffer.concat([this.#unread, chunk]) : chunk;
      return;
    }
    const before = this.#parser.bufferedBytes;
    let frames = 0;
    try {
      const taken = this.#parser.push(chunk, (frame) => {
        if (this.#ended) return false;
        frames++;
        this.#handler.frame(frame);
        return !this.#ended && this.#reading;
      });
      if (taken < chunk.length && !this.#ended) this.#unread = chunk.subarray(taken);
    } catch (error) {
      this.#cut(
        isSessionError(error)
          ? error
          : new SessionError("INVALID_FRAME", `Cannot handle a frame of ${this.remote}`, { cause: error }),
      );
    }
    const held = this.#parser.bufferedBytes;
    if (held === 0) this.#unfinishedSinceMs = undefined;
    else if (frames > 0 || before === 0) this.#unfinishedSinceMs = this.#heardMs;
    if (this.#gate && held !== before && !this.#gate.hold(held - before)) {
      this.destroy(
        new SessionError("TOO_MANY_CONNECTIONS", "Cannot keep the frame: too many unfinished ones"),
      );
    }
  }

  #cut(error: SessionError): void {
    const refusal = this.#admitted ? undefined : this.#gate?.refusal;
    if (refusal === undefined || this.#ended) {
      this.destroy(error);
      return;
    }
    this.send(refusal);
    this.#error ??= error;
    this.#flush();
    this.#ended = true;
    this.#socket.destroySoon();
  }

  #flush(): void {
    this.#flushing = false;
    const frames = this.#outgoing;
    if (frames.length === 0 || this.#socket.destroyed) return;
    this.#outgoing = [];
    const bytes = this.#outgoingBytes;
    this.#outgoingBytes = 0;
    if (bytes <= JOINED_BYTES_MAX) {
      this.#socket.write(Buffer.concat(frames, bytes));
      return;
    }
    this.#socket.cork();
    for (const frame of frames) this.#socket.write(frame);
    this.#socket.uncork();
  }

  #finish(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ended = true;
    this.#gate?.hold(-this.#parser.bufferedBytes);
    this.#handler.closed(this.#error);
  }
}

const FOUND: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "it cut the connection",
  EPIPE: "it cut the connection",
  ENOTFOUND: "no such host",
  ETIMEDOUT: "it did not answer",
  EHOSTUNREACH: "there is no way to it",
  ENETUNREACH: "there is no way to it",
};

function networkFault(remote: string, cause: NodeJS.ErrnoException): SessionError {
  const found = FOUND[cause.code ?? ""] ?? cause.code ?? cause.message;
  return new SessionError("STORE_UNAVAILABLE", `Cannot talk to ${remote}: ${found}`, { cause });
}
