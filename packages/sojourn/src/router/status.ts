/**
 * The router's own state for whoever watches it, on the port that everybody can reach: names and figures, no addresses,
 * no tokens, no reasons. Those are on the administration port (admin.ts).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { answer } from "./answer.ts";
import type { RouterServerStatus } from "./router.ts";

export const HEALTH_PATH = "/-/health";

/** 200 while the router takes requests, 503 once it is stopping. Servers that are down do not make the router ill. */
export function answerHealth(
  request: IncomingMessage,
  response: ServerResponse,
  servers: readonly RouterServerStatus[],
  stopping: boolean,
): void {
  if (request.method !== "GET") {
    answer(request, response, 405, "only GET is allowed here", "GET");
    return;
  }
  const body = JSON.stringify({
    router: stopping ? "stopping" : "up",
    servers: servers.map(({ id, state, health, load, inFlight }) => ({
      name: id,
      state,
      health,
      load: Math.round(load * 100) / 100,
      inFlight,
    })),
  });
  response.writeHead(stopping ? 503 : 200, {
    "Content-Type": "application/json; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Length": Buffer.byteLength(body),
  });
  response.end(body);
}
