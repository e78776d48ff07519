/**
 * What a failed attempt means: whether the request may be tried on another server, and what the client is told when not.
 *
 * Nothing sent: any method may go elsewhere. Sent, but no byte came back: only what is safe to do twice. Once the response
 * has begun: never; and a refused message, as opposed to a lost connection, would be refused again.
 */
import type { RequestHead } from "./request-head.ts";

/** Of requests that a server may have seen, first try included. What was never sent may ask each server once. */
export const SENT_ATTEMPTS_MAX = 2;

const REPLAYABLE_METHODS = new Set(["GET", "HEAD", "OPTIONS"]);
const LOST_CONNECTION = new Set([
  "UND_ERR_SOCKET",
  "UND_ERR_CLOSED",
  "UND_ERR_DESTROYED",
  "ECONNRESET",
  "EPIPE",
]);
const CONNECT_TIMEOUT = new Set(["UND_ERR_CONNECT_TIMEOUT", "ETIMEDOUT"]);
const REFUSED_BY_CLIENT_LIBRARY = new Set([
  "UND_ERR_INVALID_ARG",
  "UND_ERR_NOT_SUPPORTED",
  "ERR_INVALID_CHAR",
]);

export function isReplayable(head: RequestHead): boolean {
  return head.body === "none" && REPLAYABLE_METHODS.has(head.method);
}

/** @param heard  a byte of the response, an informational one too, came back */
export function mayRetry(head: RequestHead, sent: boolean, heard: boolean, error: Error): boolean {
  if (isUnsendable(error)) return false;
  if (!sent) return true;
  return !heard && isReplayable(head) && LOST_CONNECTION.has(codeOf(error));
}

/** The request itself cannot be sent, to any server. */
export function isUnsendable(error: Error): boolean {
  return REFUSED_BY_CLIENT_LIBRARY.has(codeOf(error));
}

export function statusOf(sent: boolean, error: Error): { status: number; reason: string } {
  if (isUnsendable(error)) return { status: 400, reason: "the request cannot be forwarded" };
  if (sent) return { status: 502, reason: "the server ended the connection without a valid response" };
  if (CONNECT_TIMEOUT.has(codeOf(error))) return { status: 504, reason: "the server did not accept in time" };
  return { status: 502, reason: "the server cannot be reached" };
}

/** For logs and health: the system's word for it. */
export function codeOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException;
  return code ?? error.message;
}
