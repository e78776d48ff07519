/** The options of `session()`, checked once and completed with express-session's defaults. */
import { systemClock } from "../../core/clock.ts";
import type { SessionStore } from "../../store/store.ts";
import { Cookie, type CookieOptions } from "./cookie.ts";
import type { Secret } from "./cookie-header.ts";
import { MemoryStore } from "./memory-store.ts";
import { isSecure } from "./request.ts";
import { Session } from "./session.ts";
import { isSojournStore, type SojournStoreOptions, storeOver } from "./sojourn-store.ts";
import type { Store } from "./store.ts";
import type { SessionRequest, StoreLike } from "./types.ts";
import { deprecate, warn } from "./warnings.ts";

/** One store call may take this long before the request goes on without its answer. */
export const STORE_TIMEOUT_MS_DEFAULT = 10_000;

// biome-ignore lint/suspicious/noExplicitAny: programs write the request type of their framework here
type AnyRequest = any;

export interface SessionOptions extends SojournStoreOptions {
  /** Signs the id cookie; a list while rotating, newest first: the first signs, all are accepted. */
  secret?: Secret | readonly Secret[] | undefined;
  /**
   * An express-session store, or one of Sojourn's (`redisStore(…)`, `sessionServers(…)`, `memoryStore()`): then requests
   * store only what they changed, and `resave` means nothing. Default: a new `MemoryStore`.
   */
  store?: StoreLike | SessionStore | undefined;
  /** Fixed, or drawn up for each request. */
  cookie?: CookieOptions | ((req: AnyRequest) => CookieOptions) | undefined;
  /** The cookie's name. Default "connect.sid". */
  name?: string | undefined;
  /** An older word for `name`. */
  key?: string | undefined;
  /** Draws a new id. Default: 192 random bits. */
  genid?: ((req: AnyRequest) => string) | undefined;
  /** Whether X-Forwarded-Proto says that the browser's connection is TLS. Default: what Express's `trust proxy` says. */
  proxy?: boolean | undefined;
  /** Stores sessions that nobody changed. Default true, as in express-session; say false. */
  resave?: boolean | undefined;
  /** Stores sessions that nothing was put in. Default true, as in express-session; say false. */
  saveUninitialized?: boolean | undefined;
  /** Sends the cookie with each response, so that its `maxAge` starts again. Default false. */
  rolling?: boolean | undefined;
  /** What `req.session = null` means: "destroy" ends the session, "keep" ignores this request's changes. Default "keep". */
  unset?: "destroy" | "keep" | undefined;
  /**
   * How long one call of the store may take, in ms, Infinity for ever. Not in express-session. Default 10,000.
   */
  storeTimeoutMs?: number | undefined;
}

/** The options, complete, and the sessions they make. */
export interface Setup {
  readonly secrets: readonly Secret[] | undefined;
  readonly store: Store;
  readonly name: string;
  readonly proxy: boolean | undefined;
  readonly resave: boolean;
  readonly saveUninitialized: boolean;
  readonly rolling: boolean;
  readonly unsetDestroys: boolean;
  readonly storeTimeoutMs: number;
  readonly storeTouches: boolean;
  cookieOptions(req: SessionRequest): CookieOptions;
  /** Puts a new, empty session on the request. */
  generate(req: SessionRequest, cookieOptions: CookieOptions): void;
}

/** @throws {TypeError} naming the option */
export function resolveOptions(options: SessionOptions): Setup {
  const { genid = newId, cookie = {}, proxy, unset, storeTimeoutMs = STORE_TIMEOUT_MS_DEFAULT } = options;
  if (typeof genid !== "function") throw new TypeError("genid option must be a function");
  if (unset && unset !== "destroy" && unset !== "keep") {
    throw new TypeError('unset option must be "destroy" or "keep"');
  }
  if (!(storeTimeoutMs > 0)) throw new TypeError("storeTimeoutMs option must be more than 0 ms, or Infinity");
  const isSojourns = options.store ? isSojournStore(options.store) : false;
  if (options.carryOver && !isSojourns) {
    throw new TypeError("carryOver option needs a Sojourn store to carry sessions over to; give it as store");
  }
  const store = isSojourns
    ? storeOver(options.store as SessionStore, options)
    : ((options.store || new MemoryStore()) as Store);
  if (process.env.NODE_ENV === "production" && store instanceof MemoryStore) {
    warn(
      "MEMORY_STORE",
      "MemoryStore is for development: it grows without limit and serves one process only",
    );
  }
  return {
    secrets: resolveSecrets(options.secret),
    store,
    name: options.name || options.key || "connect.sid",
    proxy,
    resave: !isSojourns && booleanOr(true, "resave", options.resave),
    saveUninitialized: booleanOr(true, "saveUninitialized", options.saveUninitialized),
    rolling: Boolean(options.rolling),
    unsetDestroys: unset === "destroy",
    storeTimeoutMs,
    storeTouches: typeof store.touch === "function",
    cookieOptions: typeof cookie === "function" ? cookie : () => cookie,
    generate(req, cookieOptions) {
      req.sessionID = genid(req);
      const session = new Session(req);
      session.cookie = new Cookie(cookieOptions);
      if (cookieOptions.secure === "auto" || cookieOptions.sameSite === "auto") {
        const secure = isSecure(req, proxy);
        if (cookieOptions.secure === "auto") session.cookie.secure = secure;
        if (cookieOptions.sameSite === "auto") session.cookie.sameSite = secure ? "none" : "lax";
      }
      req.session = session;
    },
  };
}

function resolveSecrets(secret: SessionOptions["secret"]): readonly Secret[] | undefined {
  if (Array.isArray(secret) && secret.length === 0) {
    throw new TypeError("secret option array must contain one or more strings");
  }
  if (!secret) {
    deprecate("REQ_SECRET", "req.secret; provide secret option");
    return undefined;
  }
  return Array.isArray(secret) ? (secret as readonly Secret[]) : [secret as Secret];
}

function booleanOr(byDefault: boolean, name: string, given: boolean | undefined): boolean {
  if (given !== undefined) return Boolean(given);
  deprecate(`UNDEFINED_${name.toUpperCase()}`, `undefined ${name} option; provide ${name} option`);
  return byDefault;
}

function newId(): string {
  return systemClock.randomBytes(24).toString("base64url");
}
