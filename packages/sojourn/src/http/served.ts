/**
 * Ties a request to its session scope. Mounting costs a request one small object: the cookie is looked at, the response
 * held and the scope opened when the application first asks for the session, and never if it does not.
 */
import type { TLSSocket } from "node:tls";
import { systemClock } from "../core/clock.ts";
import type { SessionHolder, Sessions } from "../sessions/create-sessions.ts";
import type { IncomingRequest, RequestScope } from "../sessions/scope.ts";
import type { Session } from "../sessions/session.ts";
import { type Mounted, moreSpecific, type VisitOptions } from "../sessions/visit-options.ts";
import { type AnyRequest, type AnyResponse, hold } from "./hold.ts";

/** What an adapter needs of `Sessions`. */
export interface ScopeSource<Data extends object> {
  open(request: IncomingRequest): RequestScope<Data>;
  attach: Sessions<Data>["attach"];
}

/** One request as one `Sessions` serves it. How its scope is opened depends on the kind of request. */
export abstract class Serving<Data extends object> implements SessionHolder<Data> {
  readonly source: ScopeSource<Data>;
  /** What was mounted before, for other sessions. */
  outer: Serving<never> | undefined;
  /** Not told to the scope yet. */
  #mounted: Mounted;
  readonly #arrivedAtMs: number;
  #scope: RequestScope<Data> | undefined;

  /** @param mounted  options of the mount and the route, from `mounted()` */
  constructor(source: ScopeSource<Data>, mounted: Mounted) {
    this.source = source;
    this.outer = undefined;
    this.#mounted = mounted;
    this.#arrivedAtMs = systemClock.monotonicMs();
  }

  /** The scope, if the application has asked for its session. */
  get scope(): RequestScope<Data> | undefined {
    return this.#scope;
  }

  session(options?: VisitOptions): Promise<Session<Data>> {
    try {
      this.#scope ??= this.open(systemClock.monotonicMs() - this.#arrivedAtMs);
      if (this.#mounted === undefined) return this.#scope.session(options);
      const said = this.#mounted();
      this.#mounted = undefined;
      return this.#scope.session(moreSpecific(said, options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Mounted a second time, nearer to the route: what it says wins. */
  mountedAgain(mounted: Mounted): void {
    const before = this.#mounted;
    if (mounted === undefined) return;
    this.#mounted = before === undefined ? mounted : () => moreSpecific(before(), mounted());
  }

  protected abstract open(ageMs: number): RequestScope<Data>;
}

/** A request of node:http or node:http2, whose response is held. */
export class Served<Data extends object> extends Serving<Data> {
  readonly #req: AnyRequest;
  readonly #res: AnyResponse;
  readonly #isSecure: () => boolean;
  readonly #isHeld: boolean;

  /**
   * @param isSecure  asked once, at the first `session()`
   * @param isHeld    false: the adapter settles before it answers (Fastify's `inject`)
   */
  constructor(
    source: ScopeSource<Data>,
    req: AnyRequest,
    res: AnyResponse,
    isSecure: () => boolean,
    isHeld = true,
    mounted?: Mounted,
  ) {
    super(source, mounted);
    this.#req = req;
    this.#res = res;
    this.#isSecure = isSecure;
    this.#isHeld = isHeld;
  }

  protected override open(ageMs: number): RequestScope<Data> {
    const { cookie } = this.#req.headers;
    const scope = this.source.open({ cookie, secure: this.#isSecure(), ageMs });
    if (this.#isHeld) hold(this.#res, scope);
    whenOver(this.#req, this.#res, () => scope.close());
    return scope;
  }
}

const SERVED = Symbol("sojourn.served");

interface Marked {
  [SERVED]?: Serving<never>;
}

/** Mounting twice is mounting once: ask `servedBy` first, and tell it `mountedAgain`. */
export function serve<Data extends object>(request: object, served: Serving<Data>): void {
  const marked = request as Marked;
  served.outer = marked[SERVED];
  marked[SERVED] = served as unknown as Serving<never>;
  served.source.attach(request, served);
}

/** How `source` serves the request; without it, what was mounted last: a router's own sessions within that router. */
export function servedBy<Data extends object>(
  request: object,
  source?: ScopeSource<Data>,
): Serving<Data> | undefined {
  let served = (request as Marked)[SERVED] as unknown as Serving<Data> | undefined;
  while (source !== undefined && served !== undefined && served.source !== source) {
    served = served.outer as unknown as Serving<Data> | undefined;
  }
  return served;
}

/** TLS as this process sees it. A proxy's word is taken only where the framework has been told to trust it. */
export function isEncrypted(req: AnyRequest): boolean {
  return (req.socket as Partial<TLSSocket>).encrypted === true;
}

/** Calls `over` once the response is finished or its connection is gone. */
function whenOver(req: AnyRequest, res: AnyResponse, over: () => void): void {
  if (isOver(res)) {
    over();
    return;
  }
  if (res.socket !== null) {
    res.on("close", over);
    return;
  }
  // A pipelined response that never gets its turn hears nothing when the connection goes.
  const leaveQueue = onceClosed(req.socket, done);
  res.on("close", done);

  function done(): void {
    res.removeListener("close", done);
    leaveQueue();
    over();
  }
}

const queued = new WeakMap<object, Set<() => void>>();

/** One listener per connection, however many responses are pipelined on it. @returns stops waiting */
function onceClosed(socket: AnyRequest["socket"], done: () => void): () => void {
  let waiting = queued.get(socket);
  if (waiting === undefined) {
    const all = new Set<() => void>();
    socket.once("close", () => {
      for (const one of all) one();
    });
    queued.set(socket, all);
    waiting = all;
  }
  waiting.add(done);
  return () => waiting.delete(done);
}

function isOver(res: AnyResponse): boolean {
  return "closed" in res
    ? res.closed === true
    : (res as { stream?: { closed: boolean } }).stream?.closed === true;
}
