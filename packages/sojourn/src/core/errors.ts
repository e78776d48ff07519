/**
 * Every error a caller can meet, once. Codes are API: callers compare `code`, never messages. `docs/errors.md` says what
 * to do about each, and a house rule keeps that page and this table equal in both directions.
 *
 * A miss, a conflict and an expiry are answers, not errors; what stands here is refused, broken or unreachable.
 * Messages say what was attempted and what was found. They never hold an attribute value or a session id.
 */

/** `status`: what an HTTP adapter answers when nobody handles it. `retryable`: the same call may succeed later. */
export const ERROR_CODES = {
  // The caller's mistake: fixed in the program.
  INVALID_OPTION: { status: 500, retryable: false },
  UNSUPPORTED_VALUE: { status: 500, retryable: false },
  INVALID_VALUE: { status: 500, retryable: false },
  INVALID_ATTRIBUTE_NAME: { status: 500, retryable: false },
  SESSION_TOO_LARGE: { status: 413, retryable: false },
  TOO_MANY_ATTRIBUTES: { status: 413, retryable: false },
  LATE_WRITE: { status: 500, retryable: false },
  UNSUPPORTED_RESPONSE: { status: 500, retryable: false },
  SESSION_ENDED: { status: 409, retryable: false },
  UPDATE_CONFLICT: { status: 409, retryable: true },
  SESSION_BUSY: { status: 409, retryable: true },
  SESSION_LIMIT: { status: 409, retryable: false },
  NOT_ENUMERABLE: { status: 500, retryable: false },
  // The store's state: time or an operator fixes it.
  STORE_UNAVAILABLE: { status: 503, retryable: true },
  STORE_FULL: { status: 503, retryable: true },
  STORE_BEHIND: { status: 503, retryable: true },
  STORE_CLOSED: { status: 503, retryable: false },
  STORED_DATA_UNREADABLE: { status: 500, retryable: false },
  // Between members and clients of our engine.
  WRONG_SECRET: { status: 503, retryable: false },
  WRONG_DOMAIN: { status: 503, retryable: false },
  WRONG_PROTOCOL_VERSION: { status: 503, retryable: false },
  INVALID_FRAME: { status: 503, retryable: false },
  TOO_MANY_CONNECTIONS: { status: 503, retryable: true },
  INSECURE_LISTEN: { status: 500, retryable: false },
  PORT_TAKEN: { status: 500, retryable: false },
} as const satisfies Record<string, { status: number; retryable: boolean }>;

/** Long enough for a restart or a fail-over to finish, short enough that a person waits for it. */
export const RETRY_AFTER_S = 1;

export type ErrorCode = keyof typeof ERROR_CODES;

/** What a visitor may know. What exactly is wrong with the store stands in the error, the log and the metrics. */
const SENTENCES: Readonly<Record<number, string>> = {
  409: "The session has ended; nothing was changed",
  413: "The session would become too large; nothing was changed",
  503: "The session store cannot answer now; try again in a moment",
};

/** `{"code","message"}`. The code is API. */
export function refusalBody(code: ErrorCode): string {
  const message = SENTENCES[ERROR_CODES[code].status] ?? "The session could not be stored";
  return JSON.stringify({ code, message });
}

/** The one error class users need: compare `code`, look at `retryable`. */
export class SessionError extends Error {
  override readonly name: string = "SessionError";
  readonly code: ErrorCode;
  readonly retryable: boolean;
  /** What Express, Koa and Fastify answer with when the application does not handle the error itself. */
  readonly status: number;
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.retryable = ERROR_CODES[code].retryable;
    this.status = ERROR_CODES[code].status;
    this.statusCode = this.status;
    this.headers =
      this.status === 503 || code === "SESSION_BUSY" ? { "retry-after": String(RETRY_AFTER_S) } : {};
  }

  /** What Hono and our Web adapters answer with when the application does not handle the error itself. */
  getResponse(): Response {
    return new Response(refusalBody(this.code), {
      status: this.status,
      headers: {
        ...this.headers,
        "content-type": "application/json; charset=utf-8",
        "cache-control": "no-store",
      },
    });
  }
}

/** The store refused, timed out or hung up. A write may or may not have happened: a 503 means *unknown*, not *undone*. */
export class StoreUnavailableError extends SessionError {
  override readonly name = "StoreUnavailableError";
  readonly store: string;

  /** @param found  what happened, in the past tense: "did not answer within 500 ms" */
  constructor(store: string, action: string, found: string, options?: { cause?: unknown }) {
    super("STORE_UNAVAILABLE", `Cannot ${action}: store "${store}" ${found}`, options);
    this.store = store;
  }
}

/** Recognised by code, so an error made by another copy of this package still counts. */
export function isSessionError(error: unknown): error is SessionError {
  return error instanceof Error && typeof (error as { code?: unknown }).code === "string"
    ? Object.hasOwn(ERROR_CODES, (error as unknown as { code: string }).code)
    : false;
}
