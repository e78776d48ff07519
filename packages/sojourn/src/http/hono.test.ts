/** What only Hono has: its types, its error handlers, and requests that come without a response of Node's. */
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { type Context, Hono } from "hono";
import { streamText } from "hono/streaming";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SessionError } from "../core/errors.ts";
import { createSessions, type Sessions } from "../sessions/create-sessions.ts";
import { GatedStore, gate } from "../sessions/harness.test.support.ts";
import { memoryStore } from "../store/memory.ts";
import { refusalBody } from "./answer.ts";
import { honoSessions, type SessionVariables } from "./hono.ts";

interface Data {
  cart: string[];
}

let store: GatedStore;
let sessions: Sessions<Data>;
let app: Hono<{ Variables: SessionVariables<Data> }>;
const closers: (() => unknown)[] = [];

beforeEach(() => {
  const memory = memoryStore();
  store = new GatedStore(memory);
  sessions = createSessions<Data>({
    store,
    secret: "a secret of the hono tests",
    onDiagnostic: () => {},
  });
  closers.push(() => memory.close());
  app = new Hono();
  app.use(honoSessions(sessions));
  app.get("/add", async (c) => {
    (await c.var.session()).set("cart", ["book"]);
    c.header("cache-control", "public");
    c.header("vary", "Origin");
    c.header("x-secret", "s");
    c.header("set-cookie", "theirs=1", { append: true });
    return c.json({ added: true });
  });
  app.get("/cart", async (c) => c.json((await c.var.session()).get("cart") ?? null));
});

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

function isDown(): never {
  throw new SessionError("STORE_UNAVAILABLE", "Cannot reach the store: it is down");
}

function cookieOf(answer: Response): string {
  return answer.headers.getSetCookie().find((line) => line.startsWith("sid=")) ?? "no cookie";
}

/** The same application over a socket. */
async function overHttp(path: string, init: RequestInit = {}): Promise<Response> {
  const server = createAdaptorServer({ fetch: app.fetch }) as Server;
  closers.push(() => server.close().closeAllConnections());
  await once(server.listen(0, "127.0.0.1"), "listening");
  return fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, init);
}

test("app.request(), which has no connection, is answered after the commit, cookie and all", async () => {
  const { promise, open } = gate();
  const creating = new Promise<string>((resolve) => {
    store.before = (verb) => {
      if (verb === "create") resolve("creating");
      return promise;
    };
  });
  const pending = Promise.resolve(app.request("/add"));
  expect(await Promise.race([pending.then(() => "answered"), creating])).toBe("creating");
  open();
  const answer = await pending;
  expect([answer.status, await answer.json()]).toEqual([200, { added: true }]);
  expect(answer.headers.getSetCookie()).toEqual(["theirs=1", expect.stringMatching(/^sid=.*HttpOnly/)]);
  expect(answer.headers.get("cache-control")).toBe('private, no-cache="Set-Cookie"');
  const cart = await app.request("/cart", { headers: { cookie: cookieOf(answer) } });
  expect([await cart.json(), cart.headers.getSetCookie()]).toEqual([["book"], []]);
});

test("app.request(): a failed commit is answered instead, without what the application wanted to say", async () => {
  store.before = isDown;
  const answer = await app.request("/add");
  expect([answer.status, await answer.text()]).toEqual([503, refusalBody("STORE_UNAVAILABLE")]);
  expect(Object.fromEntries(answer.headers)).toEqual({
    "cache-control": "no-store",
    "content-length": String(refusalBody("STORE_UNAVAILABLE").length),
    "content-type": "application/json; charset=utf-8",
    "retry-after": "1",
    vary: "Origin",
  });
});

test("app.request(): nothing is opened, read or changed for a handler that does not ask", async () => {
  app.get("/ping", (c) => c.text("pong"));
  const answer = await app.request("/ping", { headers: { cookie: "sid=x" } });
  expect([await answer.text(), answer.headers.getSetCookie(), store.total]).toEqual(["pong", [], 0]);
});

test("app.request(): a stream that has begun changes the session by update, and set says that it is too late", async () => {
  app.get("/live", async (c) => {
    const session = await c.var.session();
    return streamText(c, async (stream) => {
      await stream.write("begun,");
      try {
        session.set("cart", ["late"]);
      } catch (error) {
        await stream.write((error as SessionError).code);
      }
      await session.update("cart", (cart = []) => [...cart, "pen"]);
    });
  });
  const cookie = cookieOf(await app.request("/add"));
  const answer = await app.request("/live", { headers: { cookie } });
  expect(await answer.text()).toBe("begun,LATE_WRITE");
  expect(await (await app.request("/cart", { headers: { cookie } })).json()).toEqual(["book", "pen"]);
});

test.each([
  ["app.request()", (path: string, init: RequestInit) => app.request(path, init)],
  ["node-server", (path: string, init: RequestInit) => overHttp(path, init)],
])(
  "%s: Hono answers a session error as it says itself; an error handler of the application comes first",
  async (_, send) => {
    const cookie = cookieOf(await app.request("/add"));
    store.before = isDown;
    const answer = await send("/cart", { headers: { cookie } });
    expect([answer.status, answer.headers.get("retry-after"), await answer.text()]).toEqual([
      503,
      "1",
      refusalBody("STORE_UNAVAILABLE"),
    ]);
    app.onError((error, c) => c.json({ mine: (error as SessionError).code }, 418));
    const own = await send("/cart", { headers: { cookie } });
    expect([own.status, await own.json()]).toEqual([418, { mine: "STORE_UNAVAILABLE" }]);
  },
);

test.each([
  ["app.request()", (path: string) => app.request(path)],
  ["node-server", (path: string) => overHttp(path)],
])(
  "%s: the context, its request and c.var.session() find one session; mounted twice it is opened once",
  async (_, send) => {
    const admin = createSessions<{ role: string }>({ store, secret: "another secret of these tests" });
    const inner = new Hono<{ Variables: SessionVariables<Data> }>().use(honoSessions(sessions));
    inner.get("/", async (c) => {
      const own = await c.var.session();
      own.set("cart", ["inner"]);
      return c.json([
        own === (await sessions.of(c)),
        own === (await sessions.of(c.req)),
        own === (await sessions.of(c.req.raw)),
        await admin.of(c).then(
          () => "found",
          (error: SessionError) => error.code,
        ),
      ]);
    });
    app.route("/inner", inner);
    const answer = await send("/inner");
    expect(await answer.json()).toEqual([true, true, true, "INVALID_OPTION"]);
    expect(answer.headers.getSetCookie()).toHaveLength(1);
  },
);

test("node-server: an application that is mounted in another shares its session, opened once", async () => {
  const inner = new Hono<{ Variables: SessionVariables<Data> }>().use(honoSessions(sessions));
  inner.get("/", async (c) => {
    (await c.var.session()).set("cart", ["inner"]);
    return c.json((await sessions.of(c)).get("cart") ?? null);
  });
  app.use("/inner/*", async (c, next) => {
    (await c.var.session()).set("cart", ["outer"]);
    await next();
  });
  app.mount("/inner", inner.fetch);
  const answer = await overHttp("/inner/");
  expect([await answer.json(), answer.headers.getSetCookie().length]).toEqual([["inner"], 1]);
  expect(store.calls.create).toBe(1);
});

test("whether the connection is secure is the URL's scheme, or what the application trusts", async () => {
  const secured = createSessions<Data>({
    secret: "a secret of the hono tests",
    cookie: { secure: true },
    onDiagnostic: () => {},
  });
  closers.push(() => secured.close());
  const trusting = new Hono().use(
    honoSessions(secured, { isSecure: (c) => c.req.header("x-forwarded-proto") === "https" }),
  );
  const plain = new Hono().use(honoSessions(secured));
  for (const each of [trusting, plain]) {
    each.get("/", async (c) => {
      (await secured.of(c)).set("cart", []);
      return c.text("set");
    });
  }
  const headers = { "x-forwarded-proto": "https" };
  const cookies = [
    await trusting.request("/", { headers }),
    await trusting.request("https://shop.example/"),
    await plain.request("/", { headers }),
    await plain.request("https://shop.example/"),
  ].map((answer) => answer.headers.getSetCookie().length);
  expect(cookies).toEqual([1, 0, 0, 1]);
});

test("handlers chained after the middleware know their session without naming its type", async () => {
  const chained = new Hono().use(honoSessions(sessions)).get("/", async (c) => {
    const cart: string[] | undefined = (await c.var.session()).get("cart");
    return c.json(cart ?? null);
  });
  expect(await (await chained.request("/")).json()).toBeNull();
});

test("app.request(): a handler that forgets to answer is reported by Hono, and what it changed is not stored", async () => {
  app.get("/forgetful", (async (c: Context<{ Variables: SessionVariables<Data> }>) => {
    (await c.var.session()).set("cart", ["lost"]);
  }) as never);
  app.onError((error, c) => c.text(error.message, 500));
  const answer = await app.request("/forgetful");
  expect([answer.status, await answer.text()]).toEqual([500, expect.stringContaining("not finalized")]);
  expect(store.calls.create).toBe(0);
});
