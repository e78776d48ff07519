/** Every option by itself; how they act together with what a handler does, parity.test.ts compares with express-session. */
import { createHmac, createSecretKey } from "node:crypto";
import { describe, expect, test } from "vitest";
import session, { type SessionOptions } from "./index.ts";
import { Browser, type Handler, idOf, OPTIONS, type Req, site, siteWith } from "./site.test.support.ts";

const begin: Handler = (req, res) => {
  req.session.user ??= "ada";
  res.end(String(req.session.user));
};

async function cookieOf(options: SessionOptions, headers: Record<string, string> = {}, path = "/") {
  const answer = await new Browser().visit(await site(options, begin), path, { headers });
  return answer.setCookies[0];
}

describe("secret", () => {
  const signed = (id: string, secret: string) =>
    `s:${id}.${createHmac("sha256", secret).update(id).digest("base64").replace(/=+$/, "")}`;

  test("signs `s:<id>.<HMAC-SHA256>` as express-session does, percent-encoded", async () => {
    const line = await cookieOf({ secret: "keyboard cat", genid: () => "apple" });
    expect(line).toBe(
      "connect.sid=s%3Aapple.D8Y%2BpkTAmeR0PobOhY4G97PRW%2Bj7bUnP%2F5m6%2FOn1MCU; Path=/; HttpOnly",
    );
  });

  test("a list signs with the first and accepts all, so a secret can be replaced", async () => {
    const store = new session.MemoryStore();
    const old = await site({ store, secret: "old" }, begin);
    const both = await site(
      { store, secret: ["new", "old"] },
      (req, res) => void res.end(String(req.session.user)),
    );
    const gone = await site({ store, secret: "new" }, (req, res) => void res.end(String(req.session.user)));
    const browser = new Browser();
    await browser.visit(old);
    expect((await browser.visit(both)).text).toBe("ada");
    expect((await browser.visit(gone)).text).toBe("undefined");
    const id =
      decodeURIComponent(browser.cookies.get("connect.sid") ?? "")
        .slice(2)
        .split(".")[0] ?? "";
    browser.cookies.set("connect.sid", encodeURIComponent(signed(id, "new")));
    expect((await browser.visit(both)).text).toBe("ada");
  });

  test.each([
    ["a Buffer", Buffer.from("bytes")],
    ["a KeyObject", createSecretKey(Buffer.from("bytes"))],
  ])("may be %s", async (_name, secret) => {
    expect(await cookieOf({ secret, genid: () => "id" })).toContain(
      encodeURIComponent(
        `s:id.${createHmac("sha256", "bytes").update("id").digest("base64").replace(/=+$/, "")}`,
      ),
    );
  });

  test("is required, here or as req.secret; an empty list is refused", async () => {
    const without = session({ ...OPTIONS, secret: undefined });
    const refused = await new Browser().visit(await siteWith(without, begin));
    expect(refused).toMatchObject({ status: 500, text: "secret option required for sessions" });
    const parsed = await siteWith((req, res, next) => {
      Object.assign(req, { secret: "of cookie-parser" });
      without(req, res, next);
    }, begin);
    expect((await new Browser().visit(parsed)).setCookies).toHaveLength(1);
    expect(() => session({ secret: [] })).toThrow("secret option array");
  });

  test.each([
    ["a forged signature", "s%3Aapple.Zm9yZ2Vk"],
    ["no signature", "s%3Aapple"],
    ["no mark of a signature", "apple"],
    ["broken percent-encoding", "s%3Aapple.%E0%A4%A"],
  ])("%s asks the store nothing and gets a new session", async (_name, value) => {
    const store = new session.MemoryStore();
    const asked: string[] = [];
    store.get = (id: string) => void asked.push(id);
    const browser = new Browser();
    browser.cookies.set("connect.sid", value);
    const answer = await browser.visit(await site({ store }, begin));
    expect(answer.setCookies).toHaveLength(1);
    expect(asked).toEqual([]);
  });

  test("of two cookies of the name, the one that is signed counts", async () => {
    const shop = await site({ store: new session.MemoryStore() }, begin);
    const browser = new Browser();
    await browser.visit(shop);
    const cookie = `connect.sid=of-another-path; connect.sid=${browser.cookies.get("connect.sid")}`;
    expect((await new Browser().visit(shop, "/", { headers: { cookie } })).setCookies).toEqual([]);
  });

  test.each(["signedCookies", "cookies"])("what cookie-parser left in req.%s counts", async (where) => {
    const middleware = session({ ...OPTIONS, genid: () => "drawn" });
    const shop = await siteWith((req, res, next) => {
      const value = decodeURIComponent(/connect\.sid=([^;]+)/.exec(req.headers.cookie ?? "")?.[1] ?? "");
      delete req.headers.cookie;
      const kept = where === "cookies" ? value : value.slice(2).split(".")[0];
      Object.assign(req, { [where]: { "connect.sid": kept } });
      middleware(req, res, next);
    }, begin);
    const browser = new Browser();
    await browser.visit(shop);
    expect((await browser.visit(shop)).setCookies).toEqual([]);
    browser.cookies.set("connect.sid", "s%3Adrawn.forged");
    if (where === "cookies") expect((await browser.visit(shop)).setCookies).toHaveLength(1);
  });
});

describe("cookie", () => {
  test("says all it is told", async () => {
    const line = await cookieOf({
      cookie: {
        domain: "shop.example",
        path: "/",
        httpOnly: false,
        maxAge: 60_000,
        partitioned: true,
        priority: "high",
        sameSite: "none",
      },
    });
    expect(line?.split("; ").slice(1)).toEqual([
      "Domain=shop.example",
      "Path=/",
      expect.stringMatching(/^Expires=.* GMT$/),
      "Partitioned",
      "Priority=High",
      "SameSite=None",
    ]);
  });

  test.each([
    [true, "Strict"],
    ["lax", "Lax"],
    ["strict", "Strict"],
    [false, undefined],
  ] as const)("sameSite %s is written %s", async (sameSite, written) => {
    expect(/SameSite=(\w+)/.exec((await cookieOf({ cookie: { sameSite } })) ?? "")?.[1]).toBe(written);
  });

  test.each([
    ["an object", { secure: "auto", sameSite: "auto" } as const],
    ["a function", () => ({ secure: "auto", sameSite: "auto" }) as const],
  ])("auto, in %s, follows the connection", async (_name, cookie) => {
    const over = (proto: string) => cookieOf({ cookie, proxy: true }, { "x-forwarded-proto": proto });
    expect(await over("https")).toMatch(/; Secure; SameSite=None$/);
    expect(await over("http")).toMatch(/; HttpOnly; SameSite=Lax$/);
  });

  test("a function is asked once for each request", async () => {
    const asked: string[] = [];
    const cookie = (req: Req) => {
      asked.push(req.url ?? "");
      return { path: req.url };
    };
    expect(await cookieOf({ cookie }, {}, "/tea")).toContain("; Path=/tea; HttpOnly");
    expect(asked).toEqual(["/tea"]);
  });

  test.each([
    ["/shop", true],
    ["/shop/tea?x=/", true],
    ["/", false],
    ["/elsewhere?/shop", false],
  ])("path /shop: a request for %s has a session: %s", async (path, has) => {
    const shop = await site({ cookie: { path: "/shop" } }, (req, res) => void res.end(typeof req.session));
    expect((await new Browser().visit(shop, path)).text).toBe(has ? "object" : "undefined");
  });

  test("that cannot be written is an error for next, and the answer passes without it", async () => {
    const shop = await site({ cookie: { expires: new Date(Number.NaN) } }, begin);
    expect(await new Browser().visit(shop)).toMatchObject({ status: 200, setCookies: [] });
    expect(shop.errors).toMatchObject([{ message: "option expires is invalid" }]);
  });
});

describe("proxy", () => {
  const secure = { cookie: { secure: true } };
  test.each([
    ["true trusts X-Forwarded-Proto", true, { "x-forwarded-proto": "https" }, true],
    ["true takes the first of a list", true, { "x-forwarded-proto": "HTTPS , http" }, true],
    ["true without the header is plain", true, {}, false],
    ["false trusts nobody", false, { "x-forwarded-proto": "https", "x-secure": "1" }, false],
    ["undefined asks Express", undefined, { "x-secure": "1" }, true],
    ["undefined trusts no header", undefined, { "x-forwarded-proto": "https" }, false],
  ])("%s", async (_name, proxy, headers: Record<string, string>, isSet) => {
    const middleware = session({ ...OPTIONS, ...secure, proxy });
    const shop = await siteWith((req, res, next) => {
      Object.assign(req, { secure: req.headers["x-secure"] === "1" });
      middleware(req, res, next);
    }, begin);
    expect((await new Browser().visit(shop, "/", { headers })).setCookies).toHaveLength(isSet ? 1 : 0);
  });
});

test("name, and key as its older word, name the cookie", async () => {
  expect(await cookieOf({ name: "shop" })).toMatch(/^shop=/);
  expect(await cookieOf({ key: "shop" })).toMatch(/^shop=/);
});

test("genid draws the id, given the request; by default it is 192 random bits", async () => {
  expect(idOf(await cookieOf({ genid: (req: Req) => `id of ${req.url}` }, {}, "/tea"))).toBe("id of /tea");
  const drawn = [idOf(await cookieOf({})), idOf(await cookieOf({}))];
  for (const id of drawn) expect(id).toMatch(/^[\w-]{32}$/);
  expect(drawn[0]).not.toBe(drawn[1]);
});

test("what cannot be meant so is refused at the start, by its name", () => {
  expect(() => session({ genid: "x" as never })).toThrow("genid option must be a function");
  expect(() => session({ unset: "x" as never })).toThrow('unset option must be "destroy" or "keep"');
  expect(() => session({ storeTimeoutMs: 0 })).toThrow("storeTimeoutMs option must be");
});

test("a request that has a session already keeps it", async () => {
  const outer = session({ ...OPTIONS, name: "outer" });
  const inner = session({ ...OPTIONS, name: "inner" });
  const shop = await siteWith((req, res, next) => outer(req, res, () => inner(req, res, next)), begin);
  expect((await new Browser().visit(shop)).setCookies.map((line) => line.split("=")[0])).toEqual(["outer"]);
});

test("while its store is disconnected requests go on without a session", async () => {
  const store = new session.MemoryStore();
  const shop = await site({ store }, (req, res) => void res.end(typeof req.session));
  store.emit("disconnect");
  expect((await new Browser().visit(shop)).text).toBe("undefined");
  store.emit("connect");
  expect((await new Browser().visit(shop)).text).toBe("object");
});

test("one store serves two middlewares with different cookies, whichever was made last", async () => {
  const store = new session.MemoryStore();
  const short = await site({ store, name: "short", cookie: { maxAge: 1_000 } }, begin);
  await site({ store, name: "long" }, begin);
  expect((await new Browser().visit(short)).setCookies[0]).toMatch(/^short=.*Expires=/);
});
