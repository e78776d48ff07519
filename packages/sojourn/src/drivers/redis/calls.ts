/**
 * A script on its way to Redis: sent, sent again where that is harmless, answered or given up at its deadline.
 *
 *   up ──► a call timed out in silence, or could not be sent ──► outage: calls fail at once, one probe at a time ──► up
 *
 * Nothing is queued during an outage, so no herd arrives when it ends. A call whose connection broke goes again under the
 * same operation id and its own deadline; Redis refuses what arrives after it. Outages are kept per node: in a cluster the
 * others go on.
 */
import type { Clock, Timer } from "../../core/clock.ts";
import { SessionError, StoreUnavailableError } from "../../core/errors.ts";
import { linkChannels } from "../../store/channels.ts";
import type { ReadOptions } from "../../store/store.ts";
import { type Answered, Call, commandOf, isLate, type Work } from "./call.ts";
import { Deadlines, type Due } from "./deadlines.ts";
import { asSessionError, faultOf, isNoScript, LateError, STORE_NAME } from "./errors.ts";
import { LinkEvents } from "./link-events.ts";
import type { Argument, RedisPort, Send } from "./port.ts";
import { LOOK } from "./scripts.ts";
import { ServerClock } from "./server-clock.ts";

/** Of calls whose connection broke; what the server refused for a moment is tried until the deadline. */
const ATTEMPTS_MAX = 4;
const RETRY_FIRST_MS = 20;
const RETRY_MAX_MS = 100;
const PROBE_FIRST_MS = 50;
const PROBE_MAX_MS = 1_000;
const PROBE_TIMEOUT_MS = 1_000;
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

interface Outage {
  readonly error: unknown;
  readonly key: string;
  /** There was a connection before: its return is a reconnect. */
  readonly stood: boolean;
  timer: Timer | undefined;
  attempts: number;
}

export interface CallsOptions {
  readonly clock: Clock;
  /** Wall clock − monotonic clock. */
  readonly wallOffsetMs: () => number;
  readonly timeoutMs: number;
  readonly pendingMax: number;
  /** What the one server is called in events when it has no node's name. */
  readonly remote: string;
  /** Connects. Before the first call, and again by probes until it succeeds; a rejection is an outage. */
  begin(): Promise<RedisPort>;
  /** Lets go of the connection. */
  end(): Promise<void>;
  /** An outage began, and why; or all are over. */
  changed(error: unknown): void;
}

export class Calls {
  readonly #options: CallsOptions;
  #port!: RedisPort;
  readonly #clock: Clock;
  readonly #deadlines: Deadlines;
  readonly #events: LinkEvents;
  readonly #clocks = new Map<string, ServerClock>();
  readonly #outages = new Map<string, Outage>();
  readonly #lastReplyMs = new Map<string, number>();
  readonly #asking = new Map<string, Promise<void>>();
  #hasBegun = false;
  #beginning: Promise<void> | undefined;
  readonly #waiting = new Set<Call>();
  #closing: Promise<void> | undefined;

  constructor(options: CallsOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#deadlines = new Deadlines(options.clock);
    this.#events = new LinkEvents(options.remote);
  }

  clockOf(node: string): ServerClock {
    let clock = this.#clocks.get(node);
    if (clock === undefined) {
      clock = new ServerClock(this.#options.wallOffsetMs);
      this.#clocks.set(node, clock);
    }
    return clock;
  }

  /** @throws {SessionError} STORE_CLOSED, or the signal's reason; so that nothing is prepared in vain */
  enter(action: string, options: ReadOptions | undefined): void {
    if (this.#closing) {
      throw new SessionError("STORE_CLOSED", `Cannot ${action}: store "${STORE_NAME}" was closed`);
    }
    options?.signal?.throwIfAborted();
  }

  run(work: Work, options?: ReadOptions): Promise<Answered> {
    this.enter(work.action, options);
    const timeoutMs = Math.min(options?.timeoutMs ?? this.#options.timeoutMs, TIMEOUT_MS_MAX);
    const call = new Call(
      work,
      this.#clock.monotonicMs() + timeoutMs,
      timeoutMs,
      options?.signal,
      this.#settled,
    );
    if (this.#deadlines.size >= this.#options.pendingMax) {
      call.unavailable(`has ${this.#deadlines.size} calls under way already`);
      return call.promise;
    }
    call.timedOut = this.#timedOut;
    this.#deadlines.add(call);
    if (this.#hasBegun) this.#send(call);
    else this.#wait(call);
    return call.promise;
  }

  /** A way to each primary. */
  async nodes(deadlineMs: number, action: string): Promise<ReadonlyMap<string, Send>> {
    const outage = this.#outages.get("");
    if (outage) throw asSessionError(outage.error, action);
    const connected = async () => {
      await this.#begin();
      return this.#port.nodes();
    };
    return this.within(connected, deadlineMs, action);
  }

  /** What `act` promises, with a deadline and our errors. */
  async within<T>(act: () => Promise<T>, deadlineMs: number, action: string): Promise<T> {
    this.enter(action, undefined);
    return new Promise((resolve, reject) => {
      const waiting: Due = {
        deadlineMs,
        due: () => {
          this.#deadlines.delete(waiting);
          reject(new StoreUnavailableError(STORE_NAME, action, "did not answer in time"));
        },
      };
      this.#deadlines.add(waiting);
      act()
        .finally(() => this.#deadlines.delete(waiting))
        .then(resolve, (error: unknown) => reject(asSessionError(error, action)));
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const reason = new SessionError("STORE_CLOSED", `Cannot go on: store "${STORE_NAME}" was closed`);
    for (const outage of this.#outages.values()) outage.timer?.cancel();
    this.#outages.clear();
    for (const call of this.#waiting) call.reject(reason);
    // Those on their way have a deadline each.
    await this.#deadlines.drained();
    await this.#options.end();
  }

  /** Nothing was ever sent: connects first. */
  #wait(call: Call): void {
    const outage = this.#outages.get("");
    if (outage) {
      call.fail(outage.error);
      return;
    }
    this.#waiting.add(call);
    this.#begin().catch((error: unknown) => this.#outage("", call.work.key, error));
  }

  #begin(): Promise<void> {
    this.#beginning ??= this.#options.begin().then(
      (port) => {
        this.#port = port;
        this.#hasBegun = true;
        this.#events.connected("");
        this.#recovered("");
        const waiting = [...this.#waiting];
        this.#waiting.clear();
        for (const call of waiting) this.#send(call);
      },
      (error: unknown) => {
        this.#beginning = undefined;
        throw error;
      },
    );
    return this.#beginning;
  }

  /** Connects ahead of the first call. Failing is found out, and tried again, by calls. */
  begin(): void {
    this.#begin().catch(() => undefined);
  }

  /** The client could not connect; while it never did, nobody waits for its next attempt. */
  failed(error: unknown): void {
    const [first] = this.#waiting;
    if (!this.#hasBegun && first) this.#outage("", first.work.key, error);
  }

  /** The client is connected again: no need to wait for the next probe. */
  connected(): void {
    for (const [node, outage] of this.#outages) {
      outage.timer?.cancel();
      outage.attempts = 0;
      this.#probe(node, outage);
    }
  }

  #send(call: Call): void {
    const { work } = call;
    const node = this.#port.nodeOf(work.key);
    if (this.#outages.size > 0) {
      const outage = this.#outages.get(node) ?? this.#outages.get("");
      if (outage) {
        call.fail(outage.error);
        return;
      }
    }
    const clock = this.clockOf(node);
    if (!clock.isKnown) {
      // A node never heard of: what it must refuse later can only be said in its own time.
      call.attempts++;
      call.sentMs = this.#clock.monotonicMs();
      this.#ask(node, clock, work.key).then(
        () => this.#send(call),
        (error: unknown) => this.#failed(call, node, error),
      );
      return;
    }
    if (call.isSettled) return;
    call.attempts++;
    const sentMs = this.#clock.monotonicMs();
    call.sentMs = sentMs;
    const command = commandOf(call, clock, "EVALSHA");
    this.#port.send(work.key, command).then(
      (reply) => this.#replied(call, node, clock, sentMs, command, reply),
      (error: unknown) => {
        if (!isNoScript(error)) this.#failed(call, node, error);
        else this.#sendWhole(call, node, clock, sentMs);
      },
    );
  }

  /** After a restart, a fail-over or SCRIPT FLUSH: the source itself, once. */
  #sendWhole(call: Call, node: string, clock: ServerClock, sentMs: number): void {
    if (call.isSettled) return;
    const command = commandOf(call, clock, "EVAL");
    this.#port.send(call.work.key, command).then(
      (reply) => this.#replied(call, node, clock, sentMs, command, reply),
      (error: unknown) => this.#failed(call, node, error),
    );
  }

  #replied(
    call: Call,
    node: string,
    clock: ServerClock,
    sentMs: number,
    sent: readonly Argument[],
    reply: unknown,
  ): void {
    const receivedMs = this.#clock.monotonicMs();
    if (linkChannels.answered.hasSubscribers) {
      this.#events.answered(node, call.work.action, (receivedMs - sentMs) / 1000, sent, reply);
    }
    const parts = Array.isArray(reply) ? (reply as unknown[]) : [reply];
    const nowMs = Number(call.work.head === undefined ? parts[parts.length - 1] : parts[0]);
    clock.observe(sentMs, receivedMs, nowMs);
    this.#lastReplyMs.set(node, receivedMs);
    if (this.#outages.size > 0) this.#recovered(node);
    if (call.work.head !== undefined && isLate(parts[1])) {
      // Refused, and now the server's clock is known better.
      this.#again(call, node, new LateError());
      return;
    }
    call.resolve({ reply: parts, clock });
  }

  #failed(call: Call, node: string, error: unknown): void {
    switch (faultOf(error)) {
      case "final":
        this.#lastReplyMs.set(node, this.#clock.monotonicMs());
        call.fail(error);
        return;
      case "refused":
        this.#lastReplyMs.set(node, this.#clock.monotonicMs());
        this.#again(call, node, error);
        return;
      default:
        if (!this.#again(call, node, error)) this.#outage(node, call.work.key, error);
    }
  }

  /** @returns false when the call is given up */
  #again(call: Call, node: string, error: unknown): boolean {
    if (call.isSettled) return true;
    const pauseMs = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** (call.attempts - 1)) * this.#jitter();
    if (
      this.#closing ||
      (call.attempts >= ATTEMPTS_MAX && faultOf(error) === "lost") ||
      this.#clock.monotonicMs() + pauseMs >= call.deadlineMs ||
      this.#outages.has(node)
    ) {
      call.fail(error);
      return false;
    }
    this.#clock.setTimer(() => this.#send(call), pauseMs, "keep-alive");
    return true;
  }

  readonly #timedOut = (call: Call): void => {
    const hasWaited = this.#waiting.has(call);
    call.unavailable(`did not answer within ${call.timeoutMs} ms`);
    if (hasWaited) {
      this.#outage("", call.work.key, new Error("no connection yet"));
      return;
    }
    const node = this.#port.nodeOf(call.work.key);
    if ((this.#lastReplyMs.get(node) ?? 0) < call.sentMs) {
      // Silence since it was sent: this one speaks for all that would follow.
      this.#outage(node, call.work.key, new Error(`no answer for ${call.timeoutMs} ms`));
    }
  };

  readonly #settled = (call: Call): void => {
    this.#deadlines.delete(call);
    this.#waiting.delete(call);
  };

  #outage(node: string, key: string, error: unknown): void {
    if (this.#closing) return;
    if (!this.#outages.has(node)) {
      const outage: Outage = { error, key, stood: this.#hasBegun, timer: undefined, attempts: 0 };
      this.#outages.set(node, outage);
      this.#events.lost(node, error, outage.stood);
      this.#options.changed(error);
      this.#probeLater(node, outage);
    }
    if (node === "") for (const call of this.#waiting) call.fail(error);
  }

  #recovered(node: string): void {
    const outage = this.#outages.get(node);
    if (!outage) return;
    outage.timer?.cancel();
    this.#outages.delete(node);
    if (outage.stood) this.#events.connected(node);
    if (this.#outages.size === 0) this.#options.changed(undefined);
  }

  #probeLater(node: string, outage: Outage): void {
    const ceilingMs = Math.min(PROBE_MAX_MS, PROBE_FIRST_MS * 2 ** outage.attempts++);
    outage.timer = this.#clock.setTimer(() => this.#probe(node, outage), ceilingMs * this.#jitter());
  }

  #probe(node: string, outage: Outage): void {
    // Over the connection as it is; when the server comes back, so does its answer.
    const probing = async () => {
      if (this.#hasBegun) await this.#port.ready();
      else await this.#begin();
      const owner = this.#port.nodeOf(outage.key);
      await this.#ask(owner, this.clockOf(owner), outage.key);
    };
    const next = () => {
      if (this.#outages.get(node) === outage) this.#probeLater(node, outage);
    };
    this.#bounded(probing()).then(() => this.#recovered(node), next);
  }

  /** Learns a node's clock; asked once for all who need it. */
  #ask(node: string, clock: ServerClock, key: string): Promise<void> {
    const asked = this.#asking.get(node);
    if (asked) return asked;
    const sentMs = this.#clock.monotonicMs();
    const asking = this.#port
      .send(key, ["EVAL", LOOK.source, "1", key])
      .then((reply) => {
        const receivedMs = this.#clock.monotonicMs();
        clock.observe(sentMs, receivedMs, Number((reply as readonly unknown[])[0]));
        this.#lastReplyMs.set(node, receivedMs);
      })
      .finally(() => this.#asking.delete(node));
    this.#asking.set(node, asking);
    return asking;
  }

  #bounded<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimer(() => reject(new Error("no answer")), PROBE_TIMEOUT_MS);
      promise.then(resolve, reject).finally(() => timer.cancel());
    });
  }

  /** Half to whole. */
  #jitter(): number {
    return 0.5 + (this.#clock.randomBytes(1)[0] as number) / 510;
  }
}
