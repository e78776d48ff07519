/**
 * What some recipes of docs/frameworks.md are about, beyond the cart that frameworks.e2e.test.ts asks of all: sockets that
 * close with their session, Passport's login, data that a schema refuses.
 */
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { WebSocket } from "ws";
import { compilePrograms, programsOf, type RunningProgram, startProgram, Visitor } from "./snippets.ts";

const { fileOf } = compilePrograms("recipes", programsOf("docs/frameworks.md"));
const running: RunningProgram[] = [];

afterEach(async () => {
  for (const program of running.splice(0)) await program.stop();
});

async function started(name: string): Promise<string> {
  const program = await startProgram(fileOf(name), { SESSION_SECRET: "a secret of the recipes" });
  running.push(program);
  return program.origin;
}

test("the recipe websocket changes the session of the page, and its sockets close at the logout", async () => {
  const origin = await started("websocket");
  const response = await fetch(`${origin}/cart/tea`, { method: "POST" });
  const cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? "";
  const stranger = new WebSocket(origin.replace("http", "ws"));
  const [, refusal] = await once(stranger, "unexpected-response");
  expect(refusal.statusCode).toBe(401);
  stranger.on("error", () => {}).terminate();
  const ws = new WebSocket(origin.replace("http", "ws"), { headers: { cookie, origin } });
  await once(ws, "open");
  const answer = once(ws, "message");
  ws.send("milk");
  expect(String((await answer)[0])).toBe('["tea","milk"]');
  const closed = once(ws, "close");
  await fetch(`${origin}/logout`, { headers: { cookie } });
  expect((await closed)[0]).toBe(4401);
});

test("the recipe passport logs in and out", async () => {
  const origin = await started("passport");
  const login = await fetch(`${origin}/login`, {
    method: "POST",
    redirect: "manual",
    body: new URLSearchParams({ username: "ada", password: "right" }),
  });
  expect(login.status).toBe(303);
  const cookie = login.headers.getSetCookie()[0]?.split(";")[0] ?? "";
  const whoAmI = async () => (await fetch(origin, { headers: { cookie } })).json();
  expect(await whoAmI()).toBe("ada");
  expect((await fetch(`${origin}/logout`, { method: "POST", headers: { cookie } })).status).toBe(204);
  expect(await whoAmI()).toBe(null);
});

test("the recipe schema refuses what does not fit, and stores nothing of it", async () => {
  const visitor = new Visitor(await started("schema"));
  await visitor.post("/cart/tea");
  const refused = await visitor.post(`/cart/${"x".repeat(21)}`);
  expect([refused.status, await refused.json()]).toEqual([
    500,
    expect.objectContaining({ code: "INVALID_VALUE" }),
  ]);
  expect(await (await visitor.get("/cart")).json()).toEqual(["tea"]);
});
