/**
 * What a router can be told, what it does when not told, and the check of both: options are parsed once, here, and are
 * plain settings everywhere else.
 */
import { type Clock, systemClock } from "../core/clock.ts";
import { SessionError } from "../core/errors.ts";
import { type Trust, trustedProxies } from "./address.ts";
import { type AffinityKind, CLONE_ID_PATTERN } from "./affinity.ts";
import type { Balance, ReliefRule } from "./decision.ts";

export interface RouterServerOptions {
  /** Names the server in logs, statistics and placement. Keep it when the address changes. */
  id: string;
  /** `http://host:port`, no path. */
  url: string;
  /** What the server appends to its session cookies. Default: `id`. */
  cloneId?: string;
  /** Share of the work relative to the others, an integer 1..100. Default 1. */
  weight?: number;
}

/** "drain": finishes what runs, gets nothing new while another server can. "maintenance": gets nothing at all. */
export type ServerState = "up" | "drain" | "maintenance";

export interface RouterOptions {
  servers: readonly RouterServerOptions[];
  /** 0 takes a free one. Default 8080. */
  port?: number;
  /** Default "127.0.0.1". */
  host?: string;
  /** Tried in this order; an empty list balances every request. Default ["clone", "cookie"]. */
  affinity?: readonly AffinityKind[];
  cookie?: {
    /** Default "SERVERID". */
    name?: string;
    /**
     * Makes the cookie's tokens; several routers of one cluster need the same. The newest first, older ones are still
     * read. Without one the router draws a key at start, and a restart places every visitor anew.
     */
    secret?: string | readonly string[];
    /** "auto": only when the client came by https, as a trusted proxy says. Default "auto". */
    secure?: boolean | "auto";
  };
  /** Names the cluster in the tokens. Default "sojourn". */
  cluster?: string;
  /** The cookie whose suffix is the clone id. Default: `__Host-sid`, then `sid`. */
  sessionCookieName?: string | readonly string[];
  /** Default "least-loaded" with affinity, "round-robin" without. */
  balance?: Balance;
  /** Proxies whose `X-Forwarded-*` count: addresses or CIDR ranges. Default none. */
  trustedProxies?: readonly string[];
  /** Active checks; `false` leaves only the passive ones. */
  health?: false | Partial<HealthSettings>;
  timeouts?: Partial<TimeoutSettings>;
  limits?: Partial<LimitSettings>;
  /** Hot-spot relief; `false` turns it off. */
  relief?: false | Partial<ReliefSettings>;
  /** For demonstrations: a request whose cookie of this name is `none` is balanced round robin. Default off. */
  affinityOverrideCookie?: string;
  clock?: Clock;
  log?: (event: RouterEvent) => void;
}

/** Something an operator wants to know. Never holds a cookie, an address of a client or a path. */
export interface RouterEvent {
  readonly level: "info" | "warn";
  readonly event: "server-up" | "server-down" | "server-state" | "retry" | "cut" | "fault";
  readonly server: string;
  readonly detail: string;
}

export interface HealthSettings {
  /** Answers 200..399 when the server can work. Default "/health". */
  path: string;
  /** Default 1_000. */
  intervalMs: number;
  /** Failed checks in a row until down. Default 2. */
  fall: number;
  /** Passed checks in a row until up again. Default 2. */
  rise: number;
  /** Default 1_000. */
  timeoutMs: number;
}

export interface TimeoutSettings {
  /** Until a server takes the connection. Default 2_000. */
  connectMs: number;
  /** A client's complete request head. Default 10_000. */
  headersMs: number;
  /** Between two pieces of a client's body. Default 30_000. */
  bodyIdleMs: number;
  /** Until a server's response begins. Default 60_000. */
  firstByteMs: number;
  /** Between two pieces of a response; event streams have `tunnelIdleMs`. Default 60_000. */
  responseIdleMs: number;
  /** A client that stops reading its response. Default 60_000. */
  clientStallMs: number;
  /** A silent WebSocket or event stream. Default 3_600_000. */
  tunnelIdleMs: number;
  /** An idle client connection. Default 15_000. */
  keepAliveMs: number;
  /** An idle connection to a server that names no limit of its own. Must stay below the server's. Default 4_000. */
  serverKeepAliveMs: number;
  /** How long `close()` waits for what runs. Default 10_000. */
  closeMs: number;
}

export interface LimitSettings {
  /** Request head; more is 431. Default 16_384. */
  headerBytesMax: number;
  /** Fields of a request; more is 431. Default 100. */
  headerCountMax: number;
  /** Request target; more is 414. Default 8_192. */
  urlBytesMax: number;
  /** Open client connections. Default 10_000. */
  connectionsMax: number;
  /** Requests and tunnels at one server; a full server counts as unusable. Default 1_000. */
  inFlightMax: number;
}

export interface ReliefSettings extends ReliefRule {
  /** A session moves at most once in this time. Default 600_000. */
  holdMs: number;
}

/** Options with every default filled in. */
export interface RouterSettings {
  readonly port: number;
  readonly host: string;
  readonly affinity: readonly AffinityKind[];
  readonly cookieName: string;
  readonly cookieSecrets: readonly string[];
  readonly cookieSecure: boolean | "auto";
  readonly cluster: string;
  readonly sessionCookieNames: readonly string[];
  readonly balance: Balance;
  readonly trusts: Trust;
  readonly health: Readonly<HealthSettings> | null;
  readonly timeouts: Readonly<TimeoutSettings>;
  readonly limits: Readonly<LimitSettings>;
  readonly relief: Readonly<ReliefSettings> | null;
  readonly overrideCookieName: string | null;
  readonly clock: Clock;
  readonly log: (event: RouterEvent) => void;
}

/** One server, checked. */
export interface ServerSettings {
  readonly id: string;
  readonly url: URL;
  readonly cloneId: string;
  readonly weight: number;
}

const HEALTH: HealthSettings = { path: "/health", intervalMs: 1_000, fall: 2, rise: 2, timeoutMs: 1_000 };

const TIMEOUTS: TimeoutSettings = {
  connectMs: 2_000,
  headersMs: 10_000,
  bodyIdleMs: 30_000,
  firstByteMs: 60_000,
  responseIdleMs: 60_000,
  clientStallMs: 60_000,
  tunnelIdleMs: 3_600_000,
  keepAliveMs: 15_000,
  serverKeepAliveMs: 4_000,
  closeMs: 10_000,
};

const LIMITS: LimitSettings = {
  headerBytesMax: 16_384,
  headerCountMax: 100,
  urlBytesMax: 8_192,
  connectionsMax: 10_000,
  inFlightMax: 1_000,
};

const RELIEF: ReliefSettings = { factor: 1.25, share: 0.1, requestsPerSMin: 10, holdMs: 600_000 };

const COOKIE_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$/;
const SERVER_ID = /^[A-Za-z0-9._-]{1,64}$/;
const SECRET_CHARACTERS_MIN = 16;

/** @throws {SessionError} INVALID_OPTION naming the option */
export function routerSettings(options: RouterOptions): RouterSettings {
  const clock = options.clock ?? systemClock;
  const affinity = options.affinity ?? ["clone", "cookie"];
  for (const kind of affinity) {
    if (!["clone", "cookie", "address"].includes(kind))
      refuse("affinity", `"${kind}"`, "clone, cookie, address");
  }
  const sessionCookieNames = [options.sessionCookieName ?? ["__Host-sid", "sid"]].flat();
  const cookieName = options.cookie?.name ?? "SERVERID";
  for (const name of [cookieName, ...sessionCookieNames, options.affinityOverrideCookie ?? "none"]) {
    if (!COOKIE_NAME.test(name)) refuse("cookie name", `"${name}"`, "a cookie name of 1 to 64 characters");
  }
  const secrets = [options.cookie?.secret ?? clock.randomBytes(32).toString("base64url")].flat();
  if (secrets.length === 0 || secrets.some((secret) => secret.length < SECRET_CHARACTERS_MIN)) {
    refuse(
      "cookie.secret",
      "a shorter one or none",
      `secrets of at least ${SECRET_CHARACTERS_MIN} characters`,
    );
  }
  const health = options.health === false ? null : { ...HEALTH, ...options.health };
  if (health !== null) {
    if (!health.path.startsWith("/")) refuse("health.path", `"${health.path}"`, "a path that begins with /");
    positive("health", health, ["intervalMs", "fall", "rise", "timeoutMs"]);
  }
  const timeouts = { ...TIMEOUTS, ...options.timeouts };
  positive("timeouts", timeouts, Object.keys(TIMEOUTS) as (keyof TimeoutSettings)[]);
  const limits = { ...LIMITS, ...options.limits };
  positive("limits", limits, Object.keys(LIMITS) as (keyof LimitSettings)[]);
  const relief = options.relief === false ? null : { ...RELIEF, ...options.relief };
  if (relief !== null) {
    positive("relief", relief, ["factor", "share", "holdMs"]);
    if (relief.factor <= 1) refuse("relief.factor", String(relief.factor), "more than 1");
    if (relief.share > 1) refuse("relief.share", String(relief.share), "at most 1");
  }
  return {
    port: options.port ?? 8080,
    host: options.host ?? "127.0.0.1",
    affinity,
    cookieName,
    cookieSecrets: secrets,
    cookieSecure: options.cookie?.secure ?? "auto",
    cluster: options.cluster ?? "sojourn",
    sessionCookieNames,
    balance: options.balance ?? (affinity.length > 0 ? "least-loaded" : "round-robin"),
    trusts: trustedProxies(options.trustedProxies ?? []),
    health,
    timeouts,
    limits,
    relief,
    overrideCookieName: options.affinityOverrideCookie ?? null,
    clock,
    log: options.log ?? (() => {}),
  };
}

/** @throws {SessionError} INVALID_OPTION naming the server and what is wrong with it */
export function serverSettings(options: RouterServerOptions): ServerSettings {
  const { id, weight = 1 } = options;
  if (!SERVER_ID.test(id)) refuse("server id", `"${id}"`, "1 to 64 letters, digits, dots, dashes");
  const url = URL.canParse(options.url) ? new URL(options.url) : null;
  const bare = url?.protocol === "http:" && url.pathname === "/" && url.search === "" && url.username === "";
  if (url === null || !bare) refuse(`url of server "${id}"`, `"${options.url}"`, "http://host:port");
  const cloneId = options.cloneId ?? id;
  if (options.cloneId !== undefined && !CLONE_ID_PATTERN.test(cloneId)) {
    refuse(`cloneId of server "${id}"`, `"${cloneId}"`, "1 to 32 letters, digits, - or _");
  }
  if (!Number.isInteger(weight) || weight < 1 || weight > 100) {
    refuse(`weight of server "${id}"`, String(weight), "an integer 1..100");
  }
  return { id, url, cloneId, weight };
}

function positive<T>(group: string, values: T, names: readonly (keyof T & string)[]): void {
  for (const name of names) {
    const value = values[name] as number;
    if (!(value > 0)) refuse(`${group}.${name}`, String(value), "a number above 0");
  }
}

function refuse(option: string, found: string, expected: string): never {
  throw new SessionError(
    "INVALID_OPTION",
    `Cannot start router: ${option} is ${found}, expected ${expected}`,
  );
}
