/** The application behind a proxy, made as cheap as it can be: 220 bytes of JSON, always the same. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { beChild } from "./child.ts";

const BODY = JSON.stringify({ server: "b1", text: "x".repeat(190) }).padEnd(220, " ");

beChild(async () => {
  const server = createServer((_request, response) => {
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": BODY.length });
    response.end(BODY);
  });
  server.keepAliveTimeout = 120_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
});
