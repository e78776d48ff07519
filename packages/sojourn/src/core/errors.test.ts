import { describe, expect, test } from "vitest";
import {
  ERROR_CODES,
  type ErrorCode,
  isSessionError,
  RETRY_AFTER_S,
  SessionError,
  StoreUnavailableError,
} from "./errors.ts";

const codes = Object.keys(ERROR_CODES) as ErrorCode[];

describe("every code", () => {
  test.each(codes)("%s says by itself whether to retry and what to answer", (code) => {
    const cause = new Error("below");
    const error = new SessionError(code, "Cannot do it: reason", { cause });
    expect(error).toMatchObject({ name: "SessionError", code, message: "Cannot do it: reason", cause });
    expect(error.retryable).toBe(ERROR_CODES[code].retryable);
    expect([error.status, error.statusCode]).toEqual([ERROR_CODES[code].status, ERROR_CODES[code].status]);
    expect(error.status).toBeGreaterThanOrEqual(400);
    expect(error.status).toBeLessThan(600);
    expect(isSessionError(error)).toBe(true);
  });

  // A turn of exclusive access comes by itself, as a store does.
  test.each(codes)("%s tells clients when to come back if waiting helps", (code) => {
    const { status, headers } = new SessionError(code, "m");
    const waitingHelps = status === 503 || code === "SESSION_BUSY";
    expect(headers).toEqual(waitingHelps ? { "retry-after": String(RETRY_AFTER_S) } : {});
  });
});

test("a store that cannot be reached is named, with what was attempted and what happened", () => {
  const error = new StoreUnavailableError("memory", "read the session", "did not answer within 500 ms");
  expect(error).toBeInstanceOf(SessionError);
  expect(error).toMatchObject({
    name: "StoreUnavailableError",
    code: "STORE_UNAVAILABLE",
    retryable: true,
    store: "memory",
    message: 'Cannot read the session: store "memory" did not answer within 500 ms',
  });
});

test("errors are recognised by code, not by class: another copy of the package makes them, too", () => {
  const foreign = Object.assign(new Error("m"), { code: "STORE_FULL" });
  expect(isSessionError(foreign)).toBe(true);
  for (const other of [
    new Error("m"),
    Object.assign(new Error("m"), { code: "ECONNREFUSED" }),
    Object.assign(new Error("m"), { code: "toString" }),
    Object.assign(new Error("m"), { code: "__proto__" }),
    Object.assign(new Error("m"), { code: 503 }),
    { code: "STORE_FULL" },
    "STORE_FULL",
    null,
    undefined,
  ]) {
    expect(isSessionError(other)).toBe(false);
  }
});
