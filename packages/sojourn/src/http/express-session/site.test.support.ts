/** A server with the middleware and a browser that keeps its cookies. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import session, { type SessionMiddleware, type SessionOptions, type WithSession } from "./index.ts";

export type Req = IncomingMessage & WithSession & { secure?: boolean; session: Record<string, unknown> };
export type Handler = (req: Req, res: ServerResponse) => unknown;

export const OPTIONS: SessionOptions = {
  secret: "a secret for tests",
  resave: false,
  saveUninitialized: false,
};

export interface Site {
  readonly origin: string;
  readonly server: Server;
  /** What reached `next(error)`, in order. */
  readonly errors: unknown[];
}

/** Bare node:http. An error before the answer is answered 500 with its message, a later one only noted. */
export function site(options: SessionOptions, handler: Handler): Promise<Site> {
  return siteWith(session({ ...OPTIONS, ...options }), handler);
}

/** The same behind any middleware of this kind. */
export async function siteWith(middleware: SessionMiddleware, handler: Handler): Promise<Site> {
  const errors: unknown[] = [];
  const server = createServer((req, res) => {
    const failed = (error: unknown) => {
      errors.push(error);
      if (res.headersSent) return;
      res.statusCode = 500;
      res.end(error instanceof Error ? error.message : String(error));
    };
    middleware(req, res, (error) => {
      if (error) return failed(error);
      try {
        const result = handler(req as Req, res);
        if (result instanceof Promise) result.catch(failed);
      } catch (fault) {
        failed(fault);
      }
    });
  });
  return { ...(await listening(server)), errors };
}

export async function listening(server: Server): Promise<{ origin: string; server: Server }> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

/** Keeps cookies over all servers of this machine, as a browser does over ports. */
export class Browser {
  readonly cookies = new Map<string, string>();

  async visit(at: { readonly origin: string } | string, path = "/", init: RequestInit = {}): Promise<Answer> {
    const origin = typeof at === "string" ? at : at.origin;
    const headers = new Headers(init.headers);
    if (this.cookies.size > 0) {
      headers.set("cookie", [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; "));
    }
    const response = await fetch(origin + path, { redirect: "manual", ...init, headers });
    const setCookies = response.headers.getSetCookie();
    for (const line of setCookies) {
      const [pair = ""] = line.split(";", 1);
      const equals = pair.indexOf("=");
      this.cookies.set(pair.slice(0, equals), pair.slice(equals + 1));
    }
    return { status: response.status, text: await response.text(), headers: response.headers, setCookies };
  }
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
  readonly setCookies: readonly string[];
}

/** The session id inside a `Set-Cookie` line. */
export function idOf(setCookie: string | undefined): string {
  const value = decodeURIComponent(/^[^=]+=([^;]*)/.exec(setCookie ?? "")?.[1] ?? "");
  return value.slice(2, value.lastIndexOf("."));
}
