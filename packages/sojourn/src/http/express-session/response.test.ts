/** What the drop-in does better than express-session: no answer before the session is stored, none that is untrue. */
import { get, type ServerResponse } from "node:http";
import { describe, expect, test, vi } from "vitest";
import session, { type StoredData } from "./index.ts";
import { Browser, type Req, site } from "./site.test.support.ts";

/** A memory store whose writes wait for `release`, or fail. */
class SlowStore extends session.MemoryStore {
  readonly held: (() => void)[] = [];
  readonly calls: string[] = [];
  holds = new Set<string>();
  fails = new Set<string>();

  release(): void {
    for (const go of this.held.splice(0)) go();
  }

  override get(...args: Parameters<session.MemoryStore["get"]>): void {
    this.#then("get", args[1] as (error: unknown) => void, () => super.get(...args));
  }
  override set(...args: Parameters<session.MemoryStore["set"]>): void {
    this.#then("set", args[2], () => super.set(...args));
  }
  override touch(...args: Parameters<session.MemoryStore["touch"]>): void {
    this.#then("touch", args[2], () => super.touch(...args));
  }
  override destroy(...args: Parameters<session.MemoryStore["destroy"]>): void {
    this.#then("destroy", args[1], () => super.destroy(...args));
  }

  #then(name: string, callback: ((error: unknown) => void) | undefined, go: () => void): void {
    this.calls.push(name);
    if (this.fails.has(name)) process.nextTick(() => callback?.(new Error(`${name} refused`)));
    else if (this.holds.has(name)) this.held.push(go);
    else go();
  }
}

function login(req: Req): void {
  req.session.user = "ada";
}

async function settled<T>(promise: Promise<T>): Promise<boolean> {
  let isSettled = false;
  promise.then(
    () => {
      isSettled = true;
    },
    () => {
      isSettled = true;
    },
  );
  // Long enough for a byte on loopback: what must not happen would have happened.
  await new Promise((resolve) => setTimeout(resolve, 60));
  return isSettled;
}

describe("the response waits for the store", () => {
  const answers: Record<string, (res: ServerResponse) => void> = {
    "a redirect": (res) => res.writeHead(302, { Location: "/" }).end(),
    "a body": (res) => res.end("welcome"),
    "a body in pieces": (res) => {
      res.write("wel");
      res.end("come");
    },
    "a length": (res) => res.setHeader("Content-Length", 7).end("welcome"),
    "flushed headers": (res) => {
      res.flushHeaders();
      res.end("welcome");
    },
  };
  test.each(Object.entries(answers))("%s: no header before the save", async (_name, answerWith) => {
    const store = new SlowStore();
    store.holds.add("set");
    const shop = await site({ store }, (req, res) => {
      login(req);
      answerWith(res);
    });
    const browser = new Browser();
    const answer = browser.visit(shop);
    await vi.waitFor(() => expect(store.held).toHaveLength(1));
    expect(await settled(answer)).toBe(false);
    store.release();
    expect((await answer).setCookies).toHaveLength(1);
    expect(store.calls).toEqual(["set"]);
  });

  test("a save that nobody waited for holds the redirect, and is made once", async () => {
    const store = new SlowStore();
    store.holds.add("set");
    const shop = await site({ store }, (req, res) => {
      login(req);
      (req as unknown as { session: session.Session }).session.save();
      res.writeHead(302, { Location: "/" }).end();
    });
    const answer = new Browser().visit(shop);
    await vi.waitFor(() => expect(store.held).toHaveLength(1));
    expect(await settled(answer)).toBe(false);
    store.release();
    expect((await answer).status).toBe(302);
    expect(store.calls).toEqual(["set"]);
  });

  test("a destroy that nobody waited for holds the answer", async () => {
    const store = new SlowStore();
    const shop = await site({ store }, (req, res) => {
      if (req.url === "/login") login(req);
      else (req as unknown as { session: session.Session }).session.destroy();
      res.end("done");
    });
    const browser = new Browser();
    await browser.visit(shop, "/login");
    store.holds.add("destroy");
    const answer = browser.visit(shop, "/logout");
    await vi.waitFor(() => expect(store.held).toHaveLength(1));
    expect(await settled(answer)).toBe(false);
    store.release();
    expect((await answer).text).toBe("done");
  });

  test("what a stream changes after it began is stored before its end", async () => {
    const store = new SlowStore();
    const shop = await site({ store }, (req, res) => {
      req.session.began = true;
      res.write("one ");
      setImmediate(() => {
        req.session.went = "on";
        res.end("two");
      });
    });
    const browser = new Browser();
    expect((await browser.visit(shop)).text).toBe("one two");
    expect(store.calls).toEqual(["set", "set"]);
    expect(Object.values(store.sessions).map((text) => JSON.parse(text) as StoredData)).toMatchObject([
      { began: true, went: "on" },
    ]);
  });
});

describe("a failing store", () => {
  test("gives no false login: 503 instead of the redirect, without its cookie, and the error reaches next", async () => {
    const store = new SlowStore();
    store.fails.add("set");
    const shop = await site({ store }, (req, res) => {
      login(req);
      res.writeHead(302, { Location: "/home" }).end();
    });
    const answer = await new Browser().visit(shop);
    expect(answer.status).toBe(503);
    expect(JSON.parse(answer.text)).toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(answer.headers.get("retry-after")).toBe("1");
    expect(answer.headers.get("location")).toBeNull();
    expect(answer.setCookies).toEqual([]);
    expect(shop.errors).toMatchObject([{ message: "set refused" }]);
  });

  test("leaves an answer of the application that says so itself", async () => {
    const store = new SlowStore();
    store.fails.add("set");
    const shop = await site({ store }, (req, res) => {
      login(req);
      res.statusCode = 502;
      res.end("our own page");
    });
    expect(await new Browser().visit(shop)).toMatchObject({ status: 502, text: "our own page" });
  });

  test("does not spoil an answer for an empty session or a touch", async () => {
    const store = new SlowStore();
    const shop = await site({ store, saveUninitialized: true }, (_req, res) => void res.end("hello"));
    const browser = new Browser();
    await browser.visit(shop);
    store.fails.add("set").add("touch");
    expect(await new Browser().visit(shop)).toMatchObject({ status: 200, text: "hello" });
    expect(await browser.visit(shop)).toMatchObject({ status: 200, text: "hello" });
    expect(shop.errors).toMatchObject([{ message: "set refused" }, { message: "touch refused" }]);
  });

  test("gives no false logout", async () => {
    const store = new SlowStore();
    const shop = await site({ store, unset: "destroy" }, (req, res) => {
      if (req.url === "/login") login(req);
      else if (req.url === "/unset") (req as { session: unknown }).session = null;
      else (req as unknown as { session: session.Session }).session.destroy();
      res.end("bye");
    });
    const browser = new Browser();
    await browser.visit(shop, "/login");
    store.fails.add("destroy");
    expect(await browser.visit(shop, "/logout")).toMatchObject({ status: 503 });
    expect(await browser.visit(shop, "/unset")).toMatchObject({ status: 503 });
  });

  test("breaks off a stream whose later change is lost, instead of ending it well", async () => {
    const store = new SlowStore();
    const shop = await site({ store }, (req, res) => {
      res.write("one ");
      store.fails.add("set");
      setImmediate(() => {
        login(req);
        res.end("two");
      });
    });
    await expect(new Browser().visit(shop)).rejects.toThrow();
  });

  test("is told of once when the application waited and answers 500 itself", async () => {
    const store = new SlowStore();
    const shop = await site({ store }, async (req, res) => {
      login(req);
      if (req.url === "/login") await (req as unknown as { session: session.Session }).session.save();
      if (req.url === "/logout") await (req as unknown as { session: session.Session }).session.destroy();
      res.end("done");
    });
    const browser = new Browser();
    await browser.visit(shop);
    store.fails.add("set").add("destroy");
    store.calls.length = 0;
    expect(await new Browser().visit(shop, "/login")).toMatchObject({ status: 500, text: "set refused" });
    expect(await browser.visit(shop, "/logout")).toMatchObject({ status: 500, text: "destroy refused" });
    expect(shop.errors).toHaveLength(2);
    expect(store.calls).toEqual(["set", "get", "destroy"]);
  });

  test("is tried again at the end when a save failed that the application hid", async () => {
    const store = new SlowStore();
    store.fails.add("set");
    const shop = await site({ store }, async (req, res) => {
      login(req);
      await (req as unknown as { session: session.Session }).session.save().catch(() => store.fails.clear());
      res.end("welcome");
    });
    const browser = new Browser();
    expect(await browser.visit(shop)).toMatchObject({ status: 200 });
    expect(Object.keys(store.sessions)).toHaveLength(1);
  });

  test.each(["get", "set"])("whose %s never answers is waited for storeTimeoutMs", async (method) => {
    const store = new SlowStore();
    const shop = await site({ store, storeTimeoutMs: 30 }, (req, res) => {
      login(req);
      res.end("welcome");
    });
    const browser = new Browser();
    if (method === "get") await browser.visit(shop);
    store.holds.add(method);
    const answer = await browser.visit(shop);
    expect(answer.status).toBe(method === "get" ? 500 : 503);
    expect(shop.errors).toMatchObject([{ code: "STORE_UNAVAILABLE" }]);
  });

  test("that throws or rejects instead of calling back is a failing store", async () => {
    const store = new session.MemoryStore();
    const shop = await site({ store }, (req, res) => {
      login(req);
      res.end("welcome");
    });
    store.set = () => {
      throw new Error("thrown");
    };
    expect(await new Browser().visit(shop)).toMatchObject({ status: 503 });
    store.set = () => Promise.reject(new Error("rejected"));
    expect(await new Browser().visit(shop)).toMatchObject({ status: 503 });
    expect(shop.errors).toMatchObject([{ message: "thrown" }, { message: "rejected" }]);
  });

  test("a save that a library put on the session counts, also when it throws", async () => {
    const saves: unknown[] = [];
    const shop = await site({}, (req, res) => {
      const mine = (req as unknown as { session: session.Session }).session;
      const save = mine.save;
      mine.save = ((done: () => void) => {
        saves.push(req.url);
        if (req.url === "/throws") throw new Error("a library's");
        return (save as (done: () => void) => unknown).call(mine, done);
      }) as typeof save;
      Object.defineProperty(mine, "save", { enumerable: false });
      login(req);
      res.end("welcome");
    });
    expect(await new Browser().visit(shop)).toMatchObject({ status: 200 });
    expect(await new Browser().visit(shop, "/throws")).toMatchObject({ status: 503 });
    expect(saves).toEqual(["/", "/throws"]);
    expect(shop.errors).toMatchObject([{ message: "a library's" }]);
  });

  test("keeps the connection for the next request", async () => {
    const store = new SlowStore();
    store.fails.add("set");
    const shop = await site({ store }, (req, res) => {
      login(req);
      res.end("welcome");
    });
    const statuses: number[] = [];
    for (let i = 0; i < 2; i++) {
      await new Promise<void>((resolve, reject) => {
        get(shop.origin, (res) => {
          statuses.push(res.statusCode ?? 0);
          res.resume().on("end", resolve);
        }).on("error", reject);
      });
    }
    expect(statuses).toEqual([503, 503]);
  });
});
