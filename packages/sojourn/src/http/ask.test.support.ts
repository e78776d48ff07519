/** For tests of this folder: one request on a connection of its own, over HTTP/1.1 or HTTP/2, and what came back. */
import http, { type IncomingHttpHeaders } from "node:http";
import http2 from "node:http2";
import { connect } from "node:net";
import type { App, Framework } from "./framework.test.support.ts";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly setCookies: readonly string[];
  readonly body: string;
  /** False: the connection went before the response was whole. */
  readonly complete: boolean;
}

export interface Pending {
  /** Bytes of a response, or for HTTP/2 frames of one, that have arrived so far. */
  arrived(): number;
  abort(): void;
  /** Rejects when nothing of a response arrives. */
  readonly answer: Promise<Answer>;
}

export interface AskOptions {
  readonly method?: string;
  readonly headers?: Record<string, string>;
}

export function ask(framework: Framework, app: App, path: string, options: AskOptions = {}): Pending {
  return framework.http2 ? askHttp2(app, path, options) : askHttp1(app, path, options);
}

function askHttp1(app: App, path: string, { method = "GET", headers = {} }: AskOptions): Pending {
  const socket = connect(app.port, "127.0.0.1");
  const req = http.request({ method, path, headers, createConnection: () => socket });
  req.end();
  const answer = new Promise<Answer>((resolve, reject) => {
    req.on("error", reject);
    req.on("response", (res) => {
      let body = "";
      res.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      res.on("error", () => {});
      res.on("close", () =>
        resolve({
          status: res.statusCode ?? 0,
          headers: res.headers,
          setCookies: res.headers["set-cookie"] ?? [],
          body,
          complete: res.complete,
        }),
      );
    });
  });
  return { arrived: () => socket.bytesRead, abort: () => socket.destroy(), answer };
}

function askHttp2(app: App, path: string, { method = "GET", headers = {} }: AskOptions): Pending {
  const client = http2.connect(`http://127.0.0.1:${app.port}`);
  client.on("error", () => {});
  const stream = client.request({ ":method": method, ":path": path, ...headers });
  let arrived = 0;
  let head: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {};
  let body = "";
  let ended = false;
  const answer = new Promise<Answer>((resolve, reject) => {
    stream.on("response", (incoming) => {
      arrived += 1;
      head = incoming;
    });
    stream.setEncoding("utf8").on("data", (text: string) => {
      arrived += 1;
      body += text;
    });
    stream.on("end", () => {
      ended = stream.rstCode === 0;
    });
    stream.on("error", () => {});
    stream.on("close", () => {
      client.close();
      const status = head[":status"];
      if (status === undefined) return reject(new Error(`no response, reset code ${stream.rstCode}`));
      const setCookies = head["set-cookie"] ?? [];
      resolve({
        status,
        headers: Object.fromEntries(Object.entries(head)) as IncomingHttpHeaders,
        setCookies,
        body,
        complete: ended,
      });
    });
  });
  return { arrived: () => arrived, abort: () => client.destroy(), answer };
}
