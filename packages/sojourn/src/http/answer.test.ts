import fc from "fast-check";
import { expect, test } from "vitest";
import { amendHead, type HeaderLine, type Refusal, refusalLines, withCookies } from "./answer.ts";

const SID = "sid=x; Path=/";
const REFUSAL: Refusal = {
  ok: false,
  status: 503,
  code: "STORE_UNAVAILABLE",
  headers: { "retry-after": "1" },
  setCookies: [],
};

function cacheControl(...values: string[]): string | undefined {
  const lines = values.map((value): HeaderLine => ["Cache-Control", value]);
  const found = withCookies(lines, [SID]).filter(([name]) => name === "Cache-Control");
  return found.map(([, value]) => value).join(" | ");
}

test("a response with a new cookie is never left to shared caches, and a stricter word stays", () => {
  expect(cacheControl()).toBe('private, no-cache="Set-Cookie"');
  expect(cacheControl("public, max-age=60")).toBe('max-age=60, private, no-cache="Set-Cookie"');
  expect(cacheControl("s-maxage=5", "PUBLIC, immutable")).toBe('immutable, private, no-cache="Set-Cookie"');
  expect(cacheControl("max-age=60")).toBe('max-age=60, private, no-cache="Set-Cookie"');
  expect(cacheControl('private="x-a, x-b", max-age=1')).toBe('max-age=1, private, no-cache="Set-Cookie"');
  expect(cacheControl("no-store")).toBe("no-store");
  expect(cacheControl("private, max-age=60")).toBe("private, max-age=60");
  expect(cacheControl("max-age=5, No-Store")).toBe("max-age=5, No-Store");
});

test("a response without a new cookie keeps its headers untouched", () => {
  const lines: HeaderLine[] = [
    ["Cache-Control", "public"],
    ["Set-Cookie", SID],
  ];
  expect(withCookies(lines, [])).toEqual(lines);
  expect(withCookies(lines, [SID])).toEqual(lines);
});

const token = fc.stringMatching(/^[a-z][a-z-]{0,12}$/);
const line = fc.tuple(
  token,
  fc.stringMatching(/^[ -~]{0,20}$/).map((value) => value.trim()),
);

test("cookies keep every other line, in order", () => {
  fc.assert(
    fc.property(fc.array(line), fc.uniqueArray(token, { maxLength: 3 }), (lines, names) => {
      const cookies = names.map((name) => `${name}=1`);
      const others = (all: readonly HeaderLine[]) =>
        all.filter(([name]) => name !== "cache-control" && name !== "Cache-Control");
      const amended = others(withCookies(lines, cookies));
      const kept = others(lines);
      expect(amended.slice(0, kept.length)).toEqual(kept);
      const present = lines.filter(([name]) => name === "set-cookie").map(([, value]) => value);
      expect(amended.slice(kept.length)).toEqual(
        cookies.filter((cookie) => !present.includes(cookie)).map((cookie) => ["Set-Cookie", cookie]),
      );
    }),
  );
});

test("a refusal keeps CORS, vary, request ids and what Node said about the connection, and nothing else", () => {
  const names = [
    "Access-Control-Allow-Origin",
    "Vary",
    "X-Request-Id",
    "x-correlation-id",
    "traceparent",
    "Date",
  ];
  const dropped = [
    "Set-Cookie",
    "ETag",
    "Location",
    "Content-Encoding",
    "X-Powered-By",
    "Transfer-Encoding",
    "Trailer",
  ];
  const lines = [...names, ...dropped].map((name): HeaderLine => [name, "1"]);
  const kept = refusalLines(lines, REFUSAL, 28).map(([name]) => name);
  expect(kept).toEqual([...names, "retry-after", "Content-Type", "Cache-Control", "Content-Length"]);
});

test("an amended head is the same head with the lines added", () => {
  fc.assert(
    fc.property(fc.array(line), (lines) => {
      const head = `HTTP/1.1 200 OK\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
      expect(amendHead(head, { ok: true, setCookies: [] }, 0)).toBe(head);
    }),
  );
});

test("a refusal has its own status line", () => {
  expect(amendHead("HTTP/1.1 200 Fine\r\nDate: now\r\n\r\n", REFUSAL, 28).split("\r\n")[0]).toBe(
    "HTTP/1.1 503 Service Unavailable",
  );
});
