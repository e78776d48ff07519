import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { SessionError } from "../core/errors.ts";
import { createSessions } from "../sessions/create-sessions.ts";
import { GatedStore, gate } from "../sessions/harness.test.support.ts";
import { memoryStore } from "../store/memory.ts";
import { refusalBody } from "./answer.ts";
import { type Answer, ask, type Pending } from "./ask.test.support.ts";
import type { App, Routes } from "./framework.test.support.ts";
import { frameworks } from "./frameworks.test.support.ts";

/** The whole way from a browser to a store and back, for every framework. */
const memory = memoryStore();
const store = new GatedStore(memory);
const sessions = createSessions<Record<string, unknown>>({ store, secret: "a secret of the http tests" });

const routes: Routes = {
  "/": async (exchange) => {
    const session = await exchange.session();
    exchange.json({ isNew: session.isNew, user: session.principal, keys: session.keys().sort() });
  },
  "/anonymous": (exchange) => exchange.json("hello"),
  "/login": async (exchange) => {
    const session = await exchange.session();
    await session.renew({ principal: "ada" });
    exchange.redirect("/");
  },
  "/logout": async (exchange) => {
    await (await exchange.session()).destroy();
    exchange.json("bye");
  },
  ...Object.fromEntries(
    Array.from({ length: 20 }, (_, index) => [
      `/set/${index}`,
      async (exchange) => {
        (await exchange.session()).set(`key${index}`, index);
        exchange.json(index);
      },
    ]) as [string, Routes[string]][],
  ),
  "/count": async (exchange) => {
    const session = await exchange.session();
    exchange.json(await session.update("count", (count) => ((count as number | undefined) ?? 0) + 1));
  },
  "/too-large": async (exchange) => {
    const session = await exchange.session();
    (session.get("list") as string[] | undefined)?.push("x".repeat(100_000));
    exchange.json("never");
  },
  "/unsupported": async (exchange) => {
    const session = await exchange.session();
    (session.get("list") as unknown[] | undefined)?.push(() => {});
    exchange.json("never");
  },
  "/list": async (exchange) => {
    (await exchange.session()).set("list", []);
    exchange.json("listed");
  },
  "/live": async (exchange) => {
    const session = await exchange.session();
    const res = exchange.takeOver();
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.write("data: begun\n\n");
    let late: unknown;
    try {
      session.set("late", true);
    } catch (error) {
      late = (error as SessionError).code;
    }
    await session.update("seen", () => true);
    res.end(`data: ${late}\n\n`);
  },
};

describe.each(frameworks)("$name", (framework) => {
  let app: App;
  let cookie: string | undefined;

  beforeAll(async () => {
    // Express reports errors that nobody handles there; some of these routes are made to fail.
    vi.spyOn(console, "error").mockImplementation(() => {});
    app = await framework.launch(routes, sessions);
  });

  afterAll(async () => {
    await app.close();
    vi.restoreAllMocks();
  });

  beforeEach(() => {
    cookie = undefined;
  });

  afterEach(() => {
    store.before = () => {};
  });

  function send(path: string): Pending {
    return ask(framework, app, path, cookie ? { headers: { cookie } } : {});
  }

  /** One visit of a browser that keeps its cookies. */
  async function visit(path: string): Promise<Answer> {
    const answer = await send(path).answer;
    for (const line of answer.setCookies) {
      cookie = /max-age=0/i.test(line) ? undefined : line.slice(0, line.indexOf(";"));
    }
    return answer;
  }

  test("a login is stored before one byte of its answer, and the next request sees it", async () => {
    await visit("/list");
    const before = cookie;
    const { promise, open } = gate();
    const creating = new Promise<void>((resolve) => {
      store.before = (verb) => {
        if (verb !== "create") return;
        resolve();
        return promise;
      };
    });
    const pending = send("/login");
    await creating;
    expect((await ask(framework, app, "/anonymous").answer).status).toBe(200);
    expect(pending.arrived()).toBe(0);
    open();
    const answer = await pending.answer;
    expect(answer.status).toBe(303);
    expect(answer.setCookies).toHaveLength(1);
    cookie = answer.setCookies[0]?.split(";")[0];
    expect(cookie).not.toBe(before);
    expect(JSON.parse((await visit("/")).body)).toEqual({ isNew: false, user: "ada", keys: ["list"] });
  });

  test("the id cookie is sent once", async () => {
    expect((await visit("/set/1")).setCookies).toHaveLength(1);
    expect((await visit("/set/2")).setCookies).toEqual([]);
    expect((await visit("/")).setCookies).toEqual([]);
  });

  test("an anonymous reader gets no cookie and costs no store call", async () => {
    const before = store.total;
    expect(JSON.parse((await visit("/")).body)).toEqual({ isNew: true, user: null, keys: [] });
    expect([cookie, store.total]).toEqual([undefined, before]);
  });

  test("20 parallel writers of different keys all survive, and counters are exact", async () => {
    await visit("/set/0");
    await Promise.all(Array.from({ length: 20 }, (_, index) => send(`/set/${index}`).answer));
    await Promise.all(Array.from({ length: 20 }, () => send("/count").answer));
    const { keys } = JSON.parse((await visit("/")).body);
    expect(keys).toHaveLength(21);
    expect((await visit("/count")).body).toBe("21");
  });

  test("a write in flight does not bring a session back after the logout", async () => {
    await visit("/set/1");
    const old = cookie;
    const { promise, open } = gate();
    const writing = new Promise<void>((resolve) => {
      store.before = (verb) => {
        if (verb !== "apply") return;
        resolve();
        return promise;
      };
    });
    const late = send("/set/2");
    await writing;
    await visit("/logout");
    open();
    expect((await late.answer).status).toBe(409);
    cookie = old;
    expect(JSON.parse((await visit("/")).body)).toEqual({ isNew: true, user: null, keys: [] });
  });

  test("while the store is down, sessions answer 503 with Retry-After and keep their cookie; others notice nothing", async () => {
    await visit("/set/1");
    const mine = cookie;
    store.before = () => {
      throw new SessionError("STORE_UNAVAILABLE", "Cannot reach the store: it is down");
    };
    for (const path of ["/", "/set/2", "/login", "/logout", "/count"]) {
      const answer = await visit(path);
      expect([path, answer.status, answer.headers["retry-after"]]).toEqual([path, 503, "1"]);
      expect(answer.setCookies).toEqual([]);
    }
    expect((await visit("/anonymous")).status).toBe(200);
    store.before = () => {};
    expect(cookie).toBe(mine);
    expect(JSON.parse((await visit("/")).body).keys).toEqual(["key1"]);
  });

  test("a visitor without a session is not told 200 when the session could not be created", async () => {
    store.before = (verb) => {
      if (verb === "create")
        throw new SessionError("STORE_FULL", "Cannot create a session: the store is full");
    };
    const answer = await visit("/set/1");
    expect([answer.status, answer.body, cookie]).toEqual([503, refusalBody("STORE_FULL"), undefined]);
  });

  test.each([
    ["/too-large", 413, "SESSION_TOO_LARGE" as const],
    ["/unsupported", 500, "UNSUPPORTED_VALUE" as const],
  ])("%s: found at the commit, answered %i, old state kept", async (path, status, code) => {
    await visit("/list");
    const answer = await visit(path);
    expect([answer.status, answer.body]).toEqual([status, refusalBody(code)]);
    expect(JSON.parse((await visit("/")).body).keys).toEqual(["list"]);
  });

  test("a stream that has begun changes the session by update, and set says that it is too late", async () => {
    await visit("/list");
    const answer = await visit("/live");
    expect([answer.body, answer.setCookies]).toEqual(["data: begun\n\ndata: LATE_WRITE\n\n", []]);
    expect(JSON.parse((await visit("/")).body).keys).toEqual(["list", "seen"]);
  });
});
