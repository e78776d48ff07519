/** TIME_BASED_WRITE in real processes: what a killed server loses, and what one that is told to stop does not. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { startSessionServer } from "../cluster/server/session-server.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const from = (path: string) => JSON.stringify(new URL(`../../dist/${path}`, import.meta.url).href);

const PROGRAM = `
import { createServer } from "node:http";
import { createSessions, sessionServers } from ${from("index.js")};
import { nodeSessions } from ${from("http/node.js")};
const [member, writeFrequency] = process.argv.slice(1);
const store = sessionServers({ members: [member] });
const sessions = createSessions({ store, secret: "a secret of these processes", writeFrequency });
const server = createServer(nodeSessions(sessions, async (req, res) => {
  const session = await req.session();
  if (req.url !== "/") session.set("n", req.url);
  res.end(String(session.get("n")));
}));
process.on("SIGTERM", () => server.close(async () => {
  await sessions.close();
  await store.close();
}).closeIdleConnections());
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
`;

async function application(port: number, writeFrequency: string) {
  const child = spawn(
    process.execPath,
    ["--input-type=module", "--eval", PROGRAM, `127.0.0.1:${port}`, writeFrequency],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  closers.push(() => child.kill("SIGKILL"));
  const [line] = await once(child.stdout, "data");
  const origin = `http://127.0.0.1:${Number(line)}`;
  let cookie = "";
  return {
    child,
    get cookie() {
      return cookie;
    },
    async ask(path: string, as = cookie) {
      const response = await fetch(origin + path, { headers: { cookie: as, connection: "close" } });
      const set = response.headers.get("set-cookie")?.split(";")[0];
      if (set !== undefined) cookie = set;
      return { status: response.status, body: await response.text() };
    },
  };
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exit = once(child, "exit");
  child.kill(signal);
  await exit;
}

test.each([
  ["SIGKILL", "/begun"],
  ["SIGTERM", "/told"],
] as const)("after %s the other server reads %s", async (signal, expected) => {
  const server = await startSessionServer({ port: 0 });
  closers.push(() => server.close());
  const { port } = server.address;
  const here = await application(port, "TIME_BASED_WRITE");
  const elsewhere = await application(port, "END_OF_REQUEST");
  expect(await here.ask("/begun")).toEqual({ status: 200, body: "/begun" });
  expect(await here.ask("/told")).toEqual({ status: 200, body: "/told" });
  expect((await here.ask("/")).body).toBe("/told");
  expect((await elsewhere.ask("/", here.cookie)).body).toBe("/begun");
  await ended(here.child, signal);
  expect((await elsewhere.ask("/", here.cookie)).body).toBe(expected);
});
