/**
 * What the router is measured against: `node:http` and undici's `Pool.dispatch` with hop-by-hop and forwarding fields done
 * right, and nothing else: no affinity, no fail-over, no health, no limits.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Dispatcher, Pool } from "undici";
import { beChild } from "./child.ts";

beChild<{ readonly upstream: string }>(async ({ upstream }) => {
  const pool = new Pool(upstream, { headersTimeout: 0, bodyTimeout: 0 });
  const server = createServer((request, response) => {
    const headers = forwarded(request);
    pool.dispatch(
      { method: request.method as Dispatcher.HttpMethod, path: request.url!, headers },
      relay(response),
    );
  });
  server.keepAliveTimeout = 120_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
});

const HOP_BY_HOP = new Set(
  "connection keep-alive proxy-connection te trailer transfer-encoding upgrade x-forwarded-for".split(" "),
);

function forwarded(request: IncomingMessage): string[] {
  const { rawHeaders } = request;
  const kept: string[] = [];
  let named: Set<string> | null = null;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const lower = rawHeaders[i]!.toLowerCase();
    if (lower === "connection") named = new Set(rawHeaders[i + 1]!.toLowerCase().split(/\s*,\s*/));
    if (!HOP_BY_HOP.has(lower)) kept.push(rawHeaders[i]!, rawHeaders[i + 1]!);
  }
  const result = named === null ? kept : kept.filter((_, i) => !named.has(kept[i & ~1]!.toLowerCase()));
  result.push("X-Forwarded-For", request.socket.remoteAddress ?? "", "X-Forwarded-Proto", "http");
  return result;
}

function relay(response: ServerResponse): Dispatcher.DispatchHandler {
  return {
    onRequestStart(controller) {
      response.on("close", () => {
        if (!response.writableFinished) controller.abort(new Error("client left"));
      });
    },
    onResponseStart(controller, status) {
      const raw = controller.rawHeaders as Buffer[];
      const headers: string[] = [];
      for (let i = 0; i < raw.length; i += 2) {
        const name = raw[i]!.toString("latin1");
        if (!HOP_BY_HOP.has(name.toLowerCase())) headers.push(name, raw[i + 1]!.toString("latin1"));
      }
      response.writeHead(status, headers);
    },
    onResponseData(controller, chunk) {
      if (response.write(chunk)) return;
      controller.pause();
      response.once("drain", () => controller.resume());
    },
    onResponseEnd() {
      response.end();
    },
    onResponseError() {
      response.destroy();
    },
  };
}
