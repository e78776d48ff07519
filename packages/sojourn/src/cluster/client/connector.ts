/**
 * Keeps one link standing: chooses a member, reconnects, and decides whether a call waits for the next link or fails now.
 *
 *   up ──► lost in good order ──► looking (calls wait, within their deadlines) ──► up
 *   up ──► timed out ─┐
 *   looking ──► failed ┴─► outage (calls fail at once; one probe at a time) ──► up
 */
import type { Clock, Timer } from "../../core/clock.ts";
import { SessionError } from "../../core/errors.ts";
import type { SessionKey } from "../../core/ids.ts";
import { type LinkEvent, type LinkFailure, linkChannels } from "../../store/channels.ts";
import { LimitedLog, type Log } from "../log.ts";
import type { Address, Transport } from "../transport/transport.ts";
import type { Hello } from "../wire/hello.ts";
import { Link } from "./link.ts";
import { Operation, STORE_NAME } from "./operation.ts";

const BACKOFF_FIRST_MS = 20;
const BACKOFF_MAX_MS = 1_000;
const WATCH_TIMEOUT_MS = 1_000;

export interface ConnectorOptions {
  readonly members: readonly Address[];
  readonly transport: Transport;
  /** One per secret. */
  readonly attemptsPerMember: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly identity: Hello;
  invalidated(keys: readonly SessionKey[] | "all"): void;
  isWatched(): boolean;
}

export class Connector {
  readonly #options: ConnectorOptions;
  readonly #log: LimitedLog;
  readonly #waiting = new Set<Operation>();
  /** Replaced, but still answering. */
  readonly #leaving = new Set<Link>();
  #link: Link | undefined;
  /** Not undefined: an outage, and why. */
  #problem: SessionError | undefined;
  /** Of the current round, and secrets of the current member. */
  #membersTried = 0;
  #secretsTried = 0;
  #member = 0;
  #rounds = 0;
  #connects = 0;
  #timer: Timer | undefined;
  #stopped: SessionError | undefined;

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#log = new LimitedLog(options.log, options.clock);
    this.#connect();
  }

  get queuedBytes(): number {
    return this.#link?.queuedBytes ?? 0;
  }

  get leaseUntilMs(): number {
    return this.#link?.leaseUntilMs ?? 0;
  }

  status(): { connectedTo: string | null; problem: string | null; queuedBytes: number; connects: number } {
    return {
      connectedTo: this.#link?.isOpen ? this.#link.remote : null,
      problem: this.#problem?.message ?? null,
      queuedBytes: this.queuedBytes,
      connects: this.#connects,
    };
  }

  send(operation: Operation): void {
    if (this.#link?.isOpen) this.#link.send(operation);
    else if (this.#stopped) operation.fail(this.#stopped);
    else if (this.#problem) operation.unreachable(this.#problem);
    else this.#waiting.add(operation);
  }

  /** The operation has been settled by someone: an answer, its deadline, its caller. */
  abandon(operation: Operation, timedOut: boolean): void {
    const waited = this.#waiting.delete(operation);
    if (waited && timedOut && !this.#problem) {
      // The first to wait in vain speaks for all that would follow.
      const remote = this.#link?.remote ?? "any member";
      this.#outage(new SessionError("STORE_UNAVAILABLE", `Cannot connect with ${remote}: no answer yet`));
    }
    operation.way?.link.abandon(operation.way.id, timedOut);
  }

  /** No new link, no waiting; what is on its way may arrive. */
  stop(reason: SessionError): void {
    this.#stopped = reason;
    this.#timer?.cancel();
    for (const operation of this.#waiting) operation.fail(reason);
    this.#waiting.clear();
    if (!this.#link?.isOpen) this.#link?.destroy(reason);
  }

  async close(reason: SessionError): Promise<void> {
    for (const link of [this.#link, ...this.#leaving]) link?.destroy(reason);
    this.#log.close();
  }

  #connect(): void {
    const { members, transport, identity, clock } = this.#options;
    const address = members[this.#member] as Address;
    this.#connects++;
    this.#link = new Link(transport, address, identity, clock, {
      opened: (link) => this.#opened(link),
      invalidated: (keys) => this.#options.invalidated(keys),
      leaving: (link) => this.#leave(link),
      closed: (link, reason, unanswered) => this.#closed(link, reason, unanswered),
    });
  }

  #opened(link: Link): void {
    linkChannels.connected.publish({ store: STORE_NAME, remote: link.remote } satisfies LinkEvent);
    if (this.#problem || this.#rounds > 0 || this.#connects === 1) {
      this.#log.write("connected", "info", `Connected with session server ${link.remote}`);
    }
    this.#problem = undefined;
    this.#membersTried = 0;
    this.#secretsTried = 0;
    this.#rounds = 0;
    // Before anything else: whatever is read over this link is covered by the watch.
    if (this.#options.isWatched()) {
      const { clock } = this.#options;
      const options = { timeoutMs: WATCH_TIMEOUT_MS };
      const watch = new Operation({ op: "watch" }, "watch sessions", clock, options, (operation, timedOut) =>
        this.abandon(operation, timedOut),
      );
      watch.reply.catch(() => undefined);
      link.send(watch);
    }
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const operation of waiting) link.send(operation);
  }

  #leave(link: Link): void {
    if (link !== this.#link || this.#stopped) return;
    const leaving: LinkFailure = { store: STORE_NAME, remote: link.remote, code: "STORE_CLOSED" };
    linkChannels.lost.publish(leaving);
    this.#leaving.add(link);
    this.#link = undefined;
    link.leave();
    if (link.isWatching) this.#options.invalidated("all");
    this.#member = (this.#member + 1) % this.#options.members.length;
    this.#connect();
  }

  #closed(link: Link, reason: SessionError, unanswered: readonly Operation[]): void {
    const wasCurrent = link === this.#link;
    this.#leaving.delete(link);
    if (wasCurrent) {
      this.#link = undefined;
      if (link.welcome !== undefined) this.#lost(link, reason);
      else this.#failed(link, reason);
    }
    for (const operation of unanswered) {
      if (this.#stopped || !operation.retryable) operation.unreachable(reason);
      else if (this.#link?.isOpen) this.#link.send(operation);
      // In an outage too: these came before it was known, and the first probe is already on its way.
      else this.#waiting.add(operation);
    }
  }

  /** A link that stood. */
  #lost(link: Link, reason: SessionError): void {
    if (link.isWatching) this.#options.invalidated("all");
    if (this.#stopped) return;
    linkChannels.lost.publish(failureOf(link, reason));
    this.#log.write("lost", "warn", `Lost session server ${link.remote}: ${reason.message}`);
    if (link.timedOut) this.#outage(reason);
    this.#retryLater();
  }

  /** A link that never stood. */
  #failed(link: Link, reason: SessionError): void {
    if (this.#stopped) return;
    linkChannels.failed.publish(failureOf(link, reason));
    const { members, attemptsPerMember } = this.#options;
    // The transport takes the next secret after a refused one.
    if (reason.code === "WRONG_SECRET" && ++this.#secretsTried < attemptsPerMember) {
      this.#connect();
      return;
    }
    this.#secretsTried = 0;
    if (reason.code !== this.#problem?.code) {
      this.#log.write(reason.code, "warn", `Cannot use session server ${link.remote}. ${reason.message}`);
    }
    this.#member = (this.#member + 1) % members.length;
    if (++this.#membersTried < members.length) {
      this.#connect();
      return;
    }
    this.#outage(reason);
    this.#retryLater();
  }

  #outage(reason: SessionError): void {
    this.#problem = reason;
    for (const operation of this.#waiting) operation.unreachable(reason);
    this.#waiting.clear();
  }

  #retryLater(): void {
    const { clock } = this.#options;
    this.#membersTried = 0;
    const ceilingMs = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** this.#rounds);
    // The first look after a loss is immediate: most losses are restarts or idle cuts. After that half to whole.
    const jitter = 0.5 + (clock.randomBytes(1)[0] as number) / 510;
    const delayMs = this.#rounds === 0 && !this.#problem ? 0 : ceilingMs * jitter;
    this.#rounds++;
    this.#timer = clock.setTimer(() => this.#connect(), delayMs);
  }
}

function failureOf({ remote }: Link, { code }: SessionError): LinkFailure {
  return { store: STORE_NAME, remote, code };
}
