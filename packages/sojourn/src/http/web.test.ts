import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { type ServerType, serve } from "@hono/node-server";
import { afterEach, expect, test } from "vitest";
import { SessionError } from "../core/errors.ts";
import { refusalBody } from "../sessions/answer.ts";
import { createSessions } from "../sessions/create-sessions.ts";
import { GatedStore } from "../sessions/harness.test.support.ts";
import { memoryStore } from "../store/memory.ts";
import { errorResponse, type WebSessionsOptions, webSessions } from "./web.ts";

interface Data {
  user: string;
  visits: number;
}

const store = new GatedStore(memoryStore());
const sessions = createSessions<Data>({
  store,
  secret: "a secret of the web tests",
  onDiagnostic: () => {},
});
let server: ServerType | undefined;

afterEach(() => {
  store.before = () => {};
  server?.close();
  server = undefined;
});

/** The handler behind a real port. */
async function listening(fetch: (request: Request) => Promise<Response>): Promise<string> {
  server = serve({ fetch, port: 0, hostname: "127.0.0.1" });
  if (!server.listening) await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function cookieOf(response: Response): string {
  return response.headers.getSetCookie().map((line) => line.slice(0, line.indexOf(";")))[0] ?? "";
}

test("a handler's session reaches the browser and comes back, over a real connection", async () => {
  const url = await listening(
    webSessions(sessions, async (request, session) => {
      if (request.method === "POST") {
        await session.renew({ principal: "ada" });
        session.set("user", "ada");
        return Response.redirect(new URL("/", request.url), 303);
      }
      const visits = await session.update("visits", (n = 0) => n + 1);
      return Response.json({ user: session.get("user") ?? null, visits });
    }),
  );
  const first = await fetch(url);
  expect(await first.json()).toEqual({ user: null, visits: 1 });
  const login = await fetch(url, {
    method: "POST",
    headers: { cookie: cookieOf(first) },
    redirect: "manual",
  });
  expect(login.status).toBe(303);
  expect(cookieOf(login)).not.toBe(cookieOf(first));
  const after = await fetch(url, { headers: { cookie: cookieOf(login) } });
  expect([await after.json(), cookieOf(after)]).toEqual([{ user: "ada", visits: 2 }, ""]);
  expect(after.headers.get("content-length")).not.toBeNull();
});

test("what the caller passes after the request follows the session", async () => {
  const handler = webSessions(
    sessions,
    async (_request: Request, session, context: { params: Promise<{ id: string }> }) => {
      const { id } = await context.params;
      return Response.json({ id, isNew: session.isNew });
    },
  );
  const answer = await handler(new Request("http://shop.example/"), { params: Promise.resolve({ id: "7" }) });
  expect(await answer.json()).toEqual({ id: "7", isNew: true });
});

test("a SessionError is answered with its status and code: a store that is down is a 503 with Retry-After", async () => {
  const handler = webSessions(sessions, (_request, session) => {
    session.set("user", "ada");
    return new Response("made");
  });
  const cookie = cookieOf(await handler(new Request("http://shop.example/")));
  store.before = () => {
    throw new SessionError("STORE_UNAVAILABLE", "Cannot reach the store: it is down");
  };
  const answer = await handler(new Request("http://shop.example/", { headers: { cookie } }));
  expect([answer.status, answer.headers.get("retry-after"), await answer.text()]).toEqual([
    503,
    "1",
    refusalBody("STORE_UNAVAILABLE"),
  ]);
});

test("the sessions may be made at the first request", async () => {
  let made = 0;
  const handler = webSessions(
    () => {
      made++;
      return sessions;
    },
    (_request, session) => Response.json(session.isNew),
  );
  expect(made).toBe(0);
  expect(await (await handler(new Request("http://shop.example/"))).json()).toBe(true);
  expect(made).toBe(1);
});

test("options of the mount hold for its requests, and are checked: a store that is away may be done without", async () => {
  const set = webSessions(sessions, (_request, session) => {
    session.set("user", "ada");
    return new Response();
  });
  const cookie = cookieOf(await set(new Request("http://shop.example/")));
  const ask = (handler: typeof set) => handler(new Request("http://shop.example/", { headers: { cookie } }));
  const read = (options: WebSessionsOptions) =>
    webSessions(sessions, (_request, session) => Response.json(session.get("user") ?? null), options);
  store.before = () => {
    throw new SessionError("STORE_UNAVAILABLE", "Cannot reach the store: it is down");
  };
  expect((await ask(read({}))).status).toBe(503);
  const going = read({ forRequest: () => ({ onStoreUnavailable: "anonymous" }) });
  expect(await (await ask(going)).json()).toBe(null);
  expect(() => read({ passive: "yes" } as unknown as WebSessionsOptions)).toThrow(/passive/);
});

test("any other error goes to the caller, and nothing is stored", async () => {
  const handler = webSessions(sessions, (_request, session) => {
    session.set("user", "ada");
    throw new Error("a bug");
  });
  const before = store.total;
  await expect(handler(new Request("http://shop.example/"))).rejects.toThrow("a bug");
  expect(store.total).toBe(before);
});

test("isSecure decides where the URL cannot know", async () => {
  const secure = createSessions<Data>({ secret: "a secret of the web tests", cookie: { secure: true } });
  const handler = webSessions(
    secure,
    (_request, session) => {
      session.set("visits", 1);
      return new Response();
    },
    { isSecure: (request) => request.headers.get("x-forwarded-proto") === "https" },
  );
  const request = new Request("http://shop.example/", { headers: { "x-forwarded-proto": "https" } });
  expect(cookieOf(await handler(request))).toMatch(/^__Host-sid=/);
});

test("errorResponse() is what every adapter answers", async () => {
  const answer = errorResponse(new SessionError("SESSION_ENDED", "Cannot change a session: it was ended"));
  expect([answer.status, answer.headers.get("cache-control"), await answer.text()]).toEqual([
    409,
    "no-store",
    refusalBody("SESSION_ENDED"),
  ]);
});
