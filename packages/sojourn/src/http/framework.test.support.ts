/**
 * For tests of this folder: what a route and a framework are to them. One set of routes is served by every framework, each
 * in its own idiom; what `json` or `redirect` means is the framework's business.
 */
import { once } from "node:events";
import type http from "node:http";
import type { ServerResponse } from "node:http";
import type http2 from "node:http2";
import type { AddressInfo } from "node:net";
import type { Readable } from "node:stream";
import type { Session } from "../sessions/session.ts";
import type { ScopeSource } from "./served.ts";

export type Data = Record<string, unknown>;

export interface Exchange {
  session(): Promise<Session<Data>>;
  header(name: string, value: string | string[]): void;
  json(body: unknown, status?: number): void;
  redirect(to: string): void;
  stream(body: Readable): void;
  /** Past the framework: for routes that write by hand. */
  takeOver(): ServerResponse;
}

/** What a route returns is awaited; what it throws goes to the framework's error handling. */
export type Routes = Record<string, (exchange: Exchange) => unknown>;

export interface App {
  readonly port: number;
  close(): Promise<void>;
}

export interface Framework {
  readonly name: string;
  readonly http2: boolean;
  /** @param sessions  undefined: the same application without sessions */
  launch(routes: Routes, sessions: ScopeSource<Data> | undefined): Promise<App>;
}

export function noSession(): Promise<never> {
  return Promise.reject(new Error("this application has no sessions"));
}

export async function listening(server: http.Server | http2.Http2Server, close: () => unknown): Promise<App> {
  if (!server.listening) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  }
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      await close();
    },
  };
}
