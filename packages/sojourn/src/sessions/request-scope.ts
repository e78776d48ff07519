/** `RequestScope` over a store: scope.ts is the contract. */
import { sessionKeyOf } from "../core/ids.ts";
import type { Context } from "./context.ts";
import type { PresentedId } from "./id-cookie.ts";
import { LiveSession } from "./live-session.ts";
import type { CommitOutcome, IncomingRequest, RequestScope } from "./scope.ts";
import type { Session } from "./session.ts";
import { StoredSession } from "./stored-session.ts";
import { Visit } from "./visit.ts";

export class StoredRequestScope<Data extends object> implements RequestScope<Data> {
  readonly #context: Context;
  readonly #presented: PresentedId | null;
  readonly #visit: Visit;
  #loading: Promise<Session<Data>> | undefined;
  #live: LiveSession<Data> | undefined;
  /** Null: the response passed straight through. */
  #settling: Promise<CommitOutcome> | null | undefined;
  #outcome: CommitOutcome | undefined;
  #isClosed = false;

  constructor(context: Context, request: IncomingRequest) {
    this.#context = context;
    this.#presented = context.cookie.read(request.cookie);
    this.#visit = new Visit(context, request, this.#presented);
  }

  session(): Promise<Session<Data>> {
    this.#loading ??= this.#load();
    return this.#loading;
  }

  async #load(): Promise<Session<Data>> {
    const presented = this.#presented && { id: this.#presented.id, key: sessionKeyOf(this.#presented.id) };
    let record = null;
    if (presented) {
      try {
        record = await this.#visit.read(presented.key);
      } catch (error) {
        this.#context.stats.storeFailures++;
        throw error;
      }
      if (!record) this.#context.stats.unknownIds++;
    }
    const live = new LiveSession<Data>(new StoredSession(this.#visit, presented, record));
    this.#live = live;
    // Loaded too late to change anything: the response has left meanwhile.
    if (this.#settling !== undefined) live.settle();
    if (this.#isClosed) live.close();
    return live;
  }

  settle(): Promise<CommitOutcome> | undefined {
    if (this.#settling === undefined) {
      this.#settling = this.#live?.settle() ?? null;
      this.#settling?.then((outcome) => {
        this.#outcome = outcome;
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
