/**
 * Which request belongs to which sessions: adapters attach, `sessions.of(request)` finds. A symbol on the request, which
 * ends with it; a WeakMap would have one more entry per request to look up and to collect.
 */
import { SessionError } from "../core/errors.ts";
import type { Session } from "./session.ts";

/** One request as served by one `createSessions`. */
export interface Attached<Data extends object> {
  /** What `createSessions` returned. */
  readonly source: object;
  session(): Promise<Session<Data>>;
}

const ATTACHED = Symbol("sojourn.attached");

interface Marked {
  [ATTACHED]?: Attached<never>[];
  /** Frameworks with a request of their own keep node's here. */
  readonly raw?: object;
}

/** The newest first: inside a router with sessions of its own, `req.session()` means those. */
export function attach<Data extends object>(request: object, attached: Attached<Data>): void {
  const marked = request as Marked;
  marked[ATTACHED] = [attached as unknown as Attached<never>, ...(marked[ATTACHED] ?? [])];
}

/** What is attached for `source`; without it, what was attached last. */
export function attachedTo<Data extends object>(
  request: object,
  source?: object,
): Attached<Data> | undefined {
  const all = (request as Marked)[ATTACHED] ?? ((request as Marked).raw as Marked | undefined)?.[ATTACHED];
  const found = source === undefined ? all?.[0] : all?.find((attached) => attached.source === source);
  return found as Attached<Data> | undefined;
}

/**
 * `sessions.of(request)`.
 *
 * @throws {SessionError} NOT_MOUNTED when no adapter serves the request with `source`
 */
export function sessionOf<Data extends object>(request: object, source: object): Promise<Session<Data>> {
  const attached = attachedTo<Data>(request, source);
  if (attached !== undefined) return attached.session();
  return Promise.reject(
    new SessionError(
      "NOT_MOUNTED",
      "Cannot find the request's session: no adapter was mounted for these sessions before this request's handler",
    ),
  );
}
