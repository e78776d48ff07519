/**
 * What one request may ask of its session, differently from the others: where it is mounted, on its route, or in the
 * call of `session()`. The most specific word counts; `docs/policies.md` says what each costs.
 */
import { invalidOption, requireKnown, requireMs, requireObject, requireOneOf } from "./check-options.ts";
import { EXCLUSIVE_WAIT_MS_DEFAULT, EXCLUSIVE_WAIT_MS_MAX } from "./exclusive.ts";

export interface VisitOptions {
  /**
   * The request is no activity of the visitor: a heartbeat, a poll, a prefetch. Nothing it does moves the idle deadline,
   * its commits included; only `touch()` and `renew()` still do. Default false.
   */
  readonly passive?: boolean;
  /**
   * When the store cannot be read. "fail": `session()` rejects, answered with 503 and Retry-After. "anonymous": an empty
   * session with `isUnavailable`, whose writes throw STORE_UNAVAILABLE; no session begins, no cookie is set or cleared,
   * and the visitor is back as soon as the store is. Default: that of `createSessions`.
   */
  readonly onStoreUnavailable?: OnStoreUnavailable;
  /**
   * Requests of this session that ask for it run one after another, across servers, each seeing what the one before has
   * committed; others are not held up. From `session()` until the commit or the headers, for at most 15 s. Waits for
   * `waitMs` (default 1_000, at most 10_000), then SESSION_BUSY. Costs one write more.
   */
  readonly exclusive?: boolean | { readonly waitMs?: number };
}

export type OnStoreUnavailable = "fail" | "anonymous";

/** What an adapter takes where it is mounted. */
export interface MountOptions<Req> extends VisitOptions {
  /** For some requests only; asked once, when the request first asks for its session. Wins over what stands beside it. */
  readonly forRequest?: (req: Req) => VisitOptions | undefined;
}

/** Tells, when the request first asks for its session, what its mount and route say. */
export type Mounted = (() => VisitOptions | undefined) | undefined;

const VISIT_OPTION_NAMES: readonly (keyof VisitOptions)[] = ["passive", "onStoreUnavailable", "exclusive"];

/** @throws {SessionError} INVALID_OPTION */
export function requireVisitOptions(options: VisitOptions): void {
  requireObject(options, "session options");
  requireKnown(options, VISIT_OPTION_NAMES, "");
  const { passive, onStoreUnavailable, exclusive } = options;
  if (passive !== undefined && typeof passive !== "boolean") {
    throw invalidOption("passive", passive, "true or false");
  }
  if (onStoreUnavailable !== undefined) requireOnStoreUnavailable(onStoreUnavailable);
  if (exclusive !== undefined && typeof exclusive !== "boolean") {
    requireObject(exclusive, "exclusive");
    requireKnown(exclusive, ["waitMs"], "exclusive.");
    waitMsOf(exclusive);
  }
}

/** @throws {SessionError} INVALID_OPTION */
export function waitMsOf(exclusive: true | { readonly waitMs?: number }): number {
  const { waitMs = EXCLUSIVE_WAIT_MS_DEFAULT } = exclusive === true ? {} : exclusive;
  return requireMs(waitMs, "exclusive.waitMs", EXCLUSIVE_WAIT_MS_MAX);
}

export function requireOnStoreUnavailable(value: unknown): void {
  requireOneOf(value, ["fail", "anonymous"], "onStoreUnavailable");
}

/** What is said specifically wins; what it leaves open stays. */
export function moreSpecific(
  general: VisitOptions | undefined,
  specific: VisitOptions | undefined,
): VisitOptions | undefined {
  if (general === undefined) return specific;
  if (specific === undefined) return general;
  const merged: { -readonly [K in keyof VisitOptions]: VisitOptions[K] } = { ...general };
  for (const name of VISIT_OPTION_NAMES) {
    const said = specific[name];
    if (said !== undefined) (merged as Record<string, unknown>)[name] = said;
  }
  return merged;
}

/**
 * For adapters, once where they are mounted: checks the options, and tells for each request what they say.
 *
 * @param others  names of the adapter's own options, which are none of ours
 * @throws {SessionError} INVALID_OPTION
 */
export function mounted<Req>(
  options: MountOptions<Req> | undefined,
  others: readonly string[] = [],
): (req: Req) => Mounted {
  if (options === undefined) return nothing;
  requireObject(options, "session options");
  const { forRequest, ...rest } = options;
  const own: VisitOptions = Object.fromEntries(
    Object.entries(rest).filter(([name]) => !others.includes(name)),
  );
  requireVisitOptions(own);
  if (forRequest === undefined) {
    if (Object.keys(own).length === 0) return nothing;
    const always = () => own;
    return () => always;
  }
  if (typeof forRequest !== "function") throw invalidOption("forRequest", forRequest, "a function");
  return (req) => () => {
    const specific = forRequest(req);
    if (specific !== undefined) requireVisitOptions(specific);
    return moreSpecific(own, specific);
  };
}

function nothing(): undefined {
  return undefined;
}
