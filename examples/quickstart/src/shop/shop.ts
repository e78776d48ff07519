/**
 * What the three shops share: everything that is neither a framework nor a session. Reading a request's words, showing a
 * session, and turning an error into an answer. How sessions are used stands in express.ts, fastify.ts and node.ts.
 */
import { setTimeout as wait } from "node:timers/promises";
import { isSessionError, type Session } from "sojourn";

/** A body may be somewhat larger than a session, so that the session layer gets to say what does not fit. */
export const BODY_BYTES_MAX = 256 * 1024;
/** Attribute names stand in the address; the router takes addresses of 8 KiB. */
export const NAME_CHARACTERS_MAX = 8_192;
export const DELAY_MS_MAX = 30_000;
const USER_CHARACTERS_MAX = 64;

/** An answer that says no. */
export class ShopError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export interface Problem {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly code: string; readonly message: string };
}

export interface SessionView {
  /** Which shop answered. */
  readonly server: string;
  readonly isNew: boolean;
  /** Opaque; changes with every commit. Null for a visitor without a session. */
  readonly version: string | null;
  readonly principal: string | null;
  readonly attributes: Readonly<Record<string, unknown>>;
}

export function viewOf(session: Session, server: string): SessionView {
  const { isNew, version, principal } = session;
  // fromEntries defines: an attribute called "__proto__" is one like any other.
  const attributes = Object.fromEntries(session.keys().map((name) => [name, session.get(name)]));
  return { server, isNew, version, principal, attributes };
}

/** Waits as `?delayMs=` asks, between reading the session and changing it: makes requests overlap on purpose. */
export async function pause(delayMs: unknown): Promise<void> {
  if (delayMs === undefined || delayMs === null) return;
  const number = typeof delayMs === "string" && /^\d{1,5}$/.test(delayMs) ? Number(delayMs) : Number.NaN;
  if (!(number <= DELAY_MS_MAX)) {
    throw new ShopError(400, "INVALID_DELAY", `delayMs must be a whole number 0..${DELAY_MS_MAX}`);
  }
  await wait(number);
}

/** Any JSON value; what it says about its type does not matter. */
export function parseJson(body: unknown): unknown {
  const text = Buffer.isBuffer(body) ? body.toString("utf8") : "";
  if (text.trim() === "") throw new ShopError(400, "INVALID_JSON", "The body must be JSON, and it is empty");
  try {
    return JSON.parse(text);
  } catch {
    throw new ShopError(400, "INVALID_JSON", "The body is not JSON");
  }
}

/** @returns the user name of `{ "user": "ada" }` */
export function parseUser(body: unknown): string {
  const value = parseJson(body) as { user?: unknown } | null;
  const user = typeof value?.user === "string" ? value.user.trim() : "";
  if (user === "" || user.length > USER_CHARACTERS_MAX) {
    throw new ShopError(400, "INVALID_USER", `user must be a text of 1..${USER_CHARACTERS_MAX} characters`);
  }
  return user;
}

/** What a counter holds after one more; whatever was there that is no number counts as none. */
export function plusOne(current: unknown): number {
  return (Number.isFinite(current) ? (current as number) : 0) + 1;
}

/** The interface, for telling "no such page" from "not with this method". */
const ROUTES: readonly (readonly [path: RegExp, methods: readonly string[]])[] = [
  [/^\/session$/, ["GET", "HEAD"]],
  [/^\/session\/attributes\/[^/]+$/, ["PUT", "DELETE"]],
  [/^\/session\/counters\/[^/]+$/, ["POST"]],
  [/^\/(login|logout|logout-everywhere)$/, ["POST"]],
  [/^\/health$/, ["GET", "HEAD"]],
];

/** What to say when no route took the request. */
export function unmatched(method: string, url: string): Problem {
  const [path = ""] = url.split("?");
  const allowed = ROUTES.find(([pattern]) => pattern.test(path))?.[1];
  if (allowed === undefined) return problem(404, "NOT_FOUND", "There is nothing here");
  const allow = allowed.join(", ");
  return {
    ...problem(405, "METHOD_NOT_ALLOWED", `${method} is not possible here: ${allow}`),
    headers: { allow },
  };
}

/** Session errors that are this visitor's doing here, because names and values come from the request. */
const VISITORS_MISTAKES = new Set(["INVALID_ATTRIBUTE_NAME", "UNSUPPORTED_VALUE"]);

/** The answer to a thrown error of ours, of the session layer or of a framework. Only the first two explain themselves. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ShopError) return problem(error.status, error.code, error.message);
  if (isSessionError(error)) {
    const status = VISITORS_MISTAKES.has(error.code) ? 400 : error.status;
    return { ...problem(status, error.code, error.message), headers: error.headers };
  }
  // Body parsers and routers say what they think of a request in `status` (Express) or `statusCode` (Fastify).
  const { status, statusCode } = (error ?? {}) as { status?: unknown; statusCode?: unknown };
  const found = status ?? statusCode;
  if (found === 413) {
    return problem(413, "BODY_TOO_LARGE", `A body may have at most ${BODY_BYTES_MAX} bytes`);
  }
  if (typeof found === "number" && found >= 400 && found < 500) {
    return problem(found, "BAD_REQUEST", "The request cannot be understood");
  }
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  return problem(500, "INTERNAL_ERROR", "Something is wrong with this shop");
}

function problem(status: number, code: string, message: string): Problem {
  return { status, headers: {}, body: { code, message } };
}
