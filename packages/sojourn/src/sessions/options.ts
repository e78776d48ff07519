/**
 * The options of `createSessions`, checked once at the start: a mistake stops the program with the option's name, what
 * was found and what is expected, instead of becoming a session that is lost in production.
 */
import { type Clock, systemClock } from "../core/clock.ts";
import { type Codec, jsonCodec } from "../core/codec.ts";
import { type CookieAttributes, serializeCookie } from "../core/cookie.ts";
import { deriveKeys, type SecretKeys } from "../core/keys.ts";
import { memoryStore } from "../store/memory.ts";
import { observedStore } from "../store/observed.ts";
import { type SessionStore, STORE_TIMEOUT_MS_DEFAULT } from "../store/store.ts";
import { invalidOption, requireKnown, requireMethods, requireMs, requireObject } from "./check-options.ts";
import { type Diagnostic, Diagnostics } from "./diagnostics.ts";
import {
  LIMIT_OPTION_NAMES,
  type LimitOptions,
  type LimitPolicy,
  resolveLimitOptions,
} from "./login-limit.ts";
import { checkedCodec, type StandardSchema, type ValueCodec } from "./schema.ts";
import { type OnStoreUnavailable, requireOnStoreUnavailable } from "./visit-options.ts";
import {
  resolveWriteOptions,
  WRITE_OPTION_NAMES,
  type WritePolicy,
  type WritePolicyOptions,
} from "./write-policy.ts";

export const IDLE_TIMEOUT_MS_DEFAULT = 1_800_000;
export const ABSOLUTE_TIMEOUT_MS_DEFAULT = 12 * 3_600_000;
/** Stores keep the memory of an ended session this long, so no session may live longer. */
export const ABSOLUTE_TIMEOUT_MS_MAX = 30 * 24 * 3_600_000;
export const SESSION_BYTES_MAX_DEFAULT = 64 * 1024;
export const ATTRIBUTES_MAX_DEFAULT = 128;
const STORE_BUDGET_MS_MAX = 60_000;
/** Browsers keep no cookie longer: RFC 6265bis. */
const COOKIE_MAX_AGE_MS_MAX = 400 * 24 * 3_600_000;
const NAME_DEFAULT = "sessions";
const NAME_CHARS_MAX = 64;
const COOKIE_NAME_DEFAULT = "sid";
const CLONE_ID_PATTERN = /^[A-Za-z0-9_.-]{1,64}$/;

export interface CookieOptions {
  /** Default "sid", and "__Host-sid" when secure. Any other name is used as it is: "JSESSIONID". */
  readonly name?: string;
  /** Default "/". */
  readonly path?: string;
  /** Default none: only the host that set it. */
  readonly domain?: string;
  /** Default "lax". */
  readonly sameSite?: "strict" | "lax" | "none";
  /** Default true: scripts on the page cannot read it. */
  readonly httpOnly?: boolean;
  /** Only over TLS. Default: whether NODE_ENV is "production". */
  readonly secure?: boolean;
  /** Keeps the cookie over restarts of the browser, at most until the absolute timeout. Default: ends with the browser. */
  readonly maxAgeMs?: number;
}

export interface Limits {
  /** Names and encoded values of one session. Default 64 KB. */
  readonly sessionBytesMax?: number;
  /** Default 128. */
  readonly attributesMax?: number;
}

export interface SessionsOptions extends WritePolicyOptions, LimitOptions {
  /** Where sessions live. Default: the memory of this process. */
  readonly store?: SessionStore;
  /**
   * Signs the id cookies, ≥ 16 characters, the same on all servers; a list while rotating, newest first. Required in
   * production; elsewhere one is drawn for this process, and a restart forgets all sessions.
   */
  readonly secret?: string | readonly string[];
  readonly cookie?: CookieOptions;
  /** Ends the cookie's value with `:<cloneId>`, for routers that find this server by it. ≤ 64 of A–Z a–z 0–9 _ . - */
  readonly cloneId?: string;
  /** Without a request for this long the session ends. Default 30 minutes. */
  readonly idleTimeoutMs?: number;
  /** However busy, the session ends this long after it began. Default 12 h, at most 30 d. */
  readonly absoluteTimeoutMs?: number;
  /** Each may be Infinity. */
  readonly limits?: Limits;
  /** All waiting of one request for the store. Lower answers 503 sooner; higher outlasts longer pauses. Default 500. */
  readonly storeBudgetMs?: number;
  /** When a session cannot be read, unless a route says otherwise (`VisitOptions`). Default "fail": 503 with Retry-After. */
  readonly onStoreUnavailable?: OnStoreUnavailable;
  /** Tells these sessions from others of this process in events and metrics. 1..64 characters, default "sessions". */
  readonly name?: string;
  readonly clock?: Clock;
  readonly codec?: Codec;
  /**
   * Checks attributes when they are set and when they are read: any synchronous Standard Schema of the whole data (Zod,
   * Valibot, ArkType); its output is their type. `set` and `update` throw INVALID_VALUE; a stored value that does not fit
   * any more reads as absent. A check only: transforms and defaults are not applied.
   */
  readonly schema?: StandardSchema;
  /** Hears what an operator should know, each code at most once a minute. Default: console.warn. */
  readonly onDiagnostic?: (event: Diagnostic) => void;
}

/** The options, complete and checked. */
export interface Policy extends WritePolicy, LimitPolicy {
  readonly name: string;
  readonly store: SessionStore;
  /** The store is ours to close. */
  readonly ownsStore: boolean;
  readonly keys: SecretKeys;
  readonly cookieName: string;
  readonly cookieAttributes: CookieAttributes;
  readonly cookieMaxAgeMs: number | undefined;
  readonly cloneId: string | undefined;
  readonly idleTimeoutMs: number;
  readonly absoluteTimeoutMs: number;
  readonly sessionBytesMax: number;
  readonly attributesMax: number;
  readonly storeBudgetMs: number;
  readonly onStoreUnavailable: OnStoreUnavailable;
  readonly clock: Clock;
  readonly codec: ValueCodec;
  readonly diagnostics: Diagnostics;
}

/** @throws {SessionError} INVALID_OPTION */
export function resolveOptions(options: SessionsOptions): Policy {
  requireObject(options, "options");
  requireKnown(options, OPTION_NAMES, "");
  const isProduction = process.env.NODE_ENV === "production";
  const { clock = systemClock, codec = jsonCodec, onDiagnostic, cloneId, limits = {} } = options;
  const { onStoreUnavailable = "fail", name = NAME_DEFAULT } = options;
  requireOnStoreUnavailable(onStoreUnavailable);
  requireMethods(clock, ["nowMs", "monotonicMs", "setTimer", "randomBytes"], "clock");
  requireMethods(codec, ["encode", "decode"], "codec");
  if (onDiagnostic !== undefined && typeof onDiagnostic !== "function") {
    throw invalidOption("onDiagnostic", onDiagnostic, "a function");
  }
  if (!(typeof name === "string" && name.length >= 1 && name.length <= NAME_CHARS_MAX)) {
    throw invalidOption("name", name, `1..${NAME_CHARS_MAX} characters`);
  }
  requireObject(limits, "limits");
  requireKnown(limits, ["sessionBytesMax", "attributesMax"], "limits.");
  if (cloneId !== undefined && !(typeof cloneId === "string" && CLONE_ID_PATTERN.test(cloneId))) {
    throw invalidOption("cloneId", cloneId, "1..64 of A-Z a-z 0-9 _ . -");
  }
  const absoluteTimeoutMs = requireMs(
    options.absoluteTimeoutMs ?? ABSOLUTE_TIMEOUT_MS_DEFAULT,
    "absoluteTimeoutMs",
    ABSOLUTE_TIMEOUT_MS_MAX,
  );
  const idleTimeoutMs = requireMs(
    options.idleTimeoutMs ?? Math.min(IDLE_TIMEOUT_MS_DEFAULT, absoluteTimeoutMs),
    "idleTimeoutMs",
    absoluteTimeoutMs,
  );
  const cookie = resolveCookie(options.cookie ?? {}, isProduction);
  const diagnostics = new Diagnostics(clock, onDiagnostic);
  const keys = deriveKeys(options.secret ?? generatedSecret(clock, diagnostics, isProduction));
  const { store } = options;
  if (store !== undefined) requireMethods(store, STORE_METHODS, "store");
  return {
    ...cookie,
    keys,
    cloneId,
    idleTimeoutMs,
    absoluteTimeoutMs,
    sessionBytesMax: requireLimit(limits.sessionBytesMax, SESSION_BYTES_MAX_DEFAULT, "sessionBytesMax"),
    attributesMax: requireLimit(limits.attributesMax, ATTRIBUTES_MAX_DEFAULT, "attributesMax"),
    storeBudgetMs: requireMs(
      options.storeBudgetMs ?? STORE_TIMEOUT_MS_DEFAULT,
      "storeBudgetMs",
      STORE_BUDGET_MS_MAX,
    ),
    onStoreUnavailable,
    ...resolveWriteOptions(options),
    ...resolveLimitOptions(options),
    clock,
    codec: options.schema === undefined ? codec : checkedCodec(codec, options.schema, diagnostics),
    diagnostics,
    name,
    // Last: a store that was made for options that are then refused would keep sweeping.
    store: observedStore(store ?? memoryStore({ clock }), name, clock),
    ownsStore: store === undefined,
  };
}

const OPTION_NAMES: readonly (keyof SessionsOptions)[] = [
  "store",
  "secret",
  "cookie",
  "cloneId",
  "idleTimeoutMs",
  "absoluteTimeoutMs",
  "limits",
  "storeBudgetMs",
  "onStoreUnavailable",
  ...WRITE_OPTION_NAMES,
  ...LIMIT_OPTION_NAMES,
  "name",
  "clock",
  "codec",
  "schema",
  "onDiagnostic",
];
const COOKIE_OPTION_NAMES: readonly (keyof CookieOptions)[] = [
  "name",
  "path",
  "domain",
  "sameSite",
  "httpOnly",
  "secure",
  "maxAgeMs",
];
const STORE_METHODS: readonly (keyof SessionStore)[] = [
  "read",
  "create",
  "apply",
  "touch",
  "supersede",
  "destroy",
  "close",
];

function resolveCookie(
  cookie: CookieOptions,
  isProduction: boolean,
): Pick<Policy, "cookieName" | "cookieAttributes" | "cookieMaxAgeMs"> {
  requireObject(cookie, "cookie");
  requireKnown(cookie, COOKIE_OPTION_NAMES, "cookie.");
  const { path = "/", domain, sameSite = "lax", httpOnly = true, secure = isProduction, maxAgeMs } = cookie;
  for (const [name, value] of Object.entries({ httpOnly, secure })) {
    if (typeof value !== "boolean") throw invalidOption(`cookie.${name}`, value, "true or false");
  }
  for (const name of ["name", "path", "domain"] as const) {
    const value = cookie[name];
    if (value !== undefined && typeof value !== "string") {
      throw invalidOption(`cookie.${name}`, value, "a string");
    }
  }
  if (!["strict", "lax", "none"].includes(sameSite)) {
    throw invalidOption("cookie.sameSite", sameSite, '"strict", "lax" or "none"');
  }
  if (maxAgeMs !== undefined) requireMs(maxAgeMs, "cookie.maxAgeMs", COOKIE_MAX_AGE_MS_MAX);
  const cookieName = cookie.name ?? (secure ? `__Host-${COOKIE_NAME_DEFAULT}` : COOKIE_NAME_DEFAULT);
  if (cookieName.startsWith("__Host-")) {
    const otherwise = `with the name ${JSON.stringify(cookieName)}: set cookie.name to have one`;
    if (domain !== undefined) throw invalidOption("cookie.domain", domain, `none ${otherwise}`);
    if (path !== "/") throw invalidOption("cookie.path", path, `"/" ${otherwise}`);
  }
  const cookieAttributes: CookieAttributes = { path, domain, sameSite, httpOnly, secure };
  // Knows every other combination that browsers drop without a word.
  serializeCookie(cookieName, "", cookieAttributes);
  return { cookieName, cookieAttributes, cookieMaxAgeMs: maxAgeMs };
}

function generatedSecret(clock: Clock, diagnostics: Diagnostics, isProduction: boolean): string {
  if (isProduction) {
    throw invalidOption(
      "secret",
      undefined,
      "a string of at least 16 characters when NODE_ENV is production",
    );
  }
  diagnostics.report(
    "SECRET_GENERATED",
    "no secret is configured, so one was drawn for this process: after a restart, and on every other server, " +
      "all sessions are unknown. Give createSessions the option secret",
  );
  return clock.randomBytes(32).toString("base64url");
}

function requireLimit(value: number | undefined, byDefault: number, name: keyof Limits): number {
  const limit = value ?? byDefault;
  if (typeof limit === "number" && limit >= 0) return limit;
  throw invalidOption(`limits.${name}`, limit, "a number from 0, or Infinity");
}
