/** A settled commit's part of a rendered HTTP/1.1 head. What it may do to a response at all: sessions/answer.ts. */
import { STATUS_CODES } from "node:http";
import { type HeaderLine, refusalLines, withCookies } from "../sessions/answer.ts";
import type { CommitOutcome } from "../sessions/scope.ts";

export {
  type HeaderLine,
  isKeptByRefusal,
  type Refusal,
  refusalBody,
  refusalLines,
  withCookies,
} from "../sessions/answer.ts";

/**
 * Amends a rendered HTTP/1.1 head.
 *
 * @param head  status line and header lines, as node:http rendered them, with the empty line that ends them
 */
export function amendHead(head: string, outcome: CommitOutcome, bodyBytes: number): string {
  const [statusLine = "", ...rendered] = head.slice(0, -4).split("\r\n");
  const lines = rendered.map((line): HeaderLine => {
    const colon = line.indexOf(": ");
    return [line.slice(0, colon), line.slice(colon + 2)];
  });
  const amended = outcome.ok
    ? withCookies(lines, outcome.setCookies)
    : refusalLines(lines, outcome, bodyBytes);
  const first = outcome.ok ? statusLine : `HTTP/1.1 ${outcome.status} ${reasonOf(outcome.status)}`;
  return `${first}\r\n${amended.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
}

export function reasonOf(status: number): string {
  return STATUS_CODES[status] ?? "Error";
}
