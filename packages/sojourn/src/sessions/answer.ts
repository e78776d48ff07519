/**
 * The two things a settled commit may do to a response that is about to leave: add the session's cookies, or replace it
 * by a refusal. Both work on header lines after the application and every middleware had their say, so nothing can undo
 * them; each kind of response renders and applies them in its own way (`http/`, web.ts).
 */
import type { CommitOutcome } from "./scope.ts";

export { refusalBody } from "../core/errors.ts";

export type HeaderLine = readonly [name: string, value: string];

export type Refusal = Extract<CommitOutcome, { ok: false }>;

/** What a refusal keeps of the application's headers: without CORS a browser hides the refusal from its own page. */
const KEPT_HEADERS = new Set(["vary", "x-request-id", "x-correlation-id", "request-id", "traceparent"]);
/** Node wrote these about the connection, not the application about its answer. */
const CONNECTION_HEADERS = new Set(["date", "connection", "keep-alive"]);

/**
 * Adds `setCookies`, and makes sure that no shared cache hands one visitor's cookie to another: unless the application
 * said `no-store` or `private`, its `public` and `s-maxage` go and `private, no-cache="Set-Cookie"` comes.
 */
export function withCookies(lines: readonly HeaderLine[], setCookies: readonly string[]): HeaderLine[] {
  const added = setCookies.filter(
    (cookie) => !lines.some((line) => is(line, "set-cookie") && line[1] === cookie),
  );
  if (added.length === 0) return [...lines];
  const cookies = added.map((cookie): HeaderLine => ["Set-Cookie", cookie]);
  const directives = lines
    .filter((line) => is(line, "cache-control"))
    .flatMap((line) => directivesOf(line[1]));
  if (directives.some((directive) => /^(no-store|private)$/i.test(directive))) return [...lines, ...cookies];
  const kept = directives.filter((directive) => !/^(public$|s-maxage\b|private=)/i.test(directive));
  return [
    ...lines.filter((line) => !is(line, "cache-control")),
    ["Cache-Control", [...kept, "private", 'no-cache="Set-Cookie"'].join(", ")],
    ...cookies,
  ];
}

/**
 * The header lines of the answer to a failed commit.
 *
 * @param lines      what the application was about to send
 * @param bodyBytes  length of `refusalBody`
 */
export function refusalLines(
  lines: readonly HeaderLine[],
  refusal: Refusal,
  bodyBytes: number,
): HeaderLine[] {
  return [
    ...lines.filter(([name]) => CONNECTION_HEADERS.has(name.toLowerCase()) || isKeptByRefusal(name)),
    ...Object.entries(refusal.headers),
    ["Content-Type", "application/json; charset=utf-8"],
    ["Cache-Control", "no-store"],
    ["Content-Length", String(bodyBytes)],
    ...refusal.setCookies.map((cookie): HeaderLine => ["Set-Cookie", cookie]),
  ];
}

/** Whether an answer of ours keeps this header of the application's. */
export function isKeptByRefusal(name: string): boolean {
  const lower = name.toLowerCase();
  return KEPT_HEADERS.has(lower) || lower.startsWith("access-control-");
}

function is([name]: HeaderLine, lower: string): boolean {
  return name.length === lower.length && name.toLowerCase() === lower;
}

/** Splits a Cache-Control value at commas that are outside quotes: `no-cache="a, b"` is one directive. */
function directivesOf(value: string): string[] {
  return (value.match(/(?:"[^"]*"|[^,"])+/g) ?? []).map((directive) => directive.trim()).filter(Boolean);
}
