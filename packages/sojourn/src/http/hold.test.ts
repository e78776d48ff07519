import { once } from "node:events";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { PassThrough, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { afterEach, expect, test } from "vitest";
import type { CommitOutcome } from "../sessions/scope.ts";
import { hold } from "./hold.ts";

const OK: CommitOutcome = { ok: true, setCookies: ["sid=1"] };
const REFUSED: CommitOutcome = {
  ok: false,
  status: 503,
  code: "STORE_UNAVAILABLE",
  headers: { "retry-after": "1" },
  setCookies: [],
};

const servers: http.Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.close().closeAllConnections();
    await once(server, "close");
  }
});

interface Held {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  settle(outcome: CommitOutcome): void;
}

/** A server whose every response is held until the test settles it. */
async function holding(answer: (held: Held) => void, options: http.ServerOptions = {}): Promise<Socket> {
  const server = http.createServer(options, (req, res) => {
    let settle: (outcome: CommitOutcome) => void = () => {};
    const settled = new Promise<CommitOutcome>((resolve) => {
      settle = resolve;
    });
    hold(res, { settle: () => settled });
    answer({ req, res, settle });
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return connect((server.address() as AddressInfo).port, "127.0.0.1").setEncoding("latin1");
}

async function all(client: Socket): Promise<string> {
  let bytes = "";
  client.on("data", (data: string) => {
    bytes += data;
  });
  await once(client, "close");
  return bytes;
}

const get = (path = "/", headers = "Connection: close\r\n") =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`;

test("while held, headers are frozen and the end is an end", async () => {
  const seen: unknown[] = [];
  const client = await holding(({ res, settle }) => {
    res.end("done");
    seen.push(res.headersSent, res.writableEnded, res.finished, res.writableFinished);
    expect(() => res.setHeader("x", "y")).toThrow(expect.objectContaining({ code: "ERR_HTTP_HEADERS_SENT" }));
    expect(() => res.writeHead(500)).toThrow(expect.objectContaining({ code: "ERR_HTTP_HEADERS_SENT" }));
    expect(() => res.removeHeader("x")).toThrow(expect.objectContaining({ code: "ERR_HTTP_HEADERS_SENT" }));
    expect(res.end()).toBe(res);
    setImmediate(settle, OK);
  });
  client.write(get());
  expect(await all(client)).toMatch(/^HTTP\/1.1 200 OK\r\n.*Set-Cookie: sid=1\r\n\r\ndone$/s);
  expect(seen).toEqual([true, true, true, false]);
});

test("bad arguments are refused at the call, not at the release", async () => {
  const client = await holding(({ res, settle }) => {
    expect(() => res.writeHead(99)).toThrow(RangeError);
    res.write("begun");
    expect(() => res.write(5 as never)).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARG_TYPE" }));
    expect(() => res.write(null as never)).toThrow(
      expect.objectContaining({ code: "ERR_STREAM_NULL_VALUES" }),
    );
    expect(() => res.write("x", "nonsense" as never)).toThrow(
      expect.objectContaining({ code: "ERR_UNKNOWN_ENCODING" }),
    );
    res.end();
    settle(OK);
  });
  client.write(get());
  expect(await all(client)).toMatch(/5\r\nbegun\r\n/);
});

test("a held write holds its writer back at the high-water mark, and drains once released", async () => {
  const total = 3_000_000;
  let queuedMax = 0;
  let settleIt: ((outcome: CommitOutcome) => void) | undefined;
  const client = await holding(({ res, settle }) => {
    settleIt = settle;
    let sent = 0;
    const more = (): void => {
      while (sent < total) {
        sent += 10_000;
        const goOn = res.write("x".repeat(10_000));
        if (settleIt) queuedMax = Math.max(queuedMax, res.writableLength);
        if (!goOn) {
          res.once("drain", more);
          // The writer waits now; only then may the commit end.
          if (settleIt) {
            setImmediate(settleIt, OK);
            settleIt = undefined;
          }
          return;
        }
      }
      res.end();
    };
    res.setHeader("content-length", total);
    more();
  });
  client.write(get());
  const bytes = await all(client);
  expect(bytes.length - bytes.indexOf("\r\n\r\n") - 4).toBe(total);
  expect(queuedMax).toBeLessThan(100_000);
});

test.each(["pipe", "pipeline"])("a %s into a held response arrives whole", async (how) => {
  const client = await holding(({ res, settle }) => {
    const source = Readable.from(Array.from({ length: 50 }, (_, index) => `${index},`.repeat(500)));
    if (how === "pipe") source.pipe(new PassThrough()).pipe(res);
    else void pipeline(source, res);
    setImmediate(settle, OK);
  });
  client.write(get("/", "").replace("1.1", "1.0"));
  const bytes = await all(client);
  const expected = Array.from({ length: 50 }, (_, index) => `${index},`.repeat(500)).join("");
  expect(bytes.slice(bytes.indexOf("\r\n\r\n") + 4)).toBe(expected);
});

test("pipelined responses keep their order, whichever is committed first", async () => {
  const held = new Map<string, Held>();
  const client = await holding((one) => {
    held.set(one.req.url ?? "", one);
    one.res.end(`body of ${one.req.url}`);
    if (held.size === 3)
      for (const path of ["/3", "/2", "/1"]) setImmediate(() => held.get(path)?.settle(OK));
  });
  client.write(get("/1", "") + get("/2", "") + get("/3"));
  const bytes = await all(client);
  expect(bytes.match(/body of \/\d/g)).toEqual(["body of /1", "body of /2", "body of /3"]);
  expect(bytes.match(/Set-Cookie: sid=1/g)).toHaveLength(3);
});

test("a refused response does not disturb the next one on its connection", async () => {
  const client = await holding(({ req, res, settle }) => {
    res.write("a chunked body");
    res.end(() => {});
    settle(req.url === "/1" ? REFUSED : OK);
  });
  client.write(get("/1", "") + get("/2"));
  expect(await all(client)).toMatch(
    /^HTTP\/1.1 503 Service Unavailable\r\n.*\r\n\r\n{"code":"STORE_UNAVAILABLE","message":"[^"]+"}HTTP\/1.1 200 OK\r\n.*a chunked body/s,
  );
});

test("what an application goes on writing after a refusal is dropped, and it still learns of its end", async () => {
  const events: string[] = [];
  const client = await holding(({ res, settle }) => {
    res.write("first", () => events.push("first"));
    settle(REFUSED);
    setImmediate(() => {
      expect(res.statusCode).toBe(503);
      res.write("second", () => events.push("second"));
      res.on("finish", () => events.push("finish"));
      res.end("third");
    });
  });
  client.write(get());
  const bytes = await all(client);
  expect(bytes).not.toMatch(/first|second|third/);
  expect(events).toEqual(["first", "second", "finish"]);
});

test("interim responses pass at once", async () => {
  let release: () => void = () => {};
  const client = await holding(({ res, settle }) => {
    res.writeEarlyHints({ link: "</a.css>; rel=preload" });
    res.end("final");
    release = () => settle(OK);
  });
  client.write(
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
  );
  let interim = "";
  while (!interim.includes("103 Early Hints")) interim += ((await once(client, "data")) as [string])[0];
  expect(interim).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 103 Early Hints\r\n/);
  expect(interim).not.toMatch(/200 OK/);
  release();
  expect(await all(client)).toMatch(/200 OK.*final$/s);
});

test("trailers follow a held body", async () => {
  const client = await holding(({ res, settle }) => {
    res.writeHead(200, { trailer: "x-sum" });
    res.write("body");
    res.addTrailers({ "x-sum": "7" });
    res.end();
    settle(OK);
  });
  client.write(get());
  expect(await all(client)).toMatch(/0\r\nx-sum: 7\r\n\r\n$/);
});

test("an answered response is sent before the application's destroy", async () => {
  const client = await holding(({ req, res, settle }) => {
    res.end("answered");
    req.socket.destroy();
    setImmediate(settle, OK);
  });
  client.write(get());
  expect(await all(client)).toMatch(/answered$/);
});

test("a response that is destroyed before its end never looks whole", async () => {
  let afterwards: unknown;
  const client = await holding(({ res, settle }) => {
    res.write("half");
    res.destroy();
    afterwards = res.write("more");
    settle(OK);
  });
  client.write(get());
  const bytes = await all(client);
  expect(bytes).not.toMatch(/more|0\r\n\r\n$/);
  expect(afterwards).toBe(false);
});

test("a refusal reaches the visitor even when the application has destroyed its half answer", async () => {
  const client = await holding(({ req, res, settle }) => {
    res.write("half");
    req.socket.destroy();
    setImmediate(settle, REFUSED);
  });
  client.write(get());
  expect(await all(client)).toMatch(/^HTTP\/1.1 503 .*{"code":"STORE_UNAVAILABLE","message":"[^"]+"}$/s);
});

test("once the response has begun it is settled at once and not held", async () => {
  let settled = 0;
  const client = await holding(({ settle }) => settle(OK));
  servers[0]?.removeAllListeners("request").on("request", (_req, res: ServerResponse) => {
    res.flushHeaders();
    hold(res, {
      settle() {
        settled += 1;
        return undefined;
      },
    });
    expect(settled).toBe(1);
    res.end("streamed");
  });
  client.write(get());
  expect(await all(client)).toMatch(/streamed/);
  expect(settled).toBe(1);
});

test("a listener that throws at the release is an uncaught exception, as without sessions", async () => {
  const caught = new Promise((resolve) => {
    // Vitest listens too; what is thrown here on purpose must not fail the run.
    const listeners = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.once("uncaughtException", (error) => {
      for (const listener of listeners) process.on("uncaughtException", listener);
      resolve(error.message);
    });
  });
  const client = await holding(({ res, settle }) => {
    res.once("drain", () => {
      throw new Error("thrown by a listener");
    });
    res.write("x".repeat(100_000));
    setImmediate(settle, OK);
  });
  client.on("error", () => {});
  client.resume().write(get());
  expect(await caught).toBe("thrown by a listener");
  client.destroy();
});

test("a response that cannot be held is refused, not sent early", () => {
  const mock = { writeHead() {}, write() {}, end() {} } as unknown as ServerResponse;
  expect(() => hold(mock, { settle: () => undefined })).toThrow(
    expect.objectContaining({ code: "UNSUPPORTED_RESPONSE" }),
  );
});
