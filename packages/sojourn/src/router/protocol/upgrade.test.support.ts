/** WebSockets, and upgrades that are none. */
import {
  affinityPair,
  fieldOf,
  okText,
  type ProtocolCase,
  type Stage,
  statusOf,
} from "./case.test.support.ts";
import type { Client, Script } from "./kit.test.support.ts";

const OFFER =
  "GET /chat HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPT =
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const accept: Script = (request) => void request.stream.send(ACCEPT);

async function opened(stage: Stage, after = ""): Promise<{ client: Client; status: string; head: string }> {
  stage.script = accept;
  const client = await stage.open();
  client.send(OFFER + after);
  const reply = await client.reply();
  return { client, status: statusOf(reply), head: reply?.head ?? "" };
}

export const UPGRADES: readonly ProtocolCase[] = [
  {
    name: "a WebSocket opens and carries bytes both ways",
    ours: "101, ping, pong",
    play: async (stage) => {
      const { client, status } = await opened(stage);
      const server = stage.seen[0]!;
      client.send("ping");
      await server.stream.until(() => server.rawBody.includes("ping"));
      server.stream.send("pong");
      await client.until(() => client.rest.includes("pong"));
      return `${status}, ${server.rawBody}, ${client.rest}`;
    },
  },
  {
    name: "bytes sent right behind the offer are not lost",
    ours: "101, early",
    play: async (stage) => {
      const { status } = await opened(stage, "early");
      const server = stage.seen[0];
      await server?.stream.until(() => server.rawBody.includes("early"));
      return `${status}, ${server?.rawBody ?? "-"}`;
    },
  },
  {
    name: "the server sees the offer whole",
    ours: "Upgrade | websocket | 13",
    play: async (stage) => {
      await opened(stage);
      const seen = stage.seen[0];
      return ["connection", "upgrade", "sec-websocket-version"]
        .map((name) => seen?.get(name) ?? "-")
        .join(" | ");
    },
  },
  {
    name: "the handshake carries the affinity cookie",
    ours: "set",
    play: async (stage) => {
      const { head } = await opened(stage);
      return affinityPair({ status: 101, head, body: "", complete: true }) === undefined ? "not set" : "set";
    },
  },
  {
    name: "a refused WebSocket: status and body arrive",
    ours: "403, not you",
    play: async (stage) => {
      stage.script = (request) =>
        void request.stream.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nnot you");
      const { reply } = await stage.ask(OFFER);
      return `${statusOf(reply)}, ${reply?.body}`;
    },
  },
  {
    name: "the client closes a WebSocket: the server's side closes",
    ours: "closed",
    play: async (stage) => {
      const { client } = await opened(stage);
      client.socket.end();
      const { stream } = stage.seen[0]!;
      return (await stream.until(() => stream.over)) ? "closed" : "open";
    },
  },
  {
    name: "the server closes a WebSocket: what it sent last arrives, then the client's side closes",
    ours: "bye, closed",
    play: async (stage) => {
      const { client } = await opened(stage);
      stage.seen[0]!.stream.send("bye").socket.end();
      const closed = (await client.ends()) ? "closed" : "open";
      return `${client.rest}, ${closed}`;
    },
  },
  {
    name: "a WebSocket whose server refuses connections opens on the other",
    ours: "101 101 101 101",
    play: async (stage) => {
      await stage.servers[0].stop();
      const statuses: string[] = [];
      for (let i = 0; i < 4; i++) statuses.push((await opened(stage)).status);
      return statuses.join(" ");
    },
  },
  {
    name: "an offer of h2c is declined, the request served",
    ours: "200, no Upgrade, body hello",
    play: async (stage) => {
      const { reply } = await stage.post(
        "hello",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
      );
      const upgrade = stage.seen[0]?.get("upgrade") ?? "no Upgrade";
      return `${statusOf(reply)}, ${upgrade}, body ${stage.seen[0]?.body}`;
    },
  },
  {
    name: "a POST is no WebSocket",
    ours: "200, no Upgrade",
    play: async (stage) => {
      const { reply } = await stage.post("x", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
      return `${statusOf(reply)}, ${stage.seen[0]?.get("upgrade") ?? "no Upgrade"}`;
    },
  },
  {
    name: "a server that switches protocols unasked",
    ours: "502",
    play: async (stage) => {
      stage.script = accept;
      return statusOf((await stage.post("x")).reply);
    },
  },
  {
    name: "an offer with two Hosts is refused",
    ours: "400",
    play: (stage) => stage.refused(OFFER.replace("Host:", "Host: a\r\nHost:")),
  },
  {
    name: "after a declined offer the connection goes on",
    ours: "200, 200",
    play: async (stage) => {
      stage.script = (request) => void request.stream.send(okText("ok"));
      const client = await stage.open();
      client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
      const first = await client.reply();
      client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      const second = await client.reply();
      return fieldOf(first, "upgrade").length > 0 ? "upgraded" : [first, second].map(statusOf).join(", ");
    },
  },
  {
    name: "an offer behind an unfinished request waits its turn",
    ours: "200 slow, 101",
    play: async (stage) => {
      const client = await stage.open();
      stage.script = async (request) => {
        if (request.get("upgrade") !== undefined) return void request.stream.send(ACCEPT);
        await request.stream.until(() => false, 200);
        request.stream.send(okText("slow"));
      };
      client.send(`GET /slow HTTP/1.1\r\nHost: a\r\n\r\n${OFFER}`);
      const first = await client.reply();
      return `${statusOf(first)} ${first?.body}, ${statusOf(await client.reply())}`;
    },
  },
  {
    name: "a declined offer behind an unfinished request waits its turn",
    ours: "200 slow, 200 ok",
    play: async (stage) => {
      const client = await stage.open();
      stage.script = async (request) => {
        const slow = request.line.includes("/slow");
        if (slow) await request.stream.until(() => false, 200);
        request.stream.send(okText(slow ? "slow" : "ok"));
      };
      const offer = OFFER.replace("Upgrade: websocket", "Upgrade: h2c");
      client.send(`GET /slow HTTP/1.1\r\nHost: a\r\n\r\n${offer}`);
      const replies = [await client.reply(), await client.reply()];
      return replies.map((reply) => `${statusOf(reply)} ${reply?.body}`).join(", ");
    },
  },
  {
    name: "a client that leaves during the handshake is gone for the server too",
    ours: "gone",
    play: async (stage) => {
      stage.script = () => {};
      const client = await stage.open();
      client.send(OFFER);
      await client.until(() => stage.seen.length > 0, 300);
      client.socket.resetAndDestroy();
      const seen = stage.seen[0];
      return (await seen?.stream.until(() => seen.stream.over)) ? "gone" : "still there";
    },
  },
];
