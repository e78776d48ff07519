import { once } from "node:events";
import http from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterEach, expect, test } from "vitest";
import { SessionError } from "../core/errors.ts";
import { refusalBody } from "./answer.ts";
import { nodeSessions } from "./node.ts";
import { STORE_DOWN, scriptedSessions } from "./scripted-sessions.test.support.ts";

let server: http.Server | undefined;

afterEach(async () => {
  server?.close().closeAllConnections();
  if (server) await once(server, "close");
  server = undefined;
});

async function launch(
  listener: (req: http.IncomingMessage, res: http.ServerResponse) => unknown,
): Promise<number> {
  server = http.createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

test("a session that cannot be loaded is answered with its code, and the application's headers are forgotten", async () => {
  const sessions = scriptedSessions();
  sessions.failLoading(
    new SessionError("STORE_UNAVAILABLE", "Cannot read the session: the store did not answer"),
  );
  const port = await launch(
    nodeSessions(sessions, async (req, res) => {
      res.statusCode = 201;
      res.statusMessage = "Made";
      res.setHeader("x-secret", "s");
      res.setHeader("access-control-allow-origin", "*");
      await req.session();
    }),
  );
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  expect([answer.status, answer.statusText, await answer.text()]).toEqual([
    503,
    "Service Unavailable",
    refusalBody("STORE_UNAVAILABLE"),
  ]);
  expect(Object.fromEntries(answer.headers)).toMatchObject({
    "retry-after": "1",
    "cache-control": "no-store",
    "access-control-allow-origin": "*",
    "content-type": "application/json; charset=utf-8",
  });
  expect(answer.headers.has("x-secret")).toBe(false);
});

test("a session error after half an answer is the refusal, or breaks the connection; it never looks whole", async () => {
  const sessions = scriptedSessions();
  const port = await launch(
    nodeSessions(sessions, async (req, res) => {
      const session = await req.session();
      session.set("a", 1);
      res.write("half");
      await session.commit();
      throw new SessionError("UPDATE_CONFLICT", "Cannot update: lost the race ten times");
    }),
  );
  sessions.finish(STORE_DOWN);
  const refused = await fetch(`http://127.0.0.1:${port}/`);
  expect([refused.status, await refused.text()]).toEqual([503, refusalBody("STORE_UNAVAILABLE")]);
  sessions.finish({ ok: true, setCookies: [] });
  await expect(fetch(`http://127.0.0.1:${port}/`).then((answer) => answer.text())).rejects.toThrow();
});

test("errors that are not a session's go where they go without sessions", async () => {
  const errors: unknown[] = [];
  const listener = nodeSessions(scriptedSessions(), async () => {
    throw new Error("the application's own");
  });
  const port = await launch((req, res) => {
    Promise.resolve(listener(req, res)).catch((error: Error) => {
      errors.push(error.message);
      res.writeHead(500).end();
    });
  });
  expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(500);
  expect(errors).toEqual(["the application's own"]);
});

test("scopes of pipelined requests close when their connection goes, whether their turn came or not", async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on("warning", onWarning);
  const sessions = scriptedSessions();
  const port = await launch(nodeSessions(sessions, async (req) => void (await req.session())));
  const client = connect(port, "127.0.0.1");
  client.on("error", () => {});
  client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(15));
  await expect.poll(() => sessions.opened.length).toBe(15);
  client.destroy();
  await expect.poll(() => sessions.opened.map(({ closed }) => closed)).toEqual(Array(15).fill(1));
  process.removeListener("warning", onWarning);
  expect(warnings).toEqual([]);
});

test("the application says what it trusts about TLS", async () => {
  const sessions = scriptedSessions();
  const port = await launch(
    nodeSessions(sessions, async (req, res) => void res.end(String((await req.session()).get("x"))), {
      isSecure: (req) => req.headers["x-forwarded-proto"] === "https",
    }),
  );
  await fetch(`http://127.0.0.1:${port}/`, { headers: { "x-forwarded-proto": "https" } });
  await fetch(`http://127.0.0.1:${port}/`);
  expect(sessions.opened.map(({ secure }) => secure)).toEqual([true, false]);
});
