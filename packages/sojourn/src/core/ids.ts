/**
 * The id a browser holds, and the key a store sees. The key is SHA-256 of the id, so no store, dump, log or screen ever
 * holds something a thief could put into a cookie.
 */
import { createHash, hash as hashOnce } from "node:crypto";
import type { Clock } from "./clock.ts";

/** 256 random bits, base64url, 43 characters. */
export type SessionId = string & { readonly sessionId: unique symbol };

/** SHA-256 of a session id, base64url, 43 characters. All a store ever sees. */
export type SessionKey = string & { readonly sessionKey: unique symbol };

/** 24 base64url characters; unique per write, the same in every retry of it. */
export type OperationId = string & { readonly operationId: unique symbol };

// The last of 43 characters carries 4 bits, so it is one of 16: a second spelling of the same bits is not an id.
const ID_PATTERN = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

export function newSessionId(clock: Pick<Clock, "randomBytes">): SessionId {
  return clock.randomBytes(32).toString("base64url") as SessionId;
}

export function isSessionId(text: string): text is SessionId {
  return text.length === 43 && ID_PATTERN.test(text);
}

export function isSessionKey(text: string): text is SessionKey {
  return text.length === 43 && ID_PATTERN.test(text);
}

export function sessionKeyOf(id: SessionId): SessionKey {
  // crypto.hash (Node ≥ 20.12) is about twice as fast as a Hash object for such short input.
  return (
    hashOnce ? hashOnce("sha256", id, "base64url") : createHash("sha256").update(id).digest("base64url")
  ) as SessionKey;
}

export function newOperationId(clock: Pick<Clock, "randomBytes">): OperationId {
  return clock.randomBytes(18).toString("base64url") as OperationId;
}
