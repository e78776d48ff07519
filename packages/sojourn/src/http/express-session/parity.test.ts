/**
 * The same visits to express-session and to ours, for every combination of options: the same answers, the same cookies,
 * the same calls of the store. What is meant to differ is told by name at the end.
 */
import { createRequire } from "node:module";
import { describe, expect, test } from "vitest";
import session, { type Session, type SessionOptions } from "./index.ts";
import { Browser, type Handler, OPTIONS, type Req, type Site, siteWith } from "./site.test.support.ts";

// express-session ships no types.
const expressSession = createRequire(import.meta.url)("express-session") as typeof session;

const of = (req: Req) => (req as unknown as { session: Session }).session;
const ACTIONS: Record<string, (req: Req, done: (error?: unknown) => void) => void> = {
  "/": (_req, done) => done(),
  "/set": (req, done) => {
    req.session.user = "ada";
    done();
  },
  "/count": (req, done) => {
    req.session.count = Number(req.session.count ?? 0) + 1;
    done();
  },
  "/inner": (req, done) => {
    req.session.basket ??= { items: [] };
    (req.session.basket as { items: number[] }).items.push(1);
    done();
  },
  "/delete": (req, done) => {
    delete req.session.user;
    done();
  },
  "/touch": (req, done) => {
    of(req).touch();
    done();
  },
  "/max-age": (req, done) => {
    of(req).cookie.maxAge = 5_000;
    done();
  },
  "/save": (req, done) => {
    req.session.saved = true;
    of(req).save(done);
  },
  "/save-clean": (req, done) => void of(req).save(done),
  "/reload": (req, done) => {
    req.session.lost = true;
    of(req).reload(() => done());
  },
  "/regenerate": (req, done) => void of(req).regenerate(done),
  "/login": (req, done) => {
    of(req).regenerate((error) => {
      req.session.user = "grace";
      done(error);
    });
  },
  "/login-save": (req, done) => {
    of(req).regenerate(() => {
      req.session.user = "grace";
      of(req).save(done);
    });
  },
  "/destroy": (req, done) => void of(req).destroy(done),
  "/null": (req, done) => {
    (req as { session: unknown }).session = null;
    done();
  },
  "/unset": (req, done) => {
    delete (req as { session?: unknown }).session;
    done();
  },
};

const handler: Handler = (req, res) => {
  const { pathname, search } = new URL(req.url ?? "/", "http://x");
  ACTIONS[pathname]?.(req, (error) => {
    if (error) res.statusCode = 500;
    if (search === "?stream") res.write("written ");
    if (search === "?head") res.writeHead(201, { "X-Own": "1", "Set-Cookie": "own=1" });
    const { cookie: _, ...attributes } = req.session ?? {};
    res.end(JSON.stringify(error ? String(error) : attributes));
  });
};

const VISITS = [
  ["/", "/"],
  ["/set", "/", "/set", "/delete", "/"],
  ["/count?stream", "/count?stream", "/?stream"],
  ["/count?head", "/count?head", "/?head"],
  ["/inner", "/inner", "/"],
  ["/touch", "/set", "/touch", "/max-age", "/set?head", "/max-age"],
  ["/save", "/save", "/save-clean", "/"],
  ["/save-clean", "/"],
  ["/set", "/reload", "/"],
  ["/set", "/regenerate", "/"],
  ["/login", "/", "/login", "/"],
  ["/set", "/destroy", "/", "/set"],
  ["/set", "/null", "/", "/null?stream"],
  ["/set", "/unset", "/"],
];

const combinations: SessionOptions[] = [];
for (const resave of [true, false]) {
  for (const saveUninitialized of [true, false]) {
    for (const rolling of [true, false]) {
      for (const unset of ["keep", "destroy"] as const) {
        for (const maxAge of [null, 60_000]) {
          combinations.push({ resave, saveUninitialized, rolling, unset, cookie: { maxAge } });
        }
      }
    }
  }
}

interface Trace {
  readonly path: string;
  readonly status: number;
  readonly text: string;
  readonly cookies: readonly string[];
  readonly own: string | null;
  readonly calls: readonly string[];
  readonly errors: number;
}

async function traces(site: Site, calls: string[], paths: readonly string[]): Promise<Trace[]> {
  const browser = new Browser();
  const all: Trace[] = [];
  for (const path of paths) {
    calls.length = 0;
    site.errors.length = 0;
    const { status, text, headers, setCookies } = await browser.visit(site, path);
    all.push({
      path,
      status,
      text,
      own: headers.get("x-own"),
      // Ids differ, and seconds may.
      cookies: setCookies.map((line) => line.replace(/s%3A[^;]+/, "…").replace(/Expires=[^;]+/, "Expires=…")),
      calls: [...calls],
      errors: site.errors.length,
    });
  }
  return all;
}

async function traced(
  factory: typeof session,
  options: SessionOptions,
): Promise<[Site, string[], session.MemoryStore]> {
  const calls: string[] = [];
  const store = new factory.MemoryStore();
  for (const name of ["get", "set", "touch", "destroy"] as const) {
    const method = store[name] as (...args: unknown[]) => unknown;
    (store as unknown as Record<string, unknown>)[name] = (...args: unknown[]) => {
      calls.push(name);
      return method.apply(store, args);
    };
  }
  return [await siteWith(factory({ ...OPTIONS, ...options, store }), handler), calls, store];
}

describe.each(combinations.map((options) => [JSON.stringify(options), options] as const))(
  "%s",
  (_name, options) => {
    test("answers, cookies and store calls are those of express-session", async () => {
      const [theirs, theirCalls] = await traced(expressSession, options);
      const [ours, ourCalls] = await traced(session, options);
      for (const paths of VISITS) {
        expect(await traces(ours, ourCalls, paths)).toEqual(
          (await traces(theirs, theirCalls, paths)).map((trace) => ({ ...trace, calls: once(trace.calls) })),
        );
      }
    });
  },
);

/** express-session ends a session twice when `unset` is "destroy" and the application ended it. */
function once(calls: readonly string[]): string[] {
  return calls.filter((call, index) => call !== "destroy" || calls[index - 1] !== "destroy");
}

describe("meant to differ", () => {
  async function calls(factory: typeof session, options: SessionOptions, paths: readonly string[]) {
    const [site, seen] = await traced(factory, options);
    return (await traces(site, seen, paths)).at(-1)?.calls;
  }

  test("regenerate and save store once, not twice", async () => {
    const paths = ["/set", "/login-save"];
    expect(await calls(expressSession, {}, paths)).toEqual(["get", "destroy", "set", "set"]);
    expect(await calls(session, {}, paths)).toEqual(["get", "destroy", "set"]);
  });

  test("a session that was ended is not ended again", async () => {
    const options = { unset: "destroy" } as const;
    const paths = ["/set", "/destroy"];
    expect(await calls(expressSession, options, paths)).toEqual(["get", "destroy", "destroy"]);
    expect(await calls(session, options, paths)).toEqual(["get", "destroy"]);
  });

  test("a store that cannot read logs nobody out", async () => {
    const seen: Record<string, string[]> = {};
    for (const [name, factory] of Object.entries({ theirs: expressSession, ours: session })) {
      const [site, calls, store] = await traced(factory, { unset: "destroy" });
      const browser = new Browser();
      await browser.visit(site, "/set");
      store.get = (_sid: string, callback: (error: Error) => void) => callback(new Error("down"));
      calls.length = 0;
      expect((await browser.visit(site)).status).toBe(500);
      seen[name] = [...calls];
    }
    expect(seen).toEqual({ theirs: ["destroy"], ours: [] });
  });

  test("a read looks at the session twice, not four times", async () => {
    const looks: Record<string, number> = {};
    for (const [name, factory] of Object.entries({ theirs: expressSession, ours: session })) {
      const options = { cookie: { maxAge: 60_000 } };
      const [site, , store] = await traced(factory, options);
      const browser = new Browser();
      await browser.visit(site, "/set");
      let count = 0;
      const get = store.get;
      store.get = (sid, callback) =>
        get.call(store, sid, (error, data) => {
          const probe = {
            toJSON() {
              count++;
              return "the same";
            },
          };
          callback(error, data && { ...data, probe });
        });
      // The answer is one look more.
      await browser.visit(site);
      looks[name] = count - 1;
    }
    expect(looks).toEqual({ theirs: 4, ours: 2 });
  });
});
