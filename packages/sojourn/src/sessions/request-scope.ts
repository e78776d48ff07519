/** `RequestScope` over a store: scope.ts is the contract. */
import { isSessionError, type SessionError } from "../core/errors.ts";
import type { SessionRecord } from "../core/record.ts";
import { invalidOption } from "./check-options.ts";
import type { Context } from "./context.ts";
import type { LaidOver } from "./deferred-writes.ts";
import type { PresentedId } from "./id-cookie.ts";
import { LiveSession } from "./live-session.ts";
import type { CommitOutcome, IncomingRequest, RequestScope } from "./scope.ts";
import type { Session } from "./session.ts";
import { StoredSession } from "./stored-session.ts";
import { Visit } from "./visit.ts";
import { moreSpecific, requireVisitOptions, type VisitOptions, waitMsOf } from "./visit-options.ts";

export class StoredRequestScope<Data extends object> implements RequestScope<Data> {
  readonly #context: Context;
  readonly #presented: PresentedId | null;
  readonly #visit: Visit;
  #options: VisitOptions | undefined;
  #loading: Promise<Session<Data>> | undefined;
  #live: LiveSession<Data> | undefined;
  /** Null: the response passed straight through. */
  #settling: Promise<CommitOutcome> | null | undefined;
  #outcome: CommitOutcome | undefined;
  #isClosed = false;
  #isExclusive = false;

  constructor(context: Context, request: IncomingRequest) {
    this.#context = context;
    this.#presented = context.cookie.read(request.cookie);
    this.#visit = new Visit(context, request, this.#presented);
  }

  session(options?: VisitOptions): Promise<Session<Data>> {
    if (options !== undefined) {
      try {
        requireVisitOptions(options);
        if (options.exclusive && this.#context.deferred !== null) throw notExclusive();
      } catch (error) {
        return Promise.reject(error);
      }
      this.#options = moreSpecific(this.#options, options);
      this.#visit.isPassive = this.#options?.passive === true;
    }
    this.#loading ??= this.#load();
    const exclusive = this.#options?.exclusive;
    if (exclusive && !this.#isExclusive) this.#loading = this.#makeExclusive(this.#loading, exclusive);
    return this.#loading;
  }

  async #makeExclusive(
    loading: Promise<Session<Data>>,
    exclusive: Exclude<VisitOptions["exclusive"], false | undefined>,
  ): Promise<Session<Data>> {
    this.#isExclusive = true;
    const session = await loading;
    try {
      await this.#live?.makeExclusive(waitMsOf(exclusive));
    } catch (error) {
      if (isSessionError(error) && error.status === 503) this.#context.telemetry.count("storeFailures");
      throw error;
    }
    // Nobody gives it back any more.
    if (this.#isClosed || this.#settling !== undefined) this.#live?.giveBackLease();
    return session;
  }

  /** Without a session, or with one that the store has at hand, there is nothing to wait for. */
  #load(): Promise<Session<Data>> {
    if (!this.#presented) return Promise.resolve(this.#loaded(null));
    const laidOver = this.#context.deferred?.over(this.#presented.key);
    try {
      const record = this.#context.loads.now(this.#presented.key);
      if (record !== undefined) return Promise.resolve(this.#found(record, laidOver));
    } catch (error) {
      return this.#failed(error);
    }
    return this.#visit.read(this.#presented.key).then(
      (record) => this.#found(record, laidOver),
      (error) => this.#failed(error),
    );
  }

  #found(record: SessionRecord | null, laidOver: LaidOver | undefined): Session<Data> {
    this.#context.telemetry.count(record ? "loaded" : "unknownIds");
    // Found out before the store has told, or was asked.
    if (record?.state !== "live" && this.#presented) this.#context.ends.changed(this.#presented.key);
    return this.#loaded(record && laidOver ? laidOver(record) : record);
  }

  async #failed(error: unknown): Promise<Session<Data>> {
    this.#context.telemetry.count("storeFailures");
    return this.#loaded(null, this.#tolerated(error));
  }

  #loaded(record: SessionRecord | null, fault: SessionError | null = null): Session<Data> {
    const live = new LiveSession<Data>(new StoredSession(this.#visit, this.#presented, record, fault));
    this.#live = live;
    // Loaded too late to change anything: the response has left meanwhile.
    if (this.#settling !== undefined) live.settle();
    if (this.#isClosed) live.close();
    return live;
  }

  /** Only what time heals: unreadable data is no outage. */
  #tolerated(error: unknown): SessionError {
    const onUnavailable = this.#options?.onStoreUnavailable ?? this.#context.policy.onStoreUnavailable;
    if (onUnavailable === "anonymous" && isSessionError(error) && error.status === 503) return error;
    throw error;
  }

  settle(): Promise<CommitOutcome> | undefined {
    if (this.#settling === undefined) {
      this.#settling = this.#live?.settle() ?? null;
      if (this.#settling === null) this.#live?.giveBackLease();
      this.#settling?.then((outcome) => {
        this.#outcome = outcome;
        this.#live?.giveBackLease();
      });
    }
    return this.#settling ?? undefined;
  }

  outcome(): CommitOutcome | undefined {
    return this.#outcome;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#live?.close();
  }
}

function notExclusive(): SessionError {
  return invalidOption(
    "exclusive",
    true,
    "none with writeFrequency TIME_BASED_WRITE: the next request would begin before this one's changes are stored",
  );
}
