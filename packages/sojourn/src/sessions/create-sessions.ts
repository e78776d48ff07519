/**
 * `createSessions`: the one object that an application makes. Adapters open a scope on it for each request; operators use
 * its administrative side.
 */
import { SessionError } from "../core/errors.ts";
import { type SessionId, sessionKeyOf } from "../core/ids.ts";
import type { SessionPage } from "../store/store.ts";
import { Admin, type FoundSession, type ListQuery } from "./admin.ts";
import { invalidOption } from "./check-options.ts";
import { newContext } from "./context.ts";
import type { SessionsStats } from "./diagnostics.ts";
import { END_POLL_MS_DEFAULT, type EndListener } from "./end-watch.ts";
import { resolveOptions, type SessionsOptions } from "./options.ts";
import { StoredRequestScope } from "./request-scope.ts";
import type { SchemaOutput, StandardSchema } from "./schema.ts";
import type { IncomingRequest, RequestScope } from "./scope.ts";
import type { DefaultData, Session } from "./session.ts";
import type { VisitOptions } from "./visit-options.ts";
import { isWebRequest, type WebRequestOptions, WebRequestScope, type WebScope } from "./web.ts";

export interface Sessions<Data extends object = DefaultData> {
  /** The option `name`. */
  readonly name: string;
  /** For adapters, and for everything that has a `Cookie` header without being a request: WebSockets. No I/O. */
  open(request: IncomingRequest): RequestScope<Data>;
  /** For a Web `Request`: the scope also takes the response and gives back what may leave. `of(request)` knows it then. */
  open(request: Request, options?: WebRequestOptions): WebScope<Data>;
  /** For adapters: what `of(request)` will answer with. The last one counts. */
  attach(request: object, holder: SessionHolder<Data>): void;
  /**
   * The session of a request that an adapter serves, typed; the same as `request.session(options)`.
   *
   * @param options  wins over the options of the mount and the route
   * @throws {SessionError} INVALID_OPTION when no adapter serves it
   */
  of(request: object, options?: VisitOptions): Promise<Session<Data>>;

  /** The session with this key (`list` tells keys), or null. For looking at it and for ending it. */
  find(key: string): Promise<FoundSession<Data> | null>;
  /** @throws {SessionError} NOT_ENUMERABLE when the store cannot, here and in `count` and `endAll` */
  list(query?: ListQuery): Promise<SessionPage>;
  count(query?: { readonly principal?: string }): Promise<number>;
  /**
   * Ends every session of a user, logins under way included: also that of this request if it has not committed yet. So
   * log in first, then end the others: `await session.renew({ principal }); await sessions.endAll(principal, { except: session })`.
   *
   * @param options.except  a session or its key, which stays
   * @returns               how many were ended
   */
  endAll(principal: string, options?: { readonly except?: Pick<Session, "id"> | string }): Promise<number>;

  /**
   * Calls `listener` once when this session has ended, whoever ended it: this process, another server, `endAll`, a
   * deadline, or a renewal of its id. For what outlives a request; `sojourn/ws` closes sockets by it. Waiting keeps no
   * session alive.
   *
   * @param options.pollMs  for stores that do not tell of changes: how often they are asked, ± 25 %. Default 5,000
   * @returns               stops waiting
   * @throws {SessionError} INVALID_OPTION when the session does not exist yet
   */
  onEnd(
    session: Pick<Session, "id" | "expiresAt" | "principal">,
    listener: EndListener,
    options?: { readonly pollMs?: number },
  ): () => void;

  /** Totals since the start. A copy. */
  stats(): SessionsStats;
  /**
   * Writes what TIME_BASED_WRITE keeps, for at most 5 s, waits for touches under way and closes the store, if
   * `createSessions` made it. Stop taking requests first.
   */
  close(): Promise<void>;
}

export interface SessionHolder<Data extends object> {
  session(options?: VisitOptions): Promise<Session<Data>>;
}

/**
 * With a schema its output is the type of the data; otherwise say it: `createSessions<{ user: string }>(…)`.
 *
 * @throws {SessionError} INVALID_OPTION, naming the option, what was found and what is expected
 */
export function createSessions<Schema extends StandardSchema<object>>(
  options: SessionsOptions & { readonly schema: Schema },
): Sessions<SchemaOutput<Schema>>;
export function createSessions<Data extends object = DefaultData>(options?: SessionsOptions): Sessions<Data>;
export function createSessions<Data extends object>(options: SessionsOptions = {}): Sessions<Data> {
  const policy = resolveOptions(options);
  const context = newContext(policy);
  const admin = new Admin<Data>(context);
  // A property of the request, because a WeakMap would cost each request more than the rest of mounting.
  const HOLDER = Symbol("sojourn.session");
  let closing: Promise<void> | undefined;
  function attach(request: object, holder: SessionHolder<Data>): void {
    (request as { [HOLDER]?: SessionHolder<Data> })[HOLDER] = holder;
  }
  function open(request: IncomingRequest): RequestScope<Data>;
  function open(request: Request, options?: WebRequestOptions): WebScope<Data>;
  function open(request: IncomingRequest | Request, options?: WebRequestOptions): RequestScope<Data> {
    if (!isWebRequest(request)) return new StoredRequestScope<Data>(context, request);
    const scope = new WebRequestScope<Data>(context, request, options);
    attach(request, scope);
    return scope;
  }
  async function close(): Promise<void> {
    await context.deferred?.close();
    await Promise.all([context.touches.close(), context.exclusive.close()]);
    if (policy.ownsStore) await policy.store.close();
  }
  return {
    name: policy.name,
    open,
    attach,
    of(request, visitOptions) {
      const own = (request as { [HOLDER]?: SessionHolder<Data> })[HOLDER];
      // Fastify wraps the request that the adapter saw.
      const holder = own ?? (request as { raw?: { [HOLDER]?: SessionHolder<Data> } }).raw?.[HOLDER];
      if (holder) return holder.session(visitOptions);
      return Promise.reject(
        new SessionError(
          "INVALID_OPTION",
          "Cannot find the session of a request: no adapter of these sessions serves it",
        ),
      );
    },
    find: (key) => admin.find(key),
    list: (query) => admin.list(query),
    count: (query) => admin.count(query),
    endAll: (principal, endOptions) => admin.endAll(principal, endOptions),
    onEnd({ id, expiresAt, principal }, listener, { pollMs = END_POLL_MS_DEFAULT } = {}) {
      if (id === null) throw invalidOption("session", id, "a session that exists: start it first");
      if (!(pollMs >= 1)) throw invalidOption("pollMs", pollMs, "at least 1 ms");
      const key = sessionKeyOf(id as SessionId);
      return context.ends.add({ key, expiresAtMs: expiresAt.getTime(), principal }, listener, pollMs);
    },
    stats: () => context.telemetry.totals(),
    close() {
      context.ends.close();
      closing ??= close();
      return closing;
    },
  };
}
