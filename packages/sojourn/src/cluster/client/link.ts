/**
 * One connection of a client to one session server: hello, pipelined requests matched by id, heartbeats, lease.
 *
 * A link is honest or gone. An answer that does not fit its request, a frame that cannot be read, a request unanswered
 * beyond its time: the link is destroyed and never used again, so no later answer can be taken for another's. Callers
 * that gave up earlier (an abort, a short timeout) leave their id behind: its answer is awaited and thrown away.
 */
import type { Clock, Timer } from "../../core/clock.ts";
import { isSessionError, SessionError } from "../../core/errors.ts";
import type { SessionKey } from "../../core/ids.ts";
import { type LinkRoundTrip, linkChannels } from "../../store/channels.ts";
import type { Address, Connection, Transport } from "../transport/transport.ts";
import { addressText } from "../transport/transport.ts";
import { invalidFrame } from "../wire/bytes.ts";
import {
  decodeWelcome,
  encodeHello,
  type Hello,
  isWelcome,
  OUR_PROTOCOLS,
  protocolText,
  type Refusal,
  type Welcome,
} from "../wire/hello.ts";
import { FRAME_BYTES_MAX, HEARTBEAT_INTERVAL_MS, LEASE_MS } from "../wire/protocol.ts";
import { decodeFromServer, type Push, type Reply } from "../wire/replies.ts";
import { encodeRequest, type Request } from "../wire/requests.ts";
import { AuthorityClock } from "./authority-clock.ts";
import { asSessionError, type Operation, STORE_NAME } from "./operation.ts";

/** From the first packet to the finished hello. */
const OPEN_TIMEOUT_MS = 1_000;
/** However short its caller's patience: a request unanswered for this long ends the link. */
const ANSWER_TIMEOUT_MS = 500;
const HEARTBEAT_TIMEOUT_MS = 1_500;
/** A timer this late tells more about us than about the server: look again after the sockets were read. */
const BUSY_MS = 50;
const DRAIN_MS = 5;
/** Ids wrap here; long before that, the oldest is answered or the link is gone. */
const ID_MAX = 0xffff_ffff;

export interface LinkEvents {
  opened(link: Link): void;
  invalidated(keys: readonly SessionKey[] | "all"): void;
  /** The server is stopping: give it nothing new. */
  leaving(link: Link): void;
  /** Once. `unanswered` were sent and may or may not have happened. */
  closed(link: Link, reason: SessionError, unanswered: readonly Operation[]): void;
}

interface Sent {
  readonly request: Request;
  readonly bytes: number;
  readonly sentMs: number;
  readonly patienceMs: number;
  /** Absent for the link's own heartbeats. */
  readonly operation?: Operation;
}

export class Link {
  readonly remote: string;
  readonly #clock: Clock;
  readonly #identity: Hello;
  readonly #events: LinkEvents;
  readonly #connection: Connection;
  readonly #authority = new AuthorityClock();
  readonly #sent = new Map<number, Sent>();
  #state: "connecting" | "greeting" | "open" | "leaving" | "closed" = "connecting";
  #helloSentMs = 0;
  #welcome: Welcome | undefined;
  #nextId = 1;
  #timer: Timer | undefined;
  #openTimer: Timer | undefined;
  #watching = false;
  #answeredBeatMs = Number.NEGATIVE_INFINITY;
  /** The request that was not answered in time, if that is why it closed. */
  #timedOut = false;

  constructor(transport: Transport, address: Address, identity: Hello, clock: Clock, events: LinkEvents) {
    this.remote = addressText(address);
    this.#clock = clock;
    this.#identity = identity;
    this.#events = events;
    this.#openLater(OPEN_TIMEOUT_MS);
    this.#connection = transport.connect(address, {
      opened: () => this.#greet(),
      frame: (frame) => this.#frame(frame),
      closed: (error) => this.#closed(error),
    });
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  get timedOut(): boolean {
    return this.#timedOut;
  }

  get welcome(): Welcome | undefined {
    return this.#welcome;
  }

  get queuedBytes(): number {
    return this.#connection.queuedBytes;
  }

  /** Or was, when it is closed. */
  get isWatching(): boolean {
    return this.#watching;
  }

  /** Monotonic ms; in the past when nothing is promised. */
  get leaseUntilMs(): number {
    return this.#watching && this.#state !== "closed" ? this.#answeredBeatMs + LEASE_MS : 0;
  }

  /** Sends now. What cannot be sent at all fails at once and harms nobody else. */
  send(operation: Operation): void {
    operation.attempts++;
    try {
      const patienceMs = Math.max(operation.timeoutMs, ANSWER_TIMEOUT_MS);
      this.#send(operation.request, operation.deadlineMs, patienceMs, operation);
    } catch (error) {
      operation.fail(asSessionError(error, operation.action));
    }
  }

  /** The caller of the request `id` has gone. Its answer is still due. */
  abandon(id: number, timedOut: boolean): void {
    const sent = this.#sent.get(id);
    // A millisecond's grace: timers and the clock do not round alike.
    const isDue = sent !== undefined && this.#clock.monotonicMs() >= sent.sentMs + sent.patienceMs - 1;
    if (timedOut && isDue) this.#expire();
  }

  /** Ends in good order once every answer is here. */
  leave(): void {
    if (this.#state !== "open") return;
    this.#state = "leaving";
    this.#closeWhenAnswered();
  }

  destroy(reason: SessionError): void {
    this.#connection.destroy(reason);
    this.#closed(reason);
  }

  #greet(): void {
    if (this.#state !== "connecting") return;
    this.#state = "greeting";
    this.#helloSentMs = this.#clock.monotonicMs();
    this.#connection.send(encodeHello(this.#identity));
  }

  #frame(frame: Buffer): void {
    if (this.#state === "closed") return;
    if (this.#state === "greeting") {
      this.#welcomed(decodeWelcome(frame));
      return;
    }
    let message: ReturnType<typeof decodeFromServer>;
    try {
      message = decodeFromServer(frame, this.#clock.nowMs());
    } catch (error) {
      if (this.#isUnreadable(frame, error)) return;
      throw error;
    }
    if ("push" in message) this.#pushed(message);
    else this.#answered(message.id, message.reply, frame.byteLength);
  }

  /** One session that nobody can read is the trouble of who asked for it, not of everyone on this link. */
  #isUnreadable(frame: Buffer, error: unknown): boolean {
    if (!isSessionError(error) || error.code !== "STORED_DATA_UNREADABLE") return false;
    const id = frame.readUInt32BE(1);
    const operation = this.#sent.get(id)?.operation;
    this.#sent.delete(id);
    operation?.fail(error);
    return operation !== undefined;
  }

  #welcomed(answer: Welcome | Refusal): void {
    if (!isWelcome(answer) || answer.domain !== this.#identity.domain) {
      this.destroy(this.#refused(answer));
      return;
    }
    this.#connection.admit(FRAME_BYTES_MAX);
    const nowMs = this.#clock.monotonicMs();
    this.#authority.observe(nowMs, answer.authorityMs);
    this.#answeredBeatMs = this.#helloSentMs;
    this.#welcome = answer;
    this.#state = "open";
    this.#openTimer?.cancel();
    this.#beatLater();
    this.#events.opened(this);
  }

  #refused(answer: Refusal | Welcome): SessionError {
    const attempt = `Cannot join domain "${this.#identity.domain}": ${this.remote}`;
    const code = isWelcome(answer) ? "WRONG_DOMAIN" : answer.code;
    switch (code) {
      case "WRONG_PROTOCOL_VERSION": {
        const ours = `this client speaks ${OUR_PROTOCOLS.min}..${OUR_PROTOCOLS.max}`;
        return new SessionError(
          code,
          `${attempt} speaks protocol ${protocolText(answer.protocols)}, ${ours}`,
        );
      }
      case "WRONG_DOMAIN":
        return new SessionError(code, `${attempt} serves domain "${answer.domain}"`);
      default:
        return new SessionError(code, `${attempt} refused. ${(answer as Refusal).message}`);
    }
  }

  #pushed(push: Push): void {
    if (push.push === "invalidated") this.#events.invalidated(push.keys);
    else this.#events.leaving(this);
  }

  #answered(id: number, reply: Reply, bytesReceived: number): void {
    const sent = this.#sent.get(id);
    if (sent === undefined) throw invalidFrame("it answers a request that was never made");
    const { request, operation } = sent;
    if (reply.op !== "error") {
      const key = operation?.key;
      if (reply.op !== request.op) throw invalidFrame(`it answers a ${request.op} with a ${reply.op}`);
      if (key !== undefined && (!("key" in reply) || reply.key !== key)) {
        throw invalidFrame("it answers for another session than the one asked for");
      }
      if (reply.op === "heartbeat") this.#authority.observe(this.#clock.monotonicMs(), reply.authorityMs);
      if (reply.op === "watch") this.#watching = true;
      if (reply.op === "heartbeat" || reply.op === "watch") this.#answeredBeatMs = sent.sentMs;
    }
    // Only now: what a wrong answer was meant for is still unanswered.
    this.#sent.delete(id);
    if (linkChannels.answered.hasSubscribers) this.#tell(sent, bytesReceived);
    operation?.answer(reply);
    this.#closeWhenAnswered();
  }

  #tell({ request, bytes, sentMs }: Sent, bytesReceived: number): void {
    linkChannels.answered.publish({
      store: STORE_NAME,
      remote: this.remote,
      operation: request.op,
      seconds: (this.#clock.monotonicMs() - sentMs) / 1000,
      bytesSent: bytes,
      bytesReceived,
    } satisfies LinkRoundTrip);
  }

  #send(request: Request, deadlineMs: number, patienceMs: number, operation?: Operation): void {
    const sentMs = this.#clock.monotonicMs();
    const frame = encodeRequest(
      { id: this.#nextId, deadlineMs: this.#authority.at(deadlineMs), request },
      { wallMs: this.#clock.nowMs(), authorityMs: this.#authority.at(sentMs) },
    );
    if (frame.byteLength > FRAME_BYTES_MAX) {
      throw new SessionError(
        "SESSION_TOO_LARGE",
        `Cannot ${operation?.action ?? request.op}: it takes ${frame.byteLength} bytes, a frame holds ${FRAME_BYTES_MAX}`,
      );
    }
    if (operation) operation.way = { link: this, id: this.#nextId };
    const bytes = frame.byteLength;
    this.#sent.set(this.#nextId, { request, bytes, sentMs, patienceMs, ...(operation ? { operation } : {}) });
    this.#nextId = this.#nextId === ID_MAX ? 1 : this.#nextId + 1;
    this.#connection.send(frame);
  }

  /** Heartbeat and, on the same tick, the look for answers that are overdue. */
  #beatLater(): void {
    const dueMs = this.#clock.monotonicMs() + HEARTBEAT_INTERVAL_MS;
    this.#timer = this.#clock.setTimer(() => {
      const lateMs = this.#clock.monotonicMs() - dueMs;
      if (lateMs <= BUSY_MS) this.#beat();
      else this.#timer = this.#clock.setTimer(() => this.#beat(), DRAIN_MS);
    }, HEARTBEAT_INTERVAL_MS);
  }

  #beat(): void {
    if (this.#state !== "open" && this.#state !== "leaving") return;
    const nowMs = this.#clock.monotonicMs();
    for (const { sentMs, patienceMs, operation } of this.#sent.values()) {
      // An operation with a caller ends the link through its own timer.
      if ((operation === undefined || operation.settled) && nowMs - sentMs >= patienceMs) {
        this.#expire();
        return;
      }
    }
    this.#send({ op: "heartbeat" }, nowMs + HEARTBEAT_TIMEOUT_MS, HEARTBEAT_TIMEOUT_MS);
    this.#beatLater();
  }

  #expire(): void {
    this.#timedOut = true;
    this.destroy(unavailable(`Cannot go on with ${this.remote}: it did not answer in time`));
  }

  #openLater(delayMs: number): void {
    const dueMs = this.#clock.monotonicMs() + delayMs;
    this.#openTimer = this.#clock.setTimer(() => {
      if (this.#clock.monotonicMs() - dueMs > BUSY_MS) {
        this.#openLater(DRAIN_MS);
        return;
      }
      this.#timedOut = true;
      this.destroy(unavailable(`Cannot connect with ${this.remote}: no hello within ${OPEN_TIMEOUT_MS} ms`));
    }, delayMs);
  }

  #closeWhenAnswered(): void {
    if (this.#state === "leaving" && this.#sent.size === 0) this.#connection.close();
  }

  #closed(error: SessionError | undefined): void {
    if (this.#state === "closed") return;
    const wasGreeting = this.#state === "greeting";
    this.#state = "closed";
    this.#timer?.cancel();
    this.#openTimer?.cancel();
    const unanswered: Operation[] = [];
    for (const { operation } of this.#sent.values()) {
      if (operation && !operation.settled) unanswered.push(operation);
    }
    this.#sent.clear();
    const found = wasGreeting ? "it hung up on the hello; it may want a secret" : "it hung up";
    const reason = error ?? unavailable(`Cannot go on with ${this.remote}: ${found}`);
    this.#events.closed(this, reason, unanswered);
  }
}

function unavailable(message: string): SessionError {
  return new SessionError("STORE_UNAVAILABLE", message);
}
