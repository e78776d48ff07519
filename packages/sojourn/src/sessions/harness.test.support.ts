/** What the session tests share: browsers that follow their cookies, and stores that are slow or broken on demand. */
import { parseCookies } from "../core/cookie.ts";
import { memoryStore } from "../store/memory.ts";
import type { SessionStore } from "../store/store.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { createSessions, type Sessions } from "./create-sessions.ts";
import type { Diagnostic } from "./diagnostics.ts";
import type { SessionsOptions } from "./options.ts";
import type { CommitOutcome, IncomingRequest, RequestScope } from "./scope.ts";
import type { Session } from "./session.ts";

export const SECRET = "a secret of the session tests";
export type Data = Record<string, unknown>;

export interface House {
  readonly clock: FakeClock;
  readonly store: ReturnType<typeof memoryStore>;
  readonly sessions: Sessions<Data>;
  readonly diagnostics: Diagnostic[];
  /** Another server of the same domain. */
  another(options?: SessionsOptions): Sessions<Data>;
}

export function house(options: SessionsOptions = {}): House {
  const clock = (options.clock as FakeClock | undefined) ?? new FakeClock();
  const store = memoryStore({ clock, sweepIntervalMs: 3_600_000 });
  const diagnostics: Diagnostic[] = [];
  const another = (more: SessionsOptions = {}) =>
    createSessions<Data>({
      store,
      secret: SECRET,
      clock,
      onDiagnostic: (event) => diagnostics.push(event),
      ...options,
      ...more,
    });
  return { clock, store, diagnostics, another, sessions: another() };
}

export interface Answer {
  readonly outcome: CommitOutcome | undefined;
  readonly setCookies: readonly string[];
}

export type Handler = (session: Session<Data>, scope: RequestScope<Data>) => unknown;

/** A browser: keeps what `Set-Cookie` says, in the order in which responses arrive. */
export class Jar {
  cookie: string | undefined;
  readonly #name: string;

  constructor(name = "sid") {
    this.#name = name;
  }

  /** The id cookie's value. */
  get value(): string | undefined {
    return parseCookies(this.cookie, this.#name)[0];
  }

  /** One request, answered after `handle`; what a response set is kept at once. */
  async request(
    sessions: Sessions<Data>,
    handle: Handler,
    more: Partial<IncomingRequest> = {},
  ): Promise<Answer> {
    const answer = await request(sessions, { cookie: this.cookie, ...more }, handle);
    this.receive(answer);
    return answer;
  }

  receive({ setCookies }: Answer): void {
    for (const line of setCookies) {
      const pair = line.slice(0, line.indexOf(";"));
      this.cookie = line.includes("Max-Age=0") ? undefined : pair;
    }
  }
}

/** Opens, handles, settles and closes as an adapter does. A handler's error still settles: a 500 carries cookies, too. */
export async function request(
  sessions: Sessions<Data>,
  incoming: Partial<IncomingRequest>,
  handle: Handler,
): Promise<Answer> {
  const scope = sessions.open({ cookie: undefined, secure: false, ...incoming });
  try {
    await handle(await scope.session(), scope);
  } finally {
    await scope.settle();
    scope.close();
  }
  const outcome = scope.outcome();
  return { outcome, setCookies: outcome?.setCookies ?? [] };
}

type Verb = "read" | "create" | "apply" | "touch" | "supersede" | "destroy";

/** The real store behind a gate: calls are counted, held back, or made to fail, before or after they happened. */
export class GatedStore implements SessionStore {
  readonly name = "gated";
  readonly calls: Record<Verb, number> = { read: 0, create: 0, apply: 0, touch: 0, supersede: 0, destroy: 0 };
  readonly timeouts: number[] = [];
  /** Runs before each call; what it throws is the answer. */
  before: (verb: Verb) => Promise<void> | void = () => {};
  /** Runs after each call happened, before it answers. */
  after: (verb: Verb) => Promise<void> | void = () => {};
  readonly #store: SessionStore;

  constructor(store: SessionStore) {
    this.#store = store;
  }

  get total(): number {
    return Object.values(this.calls).reduce((sum, count) => sum + count, 0);
  }

  async #pass<T>(verb: Verb, timeoutMs: number | undefined, call: () => Promise<T>): Promise<T> {
    this.calls[verb]++;
    this.timeouts.push(timeoutMs ?? Number.NaN);
    await this.before(verb);
    const result = await call();
    await this.after(verb);
    return result;
  }

  read: SessionStore["read"] = (key, options) =>
    this.#pass("read", options?.timeoutMs, () => this.#store.read(key, options));
  create: SessionStore["create"] = (session, options) =>
    this.#pass("create", options?.timeoutMs, () => this.#store.create(session, options));
  apply: SessionStore["apply"] = (key, delta, options) =>
    this.#pass("apply", options?.timeoutMs, () => this.#store.apply(key, delta, options));
  touch: SessionStore["touch"] = (key, expiresAtMs, options) =>
    this.#pass("touch", options?.timeoutMs, () => this.#store.touch(key, expiresAtMs, options));
  supersede: SessionStore["supersede"] = (key, options) =>
    this.#pass("supersede", options.timeoutMs, () => this.#store.supersede(key, options));
  destroy: SessionStore["destroy"] = (key, options) =>
    this.#pass("destroy", options?.timeoutMs, () => this.#store.destroy(key, options));
  close: SessionStore["close"] = () => this.#store.close();
}

/** A promise and the ways to end it. */
export function gate(): { promise: Promise<void>; open: () => void } {
  let open: (() => void) | undefined;
  const promise = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { promise, open: open! };
}
