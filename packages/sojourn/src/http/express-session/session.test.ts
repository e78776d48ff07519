/** The methods of sessions and stores, with callbacks and with promises, and the ways in which stores are written. */
import { EventEmitter } from "node:events";
import { createRequire } from "node:module";
import { inherits } from "node:util";
import { describe, expect, test } from "vitest";
import session, { type Session, type SessionOptions, type StoredData } from "./index.ts";
import { Browser, type Handler, type Req, site } from "./site.test.support.ts";

const require = createRequire(import.meta.url);
type Own = Session & Record<string, unknown>;
const of = (req: Req) => (req as unknown as { session: Own }).session;

/** What a method does within one request; the answer is what the function gives. */
async function during(act: (req: Req) => unknown, options: SessionOptions = {}) {
  const store = options.store ?? new session.MemoryStore();
  const handler: Handler = async (req, res) => {
    if (req.url === "/begin") {
      req.session.user = "ada";
      return res.end();
    }
    return res.end(JSON.stringify(await act(req)));
  };
  const shop = await site({ ...options, store }, handler);
  const browser = new Browser();
  await browser.visit(shop, "/begin");
  const answer = await browser.visit(shop, "/act");
  return { answer, store: store as session.MemoryStore, browser, shop };
}

const viaCallback = (call: (done: (error?: unknown) => void) => unknown) =>
  new Promise<void>((resolve, reject) => {
    call((error) => (error ? reject(error) : resolve()));
  });

describe.each(["a promise", "a callback"])("with %s", (how) => {
  const call = (mine: Session, method: "save" | "reload" | "destroy" | "regenerate") =>
    how === "a promise" ? mine[method]() : viaCallback((done) => mine[method](done));

  test("save stores now", async () => {
    const { answer } = await during(async (req) => {
      of(req).saved = true;
      await call(of(req), "save");
      return (req.sessionStore as session.MemoryStore).sessions[req.sessionID];
    });
    expect(JSON.parse(JSON.parse(answer.text) as string)).toMatchObject({ user: "ada", saved: true });
  });

  test("reload forgets what this request changed", async () => {
    const { answer } = await during(async (req) => {
      const before = of(req);
      before.user = "mallory";
      await call(before, "reload");
      return [of(req).user, before === of(req), before.id === of(req).id];
    });
    expect(JSON.parse(answer.text)).toEqual(["ada", false, true]);
  });

  test("reload of a session that has ended fails", async () => {
    const { answer } = await during(async (req) => {
      await viaCallback((done) => req.sessionStore.destroy(req.sessionID, done));
      return call(of(req), "reload").then(
        () => "reloaded",
        (error: Error) => error.message,
      );
    });
    expect(answer.text).toBe('"failed to load session"');
  });

  test("destroy ends it and takes it from the request", async () => {
    const { answer, store } = await during(async (req) => {
      await call(of(req), "destroy");
      return typeof req.session;
    });
    expect(answer).toMatchObject({ text: '"undefined"', setCookies: [] });
    expect(Object.keys(store.sessions)).toEqual([]);
  });

  test("regenerate gives an empty session with another id", async () => {
    const { answer, store } = await during(async (req) => {
      const before = req.sessionID;
      await call(of(req), "regenerate");
      return [before !== req.sessionID, of(req).id === req.sessionID, Object.keys(of(req))];
    });
    expect(JSON.parse(answer.text)).toEqual([true, true, ["cookie"]]);
    expect(answer.setCookies).toHaveLength(1);
    expect(Object.keys(store.sessions)).toHaveLength(1);
  });
});

test("a callback method gives the session, to be chained", async () => {
  const { answer } = await during((req) => {
    const mine = of(req);
    return [mine.save(() => {}) === mine, mine.touch() === mine, mine.resetMaxAge() === mine];
  });
  expect(JSON.parse(answer.text)).toEqual([true, true, true]);
});

test("touch starts maxAge again; originalMaxAge stays", async () => {
  const { answer } = await during(
    (req) => {
      const { cookie } = of(req);
      cookie.expires = new Date(Date.now() + 1_000);
      cookie.originalMaxAge = 60_000;
      of(req).touch();
      return [(cookie.maxAge ?? 0) > 50_000, cookie.originalMaxAge];
    },
    { cookie: { maxAge: 60_000 } },
  );
  expect(JSON.parse(answer.text)).toEqual([true, 60_000]);
});

test("attributes and the cookie are enumerable, methods, id and req are not", async () => {
  const { answer } = await during((req) => {
    const names: string[] = [];
    for (const name in req.session) names.push(name);
    return names;
  });
  expect(JSON.parse(answer.text)).toEqual(["cookie", "user"]);
});

test("names of methods in stored data are ignored, and __proto__ is no way in", async () => {
  const store = new session.MemoryStore();
  const get = store.get;
  store.get = (sid, callback) =>
    get.call(store, sid, (error, data) => {
      const hostile = data && {
        ...data,
        save: "no",
        id: "no",
        ...JSON.parse('{"__proto__":{"admin":true}}'),
      };
      callback(error, hostile as StoredData);
    });
  const { answer } = await during(
    (req) => [typeof of(req).save, of(req).id === req.sessionID, of(req).admin],
    { store },
  );
  expect(JSON.parse(answer.text)).toEqual(["function", true, null]);
});

test("an attribute that JSON cannot hold fails the request, not the process", async () => {
  const { answer } = await during((req) => {
    req.session.big = 1n;
    return "done";
  });
  expect(answer.status).toBe(500);
});

describe("stores", () => {
  async function counts(store: unknown): Promise<string> {
    const shop = await site({ store: store as never }, (req, res) => {
      req.session.count = Number(req.session.count ?? 0) + 1;
      res.end(String(req.session.count));
    });
    const browser = new Browser();
    await browser.visit(shop);
    return (await browser.visit(shop)).text;
  }

  interface Blobs {
    blobs: Map<string, string>;
  }
  const contract = {
    get(this: Blobs, sid: string, done: (error: unknown, data?: unknown) => void) {
      const text = this.blobs.get(sid);
      done(null, text && JSON.parse(text));
    },
    set(this: Blobs, sid: string, data: unknown, done: (error?: unknown) => void) {
      this.blobs.set(sid, JSON.stringify(data));
      done();
    },
    destroy(this: Blobs, sid: string, done: (error?: unknown) => void) {
      this.blobs.delete(sid);
      done();
    },
  };

  test("that inherit by util.inherits and Store.call(this), from a factory given `session`", async () => {
    const factory = ({ Store }: typeof session) => {
      function OldStore(this: session.Store & Blobs) {
        Store.call(this);
        this.blobs = new Map();
      }
      inherits(OldStore, Store);
      Object.assign(OldStore.prototype, contract);
      return OldStore as unknown as new () => session.Store;
    };
    const OldStore = factory(session);
    expect(await counts(new OldStore())).toBe("2");
    expect(new OldStore()).toBeInstanceOf(EventEmitter);
  });

  test("that are plain objects with three methods, which express-session refuses", async () => {
    expect(await counts({ blobs: new Map(), ...contract })).toBe("2");
  });

  test("that inherit from express-session's own Store give our sessions, with promises", async () => {
    const theirs = require("express-session") as typeof session;
    const { answer } = await during(
      async (req) => {
        await of(req).save();
        return [of(req) instanceof session.Session, of(req).cookie instanceof session.Cookie, of(req).user];
      },
      { store: new theirs.MemoryStore() },
    );
    expect(JSON.parse(answer.text)).toEqual([true, true, "ada"]);
  });

  test("that make sessions of a class of their own keep it", async () => {
    class Marked extends session.MemoryStore {
      override createSession(...args: Parameters<session.Store["createSession"]>) {
        const made = super.createSession(...args);
        return Object.assign(made, { marked: true });
      }
    }
    const { answer } = await during((req) => of(req).marked, { store: new Marked() });
    expect(answer.text).toBe("true");
  });

  test("load gives a session outside of any request, whose methods work", async () => {
    const { store, browser, shop } = await during(() => null, { cookie: { maxAge: 60_000 } });
    const sid = Object.keys(store.sessions)[0] as string;
    const loaded = await new Promise<Own>((resolve, reject) => {
      store.load(sid, (error, found) => (error || !found ? reject(error) : resolve(found as Own)));
    });
    expect(loaded).toMatchObject({ id: sid, user: "ada", cookie: { originalMaxAge: 60_000 } });
    expect(loaded.cookie.expires).toBeInstanceOf(Date);
    loaded.role = "admin";
    await loaded.save();
    expect(JSON.parse(store.sessions[sid] as string)).toMatchObject({ role: "admin" });
    await loaded.reload();
    await loaded.destroy();
    expect(Object.keys(store.sessions)).toEqual([]);
    expect((await browser.visit(shop, "/act")).setCookies).toEqual([]);
    const missing = await new Promise((resolve) =>
      store.load("unknown", (error, found) => resolve([error, found])),
    );
    expect(missing).toEqual([undefined, undefined]);
  });

  test("MemoryStore: all, length and clear; what has expired is not there", async () => {
    const { store } = await during(() => null);
    store.set("old", { cookie: { originalMaxAge: 1, expires: new Date(0) } });
    const all = await new Promise((resolve) => store.all((_error, found) => resolve(found)));
    expect(Object.values(all as object)).toMatchObject([{ user: "ada" }]);
    const length = () => new Promise((resolve) => store.length((_error, count) => resolve(count)));
    expect(await length()).toBe(1);
    await viaCallback((done) => store.clear(done));
    expect(await length()).toBe(0);
  });
});
