/** Responses that are not simply a head and a body: without one, in parts, early, interim, endless. */
import { fieldOf, okText, type ProtocolCase, statusOf } from "./case.test.support.ts";
import type { SeenRequest } from "./kit.test.support.ts";

const HEAD = "Host: shop.example\r\n";

export const RESPONSES: readonly ProtocolCase[] = [
  {
    name: "HEAD keeps Content-Length and has no body",
    ours: "200, length 5, nothing after it",
    play: async (stage) => {
      stage.script = (request) => void request.stream.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
      const client = await stage.open();
      client.send(`HEAD / HTTP/1.1\r\n${HEAD}\r\n`);
      const reply = await client.reply(true);
      client.send(`HEAD / HTTP/1.1\r\n${HEAD}\r\n`);
      const second = await client.reply(true);
      const after = second?.status === 200 ? "nothing after it" : "something after it";
      return `${statusOf(reply)}, length ${fieldOf(reply, "content-length")[0] ?? "-"}, ${after}`;
    },
  },
  ...([204, 304] as const).map(
    (status): ProtocolCase => ({
      name: `${status} has no body and the connection goes on`,
      ours: `${status}, ${status}`,
      play: async (stage) => {
        stage.script = (request) => void request.stream.send(`HTTP/1.1 ${status} X\r\n\r\n`);
        const client = await stage.open();
        client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
        const first = await client.reply();
        client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
        return [first, await client.reply()].map(statusOf).join(", ");
      },
    }),
  ),
  {
    name: "a body that ends with the connection arrives whole",
    ours: "200, until the end, complete",
    play: async (stage) => {
      stage.script = (request) => {
        request.stream.send("HTTP/1.1 200 OK\r\n\r\nuntil the end");
        request.stream.socket.end();
      };
      const { reply } = await stage.get();
      return `${statusOf(reply)}, ${reply?.body}, ${reply?.complete ? "complete" : "cut"}`;
    },
  },
  {
    name: "the first event of a stream arrives at once",
    ours: "data: 1",
    play: async (stage) => {
      stage.script = (request) =>
        void request.stream.send(
          "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
        );
      const client = await stage.open();
      client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
      return (await client.until(() => client.received.includes("data: 1"), 150)) ? "data: 1" : "late";
    },
  },
  {
    name: "the head of a stream arrives before its first event",
    ours: "200",
    play: async (stage) => {
      stage.script = (request) =>
        void request.stream.send(
          "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
      const client = await stage.open();
      client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
      return (await client.until(() => client.received.includes("\r\n\r\n"), 500)) ? "200" : "late";
    },
  },
  {
    name: "a client that leaves is gone for the server too",
    ours: "gone",
    play: async (stage) => {
      stage.script = (request) =>
        void request.stream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
      const client = await stage.open();
      client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
      await client.until(() => client.received.includes("\r\n\r\n"));
      client.socket.destroy();
      const seen = stage.seen[0];
      return (await seen?.stream.until(() => seen.stream.over)) ? "gone" : "still there";
    },
  },
  {
    name: "an early answer to an unfinished upload arrives whole",
    ours: "413, too much, complete",
    play: async (stage) => {
      stage.script = (request) =>
        void request.stream.send("HTTP/1.1 413 Too Large\r\nContent-Length: 8\r\n\r\ntoo much");
      const client = await stage.open();
      client.send(`POST / HTTP/1.1\r\n${HEAD}Content-Length: 1000000\r\n\r\n${"x".repeat(10_000)}`);
      const reply = await client.reply();
      return `${statusOf(reply)}, ${reply?.body}, ${reply?.complete ? "complete" : "cut"}`;
    },
  },
  {
    name: "a chunked request is sent on before its first byte",
    ours: "seen before the body, 200",
    play: async (stage) => {
      let saw: (request: SeenRequest) => void = () => {};
      const headSeen = new Promise<SeenRequest>((resolve) => {
        saw = resolve;
      });
      stage.script = async (request) => {
        saw(request);
        await request.whole();
        request.stream.send(okText("ok"));
      };
      const client = await stage.open();
      client.send(`POST / HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
      const early = await Promise.race([
        headSeen.then(() => "seen before the body"),
        client.until(() => client.over, 500).then(() => "kept back"),
      ]);
      client.send("2\r\nhi\r\n0\r\n\r\n");
      return `${early}, ${statusOf(await client.reply())}`;
    },
  },
  {
    name: "Expect: 100-continue: the server's 100 passes, then its answer",
    ours: "[100] 200, body hello",
    play: async (stage) => {
      stage.script = async (request) => {
        request.stream.send("HTTP/1.1 100 Continue\r\n\r\n");
        await request.whole();
        request.stream.send(okText("ok"));
      };
      const client = await stage.open();
      client.send(`POST / HTTP/1.1\r\n${HEAD}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`);
      await client.until(() => client.received.includes(" 100 "));
      client.send("hello");
      const reply = await client.reply();
      return `[${client.informational.join()}] ${statusOf(reply)}, body ${stage.seen[0]?.body}`;
    },
  },
  {
    name: "Expect: 100-continue: the server's 417 comes instead of a 100, and the connection ends",
    ours: "[] 417, closed",
    play: async (stage) => {
      stage.script = (request) =>
        void request.stream.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
      const client = await stage.open();
      client.send(`POST / HTTP/1.1\r\n${HEAD}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`);
      const reply = await client.reply();
      const end = (await client.ends(1_000)) ? "closed" : "open";
      return `[${client.informational.join()}] ${statusOf(reply)}, ${end}`;
    },
  },
  {
    name: "an expectation nobody knows",
    ours: "417",
    play: (stage) =>
      stage.refused(`POST / HTTP/1.1\r\n${HEAD}Expect: wonders\r\nContent-Length: 2\r\n\r\nhi`),
  },
  {
    name: "103 Early Hints pass",
    ours: "[103] 200, Link </a.css>; rel=preload",
    play: async (stage) => {
      stage.script = (request) =>
        void request.stream.send(
          `HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n${okText("ok")}`,
        );
      const client = await stage.open();
      client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
      const reply = await client.reply();
      const link = /link: (.*)\r\n/i.exec(client.received)?.[1] ?? "-";
      return `[${client.informational.join()}] ${statusOf(reply)}, Link ${link}`;
    },
  },
  ...([true, false] as const).map(
    (wanted): ProtocolCase => ({
      name: `trailers of a response ${wanted ? "pass to a client that takes them" : "are dropped for one that does not"}`,
      ours: wanted ? "200, complete, X-Sum: 42" : "200, complete, -",
      play: async (stage) => {
        stage.script = (request) =>
          void request.stream.send(
            "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\nAge: 9\r\n\r\n",
          );
        const { client, reply } = await stage.get(wanted ? "TE: trailers\r\nConnection: TE\r\n" : "");
        const trailer = /0\r\n((?:[^\r\n]+\r\n)*)\r\n$/.exec(client.received)?.[1]?.trim() || "-";
        return `${statusOf(reply)}, ${reply?.complete ? "complete" : "cut"}, ${trailer.replaceAll("\r\n", " ")}`;
      },
    }),
  ),
  ...(
    [
      ["garbage", "SSH-2.0-OpenSSH_9.2\r\n\r\n"],
      [
        "both framings",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
      ],
      ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"],
      ["a control character in a field", "HTTP/1.1 200 OK\r\nX-A: \x01\r\nContent-Length: 2\r\n\r\nok"],
      ["a NUL in a field", "HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 2\r\n\r\nok"],
    ] as const
  ).map(
    ([what, text]): ProtocolCase => ({
      name: `a response with ${what} is not passed on`,
      ours: "502",
      play: async (stage) => {
        stage.script = (request) => void request.stream.send(text);
        return statusOf((await stage.post("x")).reply);
      },
    }),
  ),
];
