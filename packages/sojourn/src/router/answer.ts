/** What the router says itself: short, plain, never stored, and without a word about what is behind it. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import { RETRY_AFTER_S } from "../core/errors.ts";

const ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/**
 * Answers, unless an answer has begun.
 *
 * @param reason  for a person, in half a sentence
 */
export function answer(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  reason: string,
  allow: string = ALLOWED_METHODS,
): void {
  if (response.headersSent || response.destroyed) return;
  const body = `${status} ${STATUS_CODES[status]}: ${reason}\n`;
  const headers = ownHeaders(status, body, allow);
  // A refused head, or a body nobody will read: what follows on this connection cannot be trusted to be a request.
  if (!request.complete || (status < 500 && status !== 404)) headers.push("Connection", "close");
  response.writeHead(status, headers);
  response.end(body);
}

/** The same for a connection that never became a request. */
export function rawAnswer(status: number, reason: string): string {
  const body = `${status} ${STATUS_CODES[status]}: ${reason}\n`;
  const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`];
  const headers = [...ownHeaders(status, body, ALLOWED_METHODS), "Connection", "close"];
  for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  return `${lines.join("\r\n")}\r\n\r\n${body}`;
}

function ownHeaders(status: number, body: string, allow: string): string[] {
  const headers = ["Content-Type", "text/plain; charset=utf-8", "Cache-Control", "no-store"];
  headers.push("Content-Length", String(Buffer.byteLength(body)));
  if (status === 503) headers.push("Retry-After", String(RETRY_AFTER_S));
  if (status === 405) headers.push("Allow", allow);
  return headers;
}
