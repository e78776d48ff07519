/** Fields on their way, both ways: what ends at this hop, what is added, what is left alone. */
import { fieldOf, okText, type ProtocolCase, statusOf } from "./case.test.support.ts";

const TRUSTED = { trustedProxies: ["127.0.0.0/8"] };

/** Which of the named fields reached the server. */
function reached(name: string, fields: string, names: readonly string[], ours: string): ProtocolCase {
  return {
    name,
    ours,
    play: async (stage) => {
      await stage.get(fields);
      const seen = stage.seen[0];
      if (seen === undefined) return "nothing forwarded";
      return names.map((field) => `${field}: ${seen.all(field).join(" | ") || "-"}`).join("; ");
    },
  };
}

export const FORWARDING: readonly ProtocolCase[] = [
  reached(
    "a field named in Connection ends here",
    "Connection: close, X-Hop\r\nX-Hop: 1\r\nX-Other: 2\r\n",
    ["X-Hop", "X-Other"],
    "X-Hop: -; X-Other: 2",
  ),
  reached(
    "Host and forwarding fields cannot be named away",
    "Connection: Host, X-Forwarded-For, Via\r\n",
    ["Host", "X-Forwarded-For"],
    "Host: shop.example; X-Forwarded-For: 127.0.0.1",
  ),
  reached(
    "Keep-Alive, Proxy-Connection and TE end here",
    "Keep-Alive: timeout=9\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nTrailer: X-T\r\n",
    ["Keep-Alive", "Proxy-Connection", "TE", "Trailer"],
    "Keep-Alive: -; Proxy-Connection: -; TE: -; Trailer: -",
  ),
  reached(
    "duplicate fields stay apart and in order",
    "X-A: 1\r\nX-B: 2\r\nX-A: 3\r\n",
    ["X-A", "X-B"],
    "X-A: 1 | 3; X-B: 2",
  ),
  {
    name: "names keep their case, values their bytes",
    ours: 'X-MiXeD: "caf\xe9"',
    play: async (stage) => {
      await stage.get('X-MiXeD: "caf\xe9"\r\n');
      const field = stage.seen[0]?.fields.find(([key]) => key.toLowerCase() === "x-mixed");
      return field === undefined ? "nothing forwarded" : field.join(": ");
    },
  },
  reached(
    "a stranger's X-Forwarded-For is replaced",
    "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n",
    ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"],
    "X-Forwarded-For: 127.0.0.1; X-Forwarded-Proto: http; X-Forwarded-Host: shop.example",
  ),
  reached(
    "a stranger's other forwarding fields are removed",
    "Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Prefix: /x\r\nX_Forwarded_For: 6.6.6.6\r\n",
    ["Forwarded", "X-Real-IP", "X-Forwarded-Prefix", "X_Forwarded_For"],
    "Forwarded: -; X-Real-IP: -; X-Forwarded-Prefix: -; X_Forwarded_For: -",
  ),
  {
    ...reached(
      "a trusted proxy's X-Forwarded-For is continued",
      "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n",
      ["X-Forwarded-For", "X-Forwarded-Proto"],
      "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 127.0.0.1; X-Forwarded-Proto: https",
    ),
    options: TRUSTED,
    onlyOurs: true,
  },
  {
    name: "behind https the affinity cookie is Secure",
    ours: "Secure",
    options: TRUSTED,
    onlyOurs: true,
    play: async (stage) => {
      const { reply } = await stage.get("X-Forwarded-Proto: https\r\n");
      return fieldOf(reply, "set-cookie")[0]?.endsWith("; Secure") ? "Secure" : "not Secure";
    },
  },
  {
    name: "Via is continued",
    ours: "1.0 outer, 1.1 sojourn-*",
    play: async (stage) => {
      await stage.get("Via: 1.0 outer\r\n");
      return stage.sawField("via").replace(/sojourn-[0-9a-f]{12}/, "sojourn-*") || "-";
    },
  },
  {
    name: "a request that comes round again is refused",
    ours: "508, 1 forwarded",
    onlyOurs: true,
    play: async (stage) => {
      await stage.get();
      const { reply } = await stage.get(`Via: ${stage.sawField("via")}\r\n`);
      return `${statusOf(reply)}, ${stage.seen.length} forwarded`;
    },
  },
  {
    name: "response: a field named in Connection, and Keep-Alive, end here",
    ours: "X-Hop -, X-Other 2, Keep-Alive of the server -",
    play: async (stage) => {
      stage.script = (request) =>
        void request.stream.send(
          okText(
            "ok",
            "Connection: X-Hop, keep-alive\r\nKeep-Alive: timeout=77\r\nX-Hop: 1\r\nX-Other: 2\r\n",
          ),
        );
      const { reply } = await stage.get();
      const value = (name: string) => fieldOf(reply, name)[0] ?? "-";
      const keepAlive = fieldOf(reply, "keep-alive").includes("timeout=77") ? "timeout=77" : "-";
      return `X-Hop ${value("x-hop")}, X-Other ${value("x-other")}, Keep-Alive of the server ${keepAlive}`;
    },
  },
  {
    name: "response: every Set-Cookie arrives, in order",
    ours: "a=1, b=2, c=3",
    play: async (stage) => {
      stage.script = (request) =>
        void request.stream.send(okText("ok", "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nSet-Cookie: c=3\r\n"));
      const { reply } = await stage.get();
      return fieldOf(reply, "set-cookie")
        .filter((value) => !value.startsWith("SERVERID="))
        .join(", ");
    },
  },
  {
    name: "response: names keep their case",
    ours: "X-MiXeD: 1",
    play: async (stage) => {
      stage.script = (request) => void request.stream.send(okText("ok", "X-MiXeD: 1\r\n"));
      const { reply } = await stage.get();
      return reply?.head.split("\r\n").find((line) => /^x-mixed/i.test(line)) ?? "-";
    },
  },
  {
    name: "response: the reason phrase is kept",
    ours: "HTTP/1.1 299 Quite Fine",
    play: async (stage) => {
      stage.script = (request) =>
        void request.stream.send("HTTP/1.1 299 Quite Fine\r\nContent-Length: 0\r\n\r\n");
      const { reply } = await stage.get();
      return reply?.head.split("\r\n")[0] ?? "-";
    },
  },
  {
    name: "the affinity cookie never reaches an application",
    ours: "a=1; b=2",
    play: async (stage) => {
      await stage.get("Cookie: a=1; SERVERID=x; b=2\r\n");
      return stage.sawField("cookie");
    },
  },
  {
    name: "a Cookie field of nothing but the affinity cookie is left out",
    ours: "no Cookie",
    play: async (stage) => {
      await stage.get("Cookie: SERVERID=x\r\n");
      const seen = stage.sawField("cookie");
      return seen === "" ? "no Cookie" : seen;
    },
  },
];
