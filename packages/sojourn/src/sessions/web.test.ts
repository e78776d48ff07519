import { describe, expect, test } from "vitest";
import { SessionError } from "../core/errors.ts";
import { refusalBody } from "./answer.ts";
import { createSessions } from "./create-sessions.ts";
import { type Data, GatedStore, gate, house, SECRET } from "./harness.test.support.ts";
import type { IncomingRequest } from "./scope.ts";
import type { Session } from "./session.ts";
import type { WebRequestOptions } from "./web.ts";

const URL_HTTP = "http://shop.example/cart";

function given() {
  const { clock, store: memory, another } = house();
  const store = new GatedStore(memory);
  const sessions = another({ store });
  let cookie: string | undefined;
  /** One visit of a browser that keeps its cookie. */
  async function visit(
    handle: (session: Session<Data>) => Response | Promise<Response>,
    init: RequestInit & WebRequestOptions & { url?: string } = {},
  ): Promise<Response> {
    const { url = URL_HTTP, secure, ...rest } = init;
    const request = new Request(url, { ...rest, headers: cookie ? { cookie } : {} });
    const scope = sessions.open(request, secure === undefined ? {} : { secure });
    const response = await scope.respond(await handle(await scope.session()));
    for (const line of response.headers.getSetCookie()) {
      if (line.startsWith("sid=")) cookie = line.slice(0, line.indexOf(";"));
    }
    return response;
  }
  return { clock, store, sessions, visit, cookie: () => cookie };
}

function set(name: string, value: unknown, response: Response) {
  return (session: Session<Data>) => {
    session.set(name, value);
    return response;
  };
}

describe("respond()", () => {
  test("gives a clean session's response back as it is, the same object", async () => {
    const { visit, store } = given();
    const anonymous = Response.json({});
    expect(await visit(() => anonymous)).toBe(anonymous);
    expect(store.total).toBe(0);
    await visit(set("a", 1, new Response("made")));
    const reading = new Response("read");
    const found: unknown[] = [];
    const answer = await visit((session) => {
      found.push(session.get("a"));
      return reading;
    });
    expect(answer).toBe(reading);
    expect(found).toEqual([1]);
  });

  test("adds the session's cookie beside several of the application's, and keeps shared caches out", async () => {
    const { visit } = given();
    const headers = new Headers({ "cache-control": "public, max-age=60", "x-own": "kept" });
    headers.append("set-cookie", "theme=dark; Path=/");
    headers.append("set-cookie", "lang=ko; Path=/");
    const answer = await visit(
      set("a", 1, new Response("body", { status: 201, statusText: "Made", headers })),
    );
    expect([answer.status, answer.statusText, answer.headers.get("x-own")]).toEqual([201, "Made", "kept"]);
    const cookies = answer.headers.getSetCookie();
    expect(cookies.slice(0, 2)).toEqual(["theme=dark; Path=/", "lang=ko; Path=/"]);
    expect(cookies[2]).toMatch(/^sid=.+; Path=\/; HttpOnly; SameSite=Lax$/);
    expect(cookies).toHaveLength(3);
    expect(answer.headers.get("cache-control")).toBe('max-age=60, private, no-cache="Set-Cookie"');
    expect(await answer.text()).toBe("body");
  });

  test("commits before a redirect leaves, whose own headers cannot be changed", async () => {
    const { visit, store } = given();
    const { promise, open } = gate();
    store.before = (verb) => (verb === "create" ? promise : undefined);
    let answered = false;
    const pending = visit(set("user", "ada", Response.redirect("http://shop.example/", 303))).then(
      (answer) => {
        answered = true;
        return answer;
      },
    );
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(answered).toBe(false);
    open();
    const answer = await pending;
    expect([answer.status, answer.headers.get("location")]).toEqual([303, "http://shop.example/"]);
    expect(answer.headers.getSetCookie()).toHaveLength(1);
  });

  test("replaces the response when the commit failed, keeping only CORS and request ids, and stops its body", async () => {
    const { visit, store, cookie } = given();
    store.before = () => {
      throw new SessionError("STORE_UNAVAILABLE", "Cannot reach the store: it is down");
    };
    const cancelled: unknown[] = [];
    const body = new ReadableStream({ cancel: () => void cancelled.push(true) });
    const headers = {
      "access-control-allow-origin": "*",
      "x-request-id": "r1",
      "content-type": "text/html",
      "x-own": "gone",
      "set-cookie": "theme=dark",
      etag: '"1"',
    };
    const answer = await visit(set("a", 1, new Response(body, { headers })));
    expect(answer.status).toBe(503);
    expect(Object.fromEntries(answer.headers)).toEqual({
      "access-control-allow-origin": "*",
      "x-request-id": "r1",
      "retry-after": "1",
      "content-type": "application/json; charset=utf-8",
      "cache-control": "no-store",
      "content-length": String(refusalBody("STORE_UNAVAILABLE").length),
    });
    expect(await answer.text()).toBe(refusalBody("STORE_UNAVAILABLE"));
    expect([cancelled, cookie()]).toEqual([[true], undefined]);
  });

  test.each([
    ["x".repeat(100_000), 413, "SESSION_TOO_LARGE"],
    [() => {}, 500, "UNSUPPORTED_VALUE"],
  ] as const)("refuses what turns out at the commit to be unfit: %#", async (value, status, code) => {
    const { visit } = given();
    await visit(set("list", [], new Response()));
    const answer = await visit((session) => {
      (session.get("list") as unknown[]).push(value);
      return new Response("never");
    });
    expect([answer.status, await answer.json()]).toEqual([status, expect.objectContaining({ code })]);
  });

  test("streams: the commit comes first, then the bytes as they are made, and the scope closes at the end", async () => {
    const { sessions, store } = given();
    const { promise, open } = gate();
    let pulled = 0;
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          pulled++;
          if (pulled === 2) await promise;
          controller.enqueue(new TextEncoder().encode(`${pulled} `));
          if (pulled === 3) controller.close();
        },
      },
      { highWaterMark: 0 },
    );
    const scope = sessions.open(new Request(URL_HTTP));
    let closed = 0;
    const { close } = scope;
    scope.close = () => {
      closed++;
      close.call(scope);
    };
    (await scope.session()).set("a", 1);
    const answer = await scope.respond(new Response(body));
    expect([store.calls.create, pulled, closed]).toEqual([1, 0, 0]);
    const reader = answer.body!.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("1 ");
    expect([pulled, closed]).toEqual([1, 0]);
    open();
    for (;;) if ((await reader.read()).done) break;
    expect(closed).toBe(1);
  });

  test("a body that the browser cancels, or that breaks, closes the scope and tells its producer", async () => {
    const { sessions } = given();
    const cancelled: unknown[] = [];
    let closed = 0;
    const open = async (body: ReadableStream<Uint8Array>) => {
      const scope = sessions.open(new Request(URL_HTTP));
      scope.close = () => void closed++;
      (await scope.session()).set("a", 1);
      return scope.respond(new Response(body));
    };
    const left = await open(new ReadableStream({ cancel: (reason) => void cancelled.push(reason) }));
    await left.body!.cancel("left");
    expect([cancelled, closed]).toEqual([["left"], 1]);
    const broken = await open(
      new ReadableStream({
        pull() {
          throw new Error("the file is gone");
        },
      }),
    );
    await expect(broken.text()).rejects.toThrow("the file is gone");
    expect(closed).toBe(2);
  });

  test.each([
    ["no body", new Response(null, { status: 204 }), "GET"],
    ["HEAD", new Response("never read"), "HEAD"],
    ["an error of the network", Response.error(), "GET"],
  ])("closes the scope at once: %s", async (_, response, method) => {
    const { sessions } = given();
    const scope = sessions.open(new Request(URL_HTTP, { method }));
    let closed = 0;
    scope.close = () => void closed++;
    (await scope.session()).set("a", 1);
    expect((await scope.respond(response)).status).toBe(response.status);
    expect(closed).toBe(1);
  });

  test("a reader's idle deadline moves after its answer, when it is due", async () => {
    const { visit, clock, store } = given();
    await visit(set("a", 1, new Response()));
    await visit(() => new Response());
    expect(store.calls.touch).toBe(1);
    clock.advance(30_000);
    await visit(() => new Response());
    expect(store.calls.touch).toBe(1);
    clock.advance(60_000);
    await visit(() => new Response());
    expect(store.calls.touch).toBe(2);
  });

  test("after a commit a later error answer still carries the session's cookie", async () => {
    const { sessions } = given();
    const scope = sessions.open(new Request(URL_HTTP));
    const session = await scope.session();
    session.set("a", 1);
    await session.commit();
    const answer = await scope.respond(new Response("failed", { status: 500 }));
    expect([answer.status, answer.headers.getSetCookie().length]).toEqual([500, 1]);
  });
});

describe("open(request)", () => {
  test("takes the browser's connection for TLS when the URL says so, or when told", async () => {
    const asked: boolean[] = [];
    for (const [url, options] of [
      ["http://shop.example/", {}],
      ["https://shop.example/", {}],
      ["http://shop.example/", { secure: true }],
      ["https://shop.example/", { secure: false }],
    ] as const) {
      const { sessions } = secureHouse();
      const scope = sessions.open(new Request(url), options);
      (await scope.session()).set("a", 1);
      asked.push((await scope.respond(new Response())).headers.getSetCookie().length === 1);
    }
    expect(asked).toEqual([false, true, true, false]);
  });

  test("of(request) finds the session of an opened request", async () => {
    const { sessions } = given();
    const request = new Request(URL_HTTP);
    const scope = sessions.open(request);
    expect(await sessions.of(request)).toBe(await scope.session());
  });

  test("refuses a request of node:http instead of taking its visitor for a stranger", () => {
    const { sessions } = given();
    const request = { headers: { cookie: "sid=x" }, url: "/" } as unknown as IncomingRequest;
    expect(() => sessions.open(request)).toThrow(/Cannot use option request: .*expected a Web Request/);
  });
});

function secureHouse() {
  return {
    sessions: createSessions<Data>({ secret: SECRET, cookie: { secure: true }, onDiagnostic: () => {} }),
  };
}
