import { request } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RouterAdmin, startRouterAdmin } from "./admin.ts";
import { type Router, startRouter } from "./router.ts";

let router: Router;
let admin: RouterAdmin;

beforeAll(async () => {
  router = await startRouter({
    port: 0,
    health: false,
    servers: [
      { id: "b1", url: "http://127.0.0.1:9" },
      { id: "b2", url: "http://127.0.0.1:9" },
    ],
  });
  admin = await startRouterAdmin(router, { port: 0 });
});
afterAll(async () => {
  await admin.close();
  await router.close();
});

interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: { state?: string; servers?: unknown[]; outcomes?: unknown; message?: string };
}

function ask(method: string, path: string, headers: Record<string, string> = {}, body = ""): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { host: "127.0.0.1", port: admin.address.port, method, path, headers },
      (incoming) => {
        let text = "";
        incoming.on("data", (chunk: Buffer) => {
          text += chunk.toString();
        });
        incoming.on("end", () =>
          resolve({ status: incoming.statusCode!, headers: incoming.headers, body: JSON.parse(text) }),
        );
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

const JSON_TYPE = { "content-type": "application/json" };

test("GET /status tells every figure of every server", async () => {
  const { status, body } = await ask("GET", "/status");
  expect(status).toBe(200);
  expect(body.servers).toHaveLength(2);
  expect(body.servers?.[0]).toMatchObject({
    id: "b1",
    state: "up",
    health: "up",
    requestsPerS: 0,
    inFlight: 0,
  });
  expect(body.outcomes).toMatchObject({ hit: 0, new: 0 });
});

test("POST /servers/:id/state sets the state", async () => {
  for (const state of ["drain", "maintenance", "up"]) {
    const { status, body } = await ask("POST", "/servers/b2/state", JSON_TYPE, JSON.stringify({ state }));
    expect([status, body.state]).toEqual([200, state]);
    expect(router.servers()[1]?.state).toBe(state);
  }
});

test("what a web page could send is refused, and changes nothing", async () => {
  const order = JSON.stringify({ state: "maintenance" });
  const pages: Record<string, string>[] = [
    { ...JSON_TYPE, origin: "http://evil.example" },
    { ...JSON_TYPE, origin: "null" },
    { ...JSON_TYPE, host: "evil.example" },
    { ...JSON_TYPE, host: `evil.example:${admin.address.port}` },
  ];
  for (const headers of pages) {
    const answer = await ask("POST", "/servers/b1/state", headers, order);
    expect(answer.status, JSON.stringify(headers)).toBe(403);
    expect(Object.keys(answer.headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
  }
  const form = await ask("POST", "/servers/b1/state", { "content-type": "text/plain" }, order);
  expect(form.status).toBe(415);
  expect(router.servers()[0]?.state).toBe("up");
});

test("mistakes are named", async () => {
  const post = (path: string, body: string) => ask("POST", path, JSON_TYPE, body);
  expect(await post("/servers/b9/state", '{"state":"up"}')).toMatchObject({ status: 404 });
  expect(await post("/servers/%E0%A4/state", '{"state":"up"}')).toMatchObject({ status: 404 });
  for (const body of [
    '{"state":"gone"}',
    "{}",
    "null",
    "[",
    "",
    `{"state":"up","x":"${"x".repeat(5_000)}"}`,
  ]) {
    expect((await post("/servers/b1/state", body)).status, body.slice(0, 20)).toBe(400);
  }
  expect(await ask("DELETE", "/status")).toMatchObject({ status: 405, headers: { allow: "GET" } });
  expect(await ask("GET", "/servers/b1/state")).toMatchObject({ status: 405, headers: { allow: "POST" } });
  expect(await ask("GET", "/")).toMatchObject({ status: 404 });
});

test("administration is for this machine only", async () => {
  for (const host of ["0.0.0.0", "::", "192.0.2.1", "localhost.example"]) {
    await expect(startRouterAdmin(router, { port: 0, host }), host).rejects.toThrow(/loopback/);
  }
});
