/** Where a request begins and ends. Two parsers that differ here are a smuggled request, so ours refuses every doubt. */
import { fieldOf, type ProtocolCase, type Stage, statusOf } from "./case.test.support.ts";

const HEAD = "Host: shop.example\r\n";

/** Sent as it is; must be refused without anything reaching a server. */
function refused(name: string, text: string, ours = "400"): ProtocolCase {
  return { name, ours, play: (stage) => stage.refused(text) };
}

function post(fields: string, body: string): string {
  return `POST / HTTP/1.1\r\n${HEAD}${fields}\r\n${body}`;
}

async function bodySeen(stage: Stage, text: string): Promise<string> {
  const { reply } = await stage.ask(text);
  return `${statusOf(reply)}, body "${stage.seen[0]?.body ?? ""}"`;
}

export const FRAMING: readonly ProtocolCase[] = [
  refused(
    "Content-Length and Transfer-Encoding together",
    post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
  ),
  refused("two different Content-Length", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!")),
  refused("two equal Content-Length", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
  refused("Content-Length as a list", post("Content-Length: 5, 5\r\n", "hello")),
  refused("Content-Length with a sign", post("Content-Length: +5\r\n", "hello")),
  refused("negative Content-Length", post("Content-Length: -1\r\n", "")),
  refused("Content-Length beyond 64 bits", post("Content-Length: 18446744073709551621\r\n", "hello")),
  refused(
    "space before the colon of Transfer-Encoding",
    post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
  ),
  refused(
    "Transfer-Encoding chunked, identity",
    post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
  ),
  refused("unknown Transfer-Encoding", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
  refused(
    "two Transfer-Encoding fields",
    post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "0\r\n\r\n"),
  ),
  refused("a folded field (obs-fold)", `GET / HTTP/1.1\r\n${HEAD}X-A: 1\r\n 2\r\n\r\n`),
  refused("lines that end in a bare LF", "GET / HTTP/1.1\nHost: shop.example\n\n"),
  refused("a bare CR inside a value", `GET / HTTP/1.1\r\n${HEAD}X-A: 1\rX-B: 2\r\n\r\n`),
  refused("a NUL inside a value", `GET / HTTP/1.1\r\n${HEAD}X-A: 1\0 2\r\n\r\n`),
  refused("a space in a field name", `GET / HTTP/1.1\r\n${HEAD}X A: 1\r\n\r\n`),
  refused("a field without a colon", `GET / HTTP/1.1\r\n${HEAD}nonsense\r\n\r\n`),
  refused("a field without a name", `GET / HTTP/1.1\r\n${HEAD}: 1\r\n\r\n`),
  refused("space before the first field", `GET / HTTP/1.1\r\n ${HEAD}\r\n`),
  refused("HTTP/9.9", `GET / HTTP/9.9\r\n${HEAD}\r\n`),
  refused("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  refused("a TLS handshake", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
  {
    name: "a chunked upload arrives whole",
    ours: '200, body "hello world"',
    play: (stage) =>
      bodySeen(stage, post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")),
  },
  {
    name: "chunk extensions are dropped",
    ours: '200, body "hello", no extension',
    play: async (stage) => {
      const seen = await bodySeen(
        stage,
        post("Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0;c\r\n\r\n"),
      );
      return `${seen}, ${stage.seen[0]?.rawBody.includes("a=b") ? "extension" : "no extension"}`;
    },
  },
  {
    name: "trailers of a request are dropped",
    ours: '200, body "hello", no trailer',
    play: async (stage) => {
      const seen = await bodySeen(
        stage,
        post("Transfer-Encoding: chunked\r\nTrailer: X-T\r\n", "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"),
      );
      return `${seen}, ${stage.seen[0]?.rawBody.includes("X-T") ? "trailer" : "no trailer"}`;
    },
  },
  ...(
    [
      ["a chunk size that is no number", "zz\r\nhello\r\n0\r\n\r\n"],
      ["a chunk size beyond 64 bits", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"],
      ["a chunk size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"],
      ["a negative chunk size", "-5\r\nhello\r\n0\r\n\r\n"],
      ["a chunk longer than its size", "3\r\nhello\r\n0\r\n\r\n"],
      ["a chunk size that ends in a bare LF", "5\nhello\r\n0\r\n\r\n"],
    ] as const
  ).map(
    ([name, body]): ProtocolCase => ({
      name,
      ours: "400, closed",
      play: async (stage) => {
        const { client, reply } = await stage.ask(post("Transfer-Encoding: chunked\r\n", body));
        return `${statusOf(reply)}, ${(await client.ends()) ? "closed" : "open"}`;
      },
    }),
  ),
  {
    name: "pipelined requests are answered in order, the slow one first",
    ours: "/slow, /fast",
    play: async (stage) => {
      let release = () => {};
      const fastSeen = new Promise<void>((resolve) => {
        release = resolve;
      });
      stage.script = async (request) => {
        const path = request.line.split(" ")[1]!;
        if (path === "/fast") release();
        // A proxy that sends them on one after the other never shows the second before the first is answered.
        else await Promise.race([fastSeen, request.stream.until(() => false, 300)]);
        request.stream.send(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`);
      };
      const client = await stage.open();
      client.send(`GET /slow HTTP/1.1\r\n${HEAD}\r\nGET /fast HTTP/1.1\r\n${HEAD}\r\n`);
      return [(await client.reply())?.body, (await client.reply())?.body].join(", ");
    },
  },
  {
    name: "a broken request behind a good one: both are answered, in order, then the connection ends",
    ours: "200, 400, closed",
    play: async (stage) => {
      const client = await stage.open();
      client.send(`GET / HTTP/1.1\r\n${HEAD}\r\nGET / HTTP/1.1\r\nX A: 1\r\n\r\n`);
      const replies = [await client.reply(), await client.reply()].map(statusOf);
      return `${replies.join(", ")}, ${(await client.ends()) ? "closed" : "open"}`;
    },
  },
  {
    name: "a good request behind a broken one is not served",
    ours: "400, closed, 0 forwarded",
    play: async (stage) => {
      const client = await stage.open();
      client.send(`GET / HTTP/1.1\r\n${HEAD}X A: 1\r\n\r\nGET /admin HTTP/1.1\r\n${HEAD}\r\n`);
      const reply = await client.reply();
      return `${statusOf(reply)}, ${(await client.ends()) ? "closed" : "open"}, ${stage.seen.length} forwarded`;
    },
  },
  {
    name: "a request behind a refused body is not taken from that body",
    ours: "400, closed, 0 forwarded",
    play: async (stage) => {
      const client = await stage.open();
      const inner = `GET /admin HTTP/1.1\r\n${HEAD}\r\n`;
      client.send(`POST / HTTP/1.1\r\n${HEAD}Host: other\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`);
      const reply = await client.reply();
      return `${statusOf(reply)}, ${(await client.ends()) ? "closed" : "open"}, ${stage.seen.length} forwarded`;
    },
  },
  {
    name: "the connection stays open for the next request",
    ours: "200, 200",
    play: async (stage) => {
      const client = await stage.open();
      client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
      const first = await client.reply();
      client.send(post("Content-Length: 2\r\n", "hi"));
      return [first, await client.reply()].map(statusOf).join(", ");
    },
  },
  {
    name: "HTTP/1.0 is answered and closed",
    ours: "200, complete, closed, not chunked",
    play: async (stage) => {
      stage.script = (request) =>
        void request.stream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
      const { client, reply } = await stage.ask(`GET / HTTP/1.0\r\n${HEAD}\r\n`);
      const closed = (await client.ends()) ? "closed" : "open";
      const chunked = fieldOf(reply, "transfer-encoding").length > 0 ? "chunked" : "not chunked";
      return `${statusOf(reply)}, ${reply?.body === "ok" ? "complete" : "cut"}, ${closed}, ${chunked}`;
    },
  },
];
