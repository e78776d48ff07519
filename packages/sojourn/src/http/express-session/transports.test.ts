/** Where a session is needed and no ordinary HTTP/1.1 response is there: HTTP/2, upgrades, doubles of tests. */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { connect, createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import session, { type Session } from "./index.ts";
import { Browser, OPTIONS, type Req, site } from "./site.test.support.ts";

test.each([
  ["stores before it answers", false, "200"],
  ["is refused when the store fails", true, "503"],
])("over HTTP/2 a login %s", async (_name, fails, status) => {
  const store = new session.MemoryStore();
  if (fails) store.set = (_sid, _data, callback) => callback?.(new Error("down"));
  const middleware = session({ ...OPTIONS, store });
  const server = createHttp2Server((req, res) => {
    middleware(req as never, res as never, (error) => {
      if (error) return;
      (req as unknown as Req).session.user = "ada";
      res.end("welcome");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  onTestFinished(() => {
    client.destroy();
    server.close();
  });
  const request = client.request({ ":path": "/" });
  const [headers] = (await once(request, "response")) as [Record<string, string | string[]>];
  expect(String(headers[":status"])).toBe(status);
  expect(headers["set-cookie"] ?? []).toHaveLength(fails ? 0 : 1);
  expect(Object.keys(store.sessions)).toHaveLength(fails ? 0 : 1);
});

test("an upgrade request gets its session from `middleware(req, {}, next)`, and saves it", async () => {
  const store = new session.MemoryStore();
  const options = { ...OPTIONS, store };
  const shop = await site(options, (req, res) => {
    req.session.user = "ada";
    res.end();
  });
  const middleware = session(options);
  const browser = new Browser();
  await browser.visit(shop);
  const req = {
    url: "/ws",
    headers: { cookie: `connect.sid=${browser.cookies.get("connect.sid")}` },
  } as never;
  await new Promise((resolve) => middleware(req, {} as ServerResponse, resolve));
  const mine = (req as { session: Session & Record<string, unknown> }).session;
  expect(mine.user).toBe("ada");
  mine.seen = true;
  await mine.save();
  expect(JSON.parse(Object.values(store.sessions)[0] as string)).toMatchObject({ user: "ada", seen: true });
});

test.each([
  ["stored before its end", false, 200, "welcome"],
  ["refused", true, 503, expect.stringContaining("STORE_UNAVAILABLE")],
])("with a response that is a test's double, a login is %s", async (_name, fails, status, text) => {
  const store = new session.MemoryStore();
  if (fails) store.set = (_sid, _data, callback) => callback?.(new Error("down"));
  const headers = new Map<string, unknown>();
  const double = await new Promise<{ statusCode: number; body: string }>((resolve) => {
    const res = {
      statusCode: 200,
      headersSent: false,
      body: "",
      getHeaderNames: () => [...headers.keys()],
      getHeader: (name: string) => headers.get(name.toLowerCase()),
      setHeader: (name: string, value: unknown) => headers.set(name.toLowerCase(), value),
      removeHeader: (name: string) => headers.delete(name.toLowerCase()),
      writeHead() {
        this.headersSent = true;
      },
      end(body: string) {
        this.writeHead();
        this.body = body;
        resolve(this);
      },
    };
    const req = { url: "/", headers: {} } as unknown as Req;
    session({ ...OPTIONS, store })(req, res as never, (error) => {
      if (error) return;
      req.session.user = "ada";
      res.end("welcome");
    });
  });
  expect(double).toMatchObject({ statusCode: status, body: text });
  expect(Object.keys(store.sessions)).toHaveLength(fails ? 0 : 1);
});
