/**
 * A network inside one process, for tests and simulation: the `Transport` contract over queues, with faults that real
 * networks have. Time and order come from the clock alone, so a run with a seeded clock repeats.
 */
import type { Clock, Timer } from "../../core/clock.ts";
import { isSessionError, SessionError } from "../../core/errors.ts";
import { invalidFrame } from "../wire/bytes.ts";
import { HELLO_BYTES_MAX } from "../wire/protocol.ts";
import {
  type Address,
  addressText,
  type Connection,
  type ConnectionHandler,
  LISTEN_LIMITS,
  type ListenLimits,
  type ListenOptions,
  type Transport,
} from "./transport.ts";

interface Listening {
  readonly limits: ListenLimits;
  readonly options: ListenOptions;
  readonly accept: (connection: Connection) => ConnectionHandler;
  /** Oldest first. */
  readonly halfOpen: Set<End>;
  readonly all: Set<End>;
}

export class MemoryNetwork {
  readonly clock: Clock;
  readonly #listening = new Map<string, Listening>();
  readonly #ends = new Set<End>();
  #held: (() => void)[] | undefined;
  #nextPort = 40_000;
  /** On every way, in ms. */
  latencyMs = 0;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Every process uses the same network; who is who is said by addresses. */
  readonly transport: Transport = {
    listen: async (address, accept, options = {}) => {
      const bound = address.port === 0 ? { ...address, port: this.#nextPort++ } : address;
      const name = addressText(bound);
      if (this.#listening.has(name)) {
        throw new SessionError("PORT_TAKEN", `Cannot listen on ${name}: port ${bound.port} is in use`);
      }
      const limits = { ...LISTEN_LIMITS, ...options.limits };
      const listening: Listening = { limits, options, accept, halfOpen: new Set(), all: new Set() };
      this.#listening.set(name, listening);
      return {
        address: bound,
        stop: async () => {
          this.#listening.delete(name);
          for (const end of listening.halfOpen) end.destroy();
          await Promise.all([...listening.all].map((end) => end.gone));
        },
      };
    },
    connect: (address, handler) => {
      const near = new End(this, addressText(address), handler);
      this.deliver(() => this.#meet(address, near));
      return near;
    },
  };

  /** Nothing arrives any more, as if every process but the caller's were stopped. */
  hold(): void {
    this.#held ??= [];
  }

  /** What was held arrives, in order. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const arrive of held) arrive();
  }

  /** Cuts every connection without a word. */
  sever(): void {
    for (const end of [...this.#ends]) end.fail(cutOff(end.remote));
  }

  /** Runs `arrive` when the network would have brought it. */
  deliver(arrive: () => void): void {
    const due = () => (this.#held ? this.#held.push(arrive) : arrive());
    if (this.latencyMs > 0) this.clock.setTimer(due, this.latencyMs);
    else queueMicrotask(due);
  }

  forget(end: End): void {
    this.#ends.delete(end);
  }

  #meet(address: Address, near: End): void {
    if (near.isOver) return;
    const listening = this.#listening.get(addressText(address));
    if (!listening) {
      near.fail(
        new SessionError("STORE_UNAVAILABLE", `Cannot talk to ${near.remote}: nothing listens there`),
      );
      return;
    }
    const { limits, options, halfOpen, all } = listening;
    const far = new End(this, `127.0.0.1:${this.#nextPort++}`);
    const turnAway = (end: End, found: string): void => {
      const reason = new SessionError("TOO_MANY_CONNECTIONS", `Cannot accept ${end.remote}: ${found}`);
      options.refused?.(reason, end.remote);
      end.destroy();
    };
    near.join(far);
    far.join(near);
    for (const end of [near, far]) this.#ends.add(end);
    if (all.size >= limits.connectionsMax) {
      turnAway(far, `${limits.connectionsMax} are connected`);
      return;
    }
    all.add(far);
    halfOpen.add(far);
    const timer: Timer = this.clock.setTimer(() => {
      if (halfOpen.has(far)) turnAway(far, `no hello within ${limits.halfOpenTimeoutMs} ms`);
    }, limits.halfOpenTimeoutMs);
    far.onAdmitted = () => {
      timer.cancel();
      halfOpen.delete(far);
    };
    far.onGone = () => {
      timer.cancel();
      halfOpen.delete(far);
      all.delete(far);
    };
    const [oldest] = halfOpen;
    if (halfOpen.size > limits.halfOpenMax && oldest) {
      turnAway(oldest, `${limits.halfOpenMax} others have not said hello`);
    }
    far.handler = listening.accept(far);
    near.handler?.opened?.();
  }
}

/** One side of a connection. */
class End implements Connection {
  readonly remote: string;
  readonly gone: Promise<void>;
  handler: ConnectionHandler | undefined;
  onAdmitted: (() => void) | undefined;
  onGone: (() => void) | undefined;
  queuedBytes = 0;
  readonly #network: MemoryNetwork;
  /** Arrived while not reading. */
  readonly #inbox: Buffer[] = [];
  #resolveGone!: () => void;
  #peer: End | undefined;
  #frameBytesMax = HELLO_BYTES_MAX;
  #reading = true;
  #sending = true;
  #over = false;

  constructor(network: MemoryNetwork, remote: string, handler?: ConnectionHandler) {
    this.#network = network;
    this.remote = remote;
    this.handler = handler;
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve;
    });
  }

  get isOver(): boolean {
    return this.#over;
  }

  join(peer: End): void {
    this.#peer = peer;
  }

  send(frame: Uint8Array): void {
    if (!this.#sending) return;
    // A copy, as a network makes one: the sender may reuse its buffer.
    const copy = Buffer.from(frame);
    this.queuedBytes += copy.length;
    this.#network.deliver(() => this.#peer?.arrive(copy));
  }

  admit(frameBytesMax: number): void {
    this.#frameBytesMax = frameBytesMax;
    this.onAdmitted?.();
  }

  setReading(reading: boolean): void {
    this.#reading = reading;
    while (this.#reading && this.#inbox.length > 0) this.#take(this.#inbox.shift() as Buffer);
  }

  close(): void {
    if (!this.#sending) return;
    this.#sending = false;
    const peer = this.#peer;
    if (!peer) {
      this.#end(undefined);
      return;
    }
    this.#network.deliver(() => {
      peer.close();
      peer.#end(undefined);
      this.#end(undefined);
    });
  }

  destroy(error?: SessionError): void {
    const peer = this.#peer;
    this.#end(error);
    if (peer) this.#network.deliver(() => peer.fail(cutOff(peer.remote)));
  }

  /** Ends from outside: the network did it. */
  fail(error: SessionError): void {
    this.#end(error);
  }

  /** From the network. */
  arrive(frame: Buffer): void {
    if (this.#over) return;
    if (this.#reading) this.#take(frame);
    else this.#inbox.push(frame);
  }

  #take(frame: Buffer): void {
    const sender = this.#peer;
    if (sender) {
      sender.queuedBytes -= frame.length;
      if (sender.queuedBytes === 0) sender.handler?.drained?.();
    }
    if (this.#over) return;
    try {
      if (frame.length === 0) throw invalidFrame("it is empty");
      if (frame.length > this.#frameBytesMax) {
        throw invalidFrame(`it announces ${frame.length} bytes where ${this.#frameBytesMax} are allowed`);
      }
      this.handler?.frame(frame);
    } catch (error) {
      this.destroy(
        isSessionError(error)
          ? error
          : new SessionError("INVALID_FRAME", `Cannot handle a frame of ${this.remote}`, { cause: error }),
      );
    }
  }

  #end(error: SessionError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#sending = false;
    this.#network.forget(this);
    this.onGone?.();
    this.#resolveGone();
    this.handler?.closed(error);
  }
}

function cutOff(remote: string): SessionError {
  return new SessionError("STORE_UNAVAILABLE", `Cannot talk to ${remote}: it cut the connection`);
}
