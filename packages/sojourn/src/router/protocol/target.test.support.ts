/** Method, target, Host, sizes. */
import { type ProtocolCase, statusOf } from "./case.test.support.ts";

const HEAD = "Host: shop.example\r\n";

function refused(name: string, text: string, ours: string): ProtocolCase {
  return { name, ours, play: (stage) => stage.refused(text) };
}

/** What the server saw of the target and the Host. */
function forwarded(name: string, text: string, ours: string): ProtocolCase {
  return {
    name,
    ours,
    play: async (stage) => {
      const { reply } = await stage.ask(text);
      const seen = stage.seen[0];
      if (seen === undefined) return statusOf(reply);
      return `${statusOf(reply)}, ${seen.line.split(" ").slice(0, 2).join(" ")}, Host ${stage.sawField("host")}`;
    },
  };
}

export const TARGETS: readonly ProtocolCase[] = [
  refused("two different Host fields", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
  refused("two equal Host fields", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400"),
  refused("no Host in HTTP/1.1", "GET / HTTP/1.1\r\n\r\n", "400"),
  refused("a user in Host", "GET / HTTP/1.1\r\nHost: admin@shop.example\r\n\r\n", "400"),
  refused("a list in Host", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "400"),
  refused("a path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"),
  {
    name: "no Host in HTTP/1.0 is fine",
    ours: "200",
    play: async (stage) => statusOf((await stage.ask("GET / HTTP/1.0\r\n\r\n")).reply),
  },
  forwarded("Host is kept", `GET /x HTTP/1.1\r\n${HEAD}\r\n`, "200, GET /x, Host shop.example"),
  forwarded("a Host with port", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "200, GET /, Host [::1]:80"),
  forwarded(
    "absolute form: the authority of the target counts",
    "GET http://other.example:81/a?b HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "200, GET /a?b, Host other.example:81",
  ),
  forwarded(
    "absolute form without a path",
    "GET http://other.example?b HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "200, GET /?b, Host other.example",
  ),
  refused("absolute form of another scheme", `GET ftp://shop.example/ HTTP/1.1\r\n${HEAD}\r\n`, "400"),
  refused("absolute form with a user", `GET http://u@shop.example/ HTTP/1.1\r\n${HEAD}\r\n`, "400"),
  forwarded(
    "a path that begins with // stays a path",
    `GET //other.example/x HTTP/1.1\r\n${HEAD}\r\n`,
    "200, GET //other.example/x, Host shop.example",
  ),
  forwarded(
    "dots and escapes in a path are the server's business",
    `GET /a/../b/%2e%2e%2f HTTP/1.1\r\n${HEAD}\r\n`,
    "200, GET /a/../b/%2e%2e%2f, Host shop.example",
  ),
  refused("a target that is no path", `GET shop HTTP/1.1\r\n${HEAD}\r\n`, "400"),
  refused("a fragment in the target", `GET /a#b HTTP/1.1\r\n${HEAD}\r\n`, "400"),
  refused("a space in the target", `GET /a b HTTP/1.1\r\n${HEAD}\r\n`, "400"),
  refused("GET *", `GET * HTTP/1.1\r\n${HEAD}\r\n`, "400"),
  forwarded("OPTIONS *", `OPTIONS * HTTP/1.1\r\n${HEAD}\r\n`, "200, OPTIONS *, Host shop.example"),
  refused("CONNECT", "CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n\r\n", "405"),
  refused("TRACE", `TRACE / HTTP/1.1\r\n${HEAD}\r\n`, "405"),
  refused("a target of 9,000 bytes", `GET /${"a".repeat(9_000)} HTTP/1.1\r\n${HEAD}\r\n`, "414"),
  refused("a field of 20 KB", `GET / HTTP/1.1\r\n${HEAD}X-A: ${"a".repeat(20_000)}\r\n\r\n`, "431"),
  refused(
    "a head of 60 KB",
    `GET / HTTP/1.1\r\n${HEAD}${`X-A: ${"a".repeat(1_000)}\r\n`.repeat(60)}\r\n`,
    "431",
  ),
  refused("101 fields", `GET / HTTP/1.1\r\n${HEAD}${"X-A: 1\r\n".repeat(100)}\r\n`, "431"),
];
