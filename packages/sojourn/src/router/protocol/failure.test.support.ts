/** Servers that fail, and clients that are slow. What is safe to repeat is repeated once; what is not, never. */
import { okText, type ProtocolCase, type Stage, statusOf } from "./case.test.support.ts";
import type { Client, Script } from "./kit.test.support.ts";

const HEAD = "Host: shop.example\r\n";

/** The first request of the case meets `fails`, those after it are answered. */
function once(fails: Script): Script {
  return async (request, number) => {
    await request.whole();
    if (number === 0) await fails(request, number);
    else request.stream.send(okText("ok"));
  };
}

const hangUp: Script = (request) => void request.stream.socket.destroy();

async function seenTimes(stage: Stage, ask: Promise<{ reply: { status: number } | null }>): Promise<string> {
  const { reply } = await ask;
  return `${reply?.status ?? "no response"}, sent ${stage.seen.length}×`;
}

/** How a response that begins and then dies looks to the client. */
async function cutAfter(stage: Stage, text: string): Promise<string> {
  stage.script = (request) => {
    request.stream.send(text);
    request.stream.socket.end();
  };
  const { client, reply } = await stage.get();
  const ended = (await client.ends()) ? "closed" : "hangs";
  return `${statusOf(reply)}, ${reply?.complete ? "looks complete" : "cut"}, ${ended}, sent ${stage.seen.length}×`;
}

async function slowly(client: Client, pieces: readonly string[], everyMs: number): Promise<void> {
  for (const piece of pieces) {
    client.send(piece);
    if (await client.until(() => client.over, everyMs)) return;
  }
}

export const FAILURES: readonly ProtocolCase[] = [
  {
    name: "a refused connection: POST goes to the other server",
    ours: "200 200 200 200 200 200",
    play: async (stage) => {
      await stage.servers[0].stop();
      const statuses: string[] = [];
      for (let i = 0; i < 6; i++) statuses.push(statusOf((await stage.post("x")).reply));
      return statuses.join(" ");
    },
  },
  {
    name: "every connection refused",
    ours: "502",
    play: async (stage) => {
      for (const server of stage.servers) await server.stop();
      return statusOf((await stage.get()).reply);
    },
  },
  {
    name: "the server hangs up without a byte: GET is repeated on the other",
    ours: "200, sent 2×",
    play: (stage) => {
      stage.script = once(hangUp);
      return seenTimes(stage, stage.get());
    },
  },
  {
    name: "the server hangs up without a byte: POST is not repeated",
    ours: "502, sent 1×",
    play: (stage) => {
      stage.script = once(hangUp);
      return seenTimes(stage, stage.post("x"));
    },
  },
  {
    name: "the server hangs up without a byte: POST without a body is not repeated either",
    ours: "502, sent 1×",
    play: (stage) => {
      stage.script = once(hangUp);
      return seenTimes(stage, stage.post(""));
    },
  },
  {
    name: "the server hangs up without a byte: GET with a body is not repeated",
    ours: "502, sent 1×",
    play: (stage) => {
      stage.script = once(hangUp);
      return seenTimes(stage, stage.ask(`GET / HTTP/1.1\r\n${HEAD}Content-Length: 2\r\n\r\nhi`));
    },
  },
  {
    name: "the server hangs up without a byte: PUT and DELETE are not repeated",
    ours: "502 502, sent 2×",
    play: async (stage) => {
      stage.script = hangUp;
      const put = await stage.ask(`PUT / HTTP/1.1\r\n${HEAD}Content-Length: 2\r\n\r\nhi`);
      const remove = await stage.ask(`DELETE / HTTP/1.1\r\n${HEAD}\r\n`);
      return `${statusOf(put.reply)} ${statusOf(remove.reply)}, sent ${stage.seen.length}×`;
    },
  },
  {
    name: "two attempts are the most",
    ours: "502, sent 2×",
    play: (stage) => {
      stage.script = hangUp;
      return seenTimes(stage, stage.get());
    },
  },
  {
    name: "the server hangs up after a 103: GET is not repeated",
    ours: "502, sent 1×",
    play: (stage) => {
      stage.script = once(async (request) => {
        request.stream.send("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n");
        request.stream.socket.end();
      });
      return seenTimes(stage, stage.get());
    },
  },
  {
    name: "the server dies in a body with a length: the client is cut",
    ours: "200, cut, closed, sent 1×",
    play: (stage) => cutAfter(stage, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
  },
  {
    name: "the server dies in a chunked body: the client gets no last chunk",
    ours: "200, cut, closed, sent 1×",
    play: (stage) => cutAfter(stage, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
  },
  {
    name: "the server dies in a chunked body: HTTP/1.0 sees a reset, not an end",
    ours: "reset",
    play: async (stage) => {
      stage.script = async (request) => {
        request.stream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        await request.stream.until(() => false, 100);
        request.stream.socket.destroy();
      };
      const client = await stage.open();
      client.send(`GET / HTTP/1.0\r\n${HEAD}\r\n`);
      await client.until(() => client.closed || client.ending !== "open");
      return client.ending;
    },
  },
  {
    name: "the server dies in its head",
    ours: "502",
    play: async (stage) => {
      stage.script = (request) => {
        request.stream.send("HTTP/1.1 200 OK\r\nContent-Le");
        request.stream.socket.end();
      };
      return statusOf((await stage.post("x")).reply);
    },
  },
  {
    name: "a server that does not answer",
    ours: "504, sent 1×",
    play: (stage) => {
      stage.script = () => {};
      return seenTimes(stage, stage.get());
    },
  },
  {
    name: "a server that stops in the middle of a body: the client is cut",
    ours: "200, cut, closed",
    play: async (stage) => {
      stage.script = (request) =>
        void request.stream.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
      const { client, reply } = await stage.get();
      return `${statusOf(reply)}, ${reply?.complete ? "looks complete" : "cut"}, ${client.over ? "closed" : "hangs"}`;
    },
  },
  {
    name: "a connection that says nothing",
    ours: "408, closed",
    play: async (stage) => {
      const client = await stage.open();
      const closed = (await client.ends()) ? "closed" : "open";
      return `${statusOf(await client.reply())}, ${closed}`;
    },
  },
  {
    name: "a head that trickles in (slowloris)",
    ours: "408, closed, 0 forwarded",
    play: async (stage) => {
      const client = await stage.open();
      await slowly(client, ["GET / HTTP/1.1\r\n", ...Array.from({ length: 40 }, () => "X-A: 1\r\n")], 100);
      return `${statusOf(await client.reply())}, ${client.over ? "closed" : "open"}, ${stage.seen.length} forwarded`;
    },
  },
  {
    name: "a body that stops coming",
    ours: "408, closed, gone for the server",
    play: async (stage) => {
      const client = await stage.open();
      client.send(`POST / HTTP/1.1\r\n${HEAD}Content-Length: 100\r\n\r\nhalf`);
      const status = statusOf(await client.reply());
      const closed = (await client.ends()) ? "closed" : "open";
      const upstream = stage.seen[0]?.stream;
      const gone = (await upstream?.until(() => upstream.over))
        ? "gone for the server"
        : "held at the server";
      return `${status}, ${closed}, ${gone}`;
    },
  },
  {
    name: "a body that keeps coming slowly is let through",
    ours: "200, body abcdef",
    play: async (stage) => {
      const client = await stage.open();
      client.send(`POST / HTTP/1.1\r\n${HEAD}Content-Length: 6\r\n\r\n`);
      await slowly(client, [..."abcdef"], 300);
      const reply = await client.reply();
      return `${statusOf(reply)}, body ${stage.seen[0]?.body}`;
    },
  },
];
