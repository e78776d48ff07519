/** One measured application in a process of its own: a framework, and a way to keep sessions. */
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { beChild } from "./child.ts";
import { expressApplication } from "./express.ts";
import { fastifyApplication } from "./fastify.ts";
import type { IncumbentKind } from "./incumbents.ts";
import { nodeApplication } from "./node.ts";
import type { SojournKind } from "./sojourn.ts";

export type Framework = "express" | "fastify" | "node";
export type SessionsKind = "none" | SojournKind | IncumbentKind;

export interface ApplicationConfig {
  readonly framework: Framework;
  readonly sessions: SessionsKind;
  /** "redis://host:port", "host:port" of a session server, or "". */
  readonly store: string;
}

beChild<ApplicationConfig>(async (config) => {
  const server = await serverOf(config);
  // wrk keeps its connections; a pause between two runs must not cut them.
  server.keepAliveTimeout = 120_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
});

async function serverOf(config: ApplicationConfig): Promise<Server> {
  if (config.framework === "fastify") {
    const app = await fastifyApplication(config);
    await app.ready();
    return app.server;
  }
  const listener: RequestListener =
    config.framework === "express" ? await expressApplication(config) : await nodeApplication(config);
  return createServer(listener);
}
