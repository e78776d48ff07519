/**
 * The promises of sessions shared by three servers on three frameworks, with nothing broken: nothing lost between
 * parallel requests, an ended session stays ended, the answer never precedes the commit.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Browser } from "./browser.ts";
import { waitUntil } from "./processes.ts";
import { Stack } from "./stack.ts";

let stack: Stack;
let express: string;
let fastify: string;
let node: string;

beforeAll(async () => {
  stack = await Stack.start();
  [express, fastify, node] = stack.origins;
});
beforeEach(() => stack.proxy.inject({ kind: "none" }));
afterAll(() => stack.stop());

interface View {
  readonly principal: string | null;
  readonly attributes: Record<string, unknown>;
  readonly isNew: boolean;
  readonly version: string | null;
}

async function loggedIn(user: string): Promise<Browser> {
  const browser = new Browser();
  expect((await browser.post(express, "/login", { user })).status).toBe(303);
  return browser;
}

/** Sessions read from the store so far, by whomever. */
async function reads(): Promise<number> {
  return (await stack.status()).operations.read ?? 0;
}

async function view(browser: Browser, origin: string): Promise<View> {
  const answer = await browser.get(origin, "/session");
  expect(answer.status).toBe(200);
  return answer.json<View>();
}

test("20 parallel writers of different attributes over three servers: 20 survive", async () => {
  const browser = await loggedIn("ada");
  const writes = Array.from({ length: 20 }, (_, index) =>
    browser.put(stack.origins[index % 3] as string, `/session/attributes/key${index}?delayMs=50`, index),
  );
  for (const answer of await Promise.all(writes)) expect(answer.status).toBe(204);
  for (const origin of stack.origins) {
    const { attributes } = await view(browser, origin);
    expect(Object.keys(attributes)).toHaveLength(20);
  }
});

test("a counter is exact under 60 parallel updates over three servers", async () => {
  const browser = await loggedIn("grace");
  let counted = 0;
  // Six at a time, as browsers do; the hottest attribute a shop would have.
  for (let round = 0; round < 10; round++) {
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        browser.post(stack.origins[index % 3] as string, "/session/counters/n"),
      ),
    );
    counted += answers.filter(({ status }) => status === 200).length;
    for (const { status } of answers) expect(status).toBe(200);
  }
  expect((await view(browser, node)).attributes.n).toBe(counted);
});

describe.each(["/logout", "/logout-everywhere"])("after %s", (logout) => {
  test("a slow read and a slow write in flight on the other servers do not bring the session back", async () => {
    const browser = await loggedIn("linus");
    const { cookie } = browser;
    const readsBefore = await reads();
    const slowRead = browser.get(fastify, "/session?delayMs=1500", { cookie });
    const slowWrite = browser.put(node, "/session/attributes/late?delayMs=1500", 1, { cookie });
    const slowCounter = browser.post(fastify, "/session/counters/late?delayMs=1500", undefined, { cookie });
    // Three requests, three reads: nobody joins a read that began before it arrived.
    await waitUntil(
      "the slow requests have read the session",
      async () => (await reads()) >= readsBefore + 2,
    );
    expect((await browser.post(express, logout, undefined, { cookie })).status).toBe(204);

    const [read, write, counter] = await Promise.all([slowRead, slowWrite, slowCounter]);
    expect(read.setCookies.filter((line) => line.startsWith("sid="))).toEqual([]);
    // Not stored, so not a success.
    expect(write.status).toBe(409);
    expect(write.json()).toMatchObject({ code: "SESSION_ENDED" });
    expect(counter.status).toBe(409);
    for (const origin of stack.origins) {
      const after = (await browser.get(origin, "/session", { cookie })).json<View>();
      expect(after).toMatchObject({ principal: null, isNew: true, attributes: {} });
    }
  });
});

test("logout-everywhere ends the sessions of all browsers of the user, and only of that user", async () => {
  const [phone, laptop, other] = await Promise.all([loggedIn("tim"), loggedIn("tim"), loggedIn("tom")]);
  expect((await phone.post(fastify, "/logout-everywhere")).status).toBe(204);
  for (const origin of stack.origins) {
    expect((await view(laptop, origin)).principal).toBeNull();
    expect((await view(other, origin)).principal).toBe("tom");
  }
  expect((await laptop.post(node, "/login", { user: "tim" })).status).toBe(303);
  expect((await view(laptop, express)).principal).toBe("tim");
});

test("no response byte leaves before the commit, with the store 300 ms away", async () => {
  stack.proxy.inject({ kind: "delay", delayMs: 150 });
  await Promise.all(stack.origins.map((origin) => stack.until(origin, "it answers over the long way")));
  for (const origin of stack.origins) {
    const browser = new Browser();
    const answer = await browser.post(origin, "/login", { user: "barbara" });
    expect(answer.status).toBe(303);
    expect(answer.firstByteMs).toBeGreaterThanOrEqual(295);
  }
});

test("what a redirect promises is there for the very next request on another server", async () => {
  stack.proxy.inject({ kind: "delay", delayMs: 10 });
  for (let round = 0; round < 30; round++) {
    const browser = new Browser();
    const from = stack.origins[round % 3] as string;
    const to = stack.origins[(round + 1) % 3] as string;
    expect((await browser.post(from, "/login", { user: `user${round}` })).status).toBe(303);
    expect((await view(browser, to)).principal).toBe(`user${round}`);
  }
});

test("parallel requests across a renewal succeed; the old id cannot write and never shows the login", async () => {
  const browser = new Browser();
  await browser.put(express, "/session/attributes/cart", ["tea"]);
  const { cookie: old } = browser;
  const during = stack.origins.map((origin) => browser.get(origin, "/session?delayMs=200", { cookie: old }));
  expect((await browser.post(fastify, "/login", { user: "ada" })).status).toBe(303);
  expect(browser.cookie).not.toBe(old);
  for (const answer of await Promise.all(during)) {
    expect(answer.status).toBe(200);
    expect(answer.setCookies).toEqual([]);
  }
  for (const origin of stack.origins) {
    const planted = await browser.get(origin, "/session", { cookie: old });
    expect(planted.status).toBe(200);
    expect(planted.json<View>()).toMatchObject({ principal: null, attributes: { cart: ["tea"] } });
    expect((await browser.put(origin, "/session/attributes/x", 1, { cookie: old })).status).toBe(409);
    expect(await view(browser, origin)).toMatchObject({ principal: "ada", attributes: { cart: ["tea"] } });
  }
});

test("a late answer under an ended session does not harm a new login", async () => {
  const browser = await loggedIn("first");
  const { cookie: old } = browser;
  const late = browser.get(node, "/session?delayMs=500", { cookie: old });
  expect((await browser.post(express, "/logout")).status).toBe(204);
  expect((await browser.post(express, "/login", { user: "second" })).status).toBe(303);
  expect((await late).setCookies).toEqual([]);
  expect((await view(browser, fastify)).principal).toBe("second");
});

test("an anonymous GET sets no cookie and costs the store nothing", async () => {
  const [readsBefore, { sessions }] = [await reads(), await stack.status()];
  for (const origin of stack.origins) {
    const answer = await new Browser().get(origin, "/session");
    expect(answer.setCookies).toEqual([]);
    expect(answer.json<View>()).toMatchObject({
      isNew: true,
      version: null,
      principal: null,
      attributes: {},
    });
  }
  expect(await reads()).toBe(readsBefore);
  expect((await stack.status()).sessions).toBe(sessions);
  // What would be counted if it were not so.
  await view(await loggedIn("ada"), express);
  expect(await reads()).toBeGreaterThan(readsBefore);
});

describe.each([0, 1, 2])("bad input at shop %i", (index) => {
  const origin = () => stack.origins[index] as string;

  test("a session that would grow too large: 413, and the old state is kept", async () => {
    const browser = new Browser();
    await browser.put(origin(), "/session/attributes/kept", 1);
    const answer = await browser.put(origin(), "/session/attributes/big", "x".repeat(70_000));
    expect(answer.status).toBe(413);
    expect(answer.json()).toMatchObject({ code: "SESSION_TOO_LARGE" });
    expect((await view(browser, origin())).attributes).toEqual({ kept: 1 });
  });

  test("too many attributes: 413, and the old state is kept", async () => {
    const browser = new Browser();
    for (let round = 0; round < 8; round++) {
      await browser.put(origin(), `/session/attributes/first${round}`, round);
      const more = Array.from({ length: 15 }, (_, n) =>
        browser.put(origin(), `/session/attributes/k${round}-${n}`, n),
      );
      await Promise.all(more);
    }
    const answer = await browser.put(origin(), "/session/attributes/one-more", 1);
    expect(answer.status).toBe(413);
    expect(answer.json()).toMatchObject({ code: "TOO_MANY_ATTRIBUTES" });
    expect(Object.keys((await view(browser, origin())).attributes)).toHaveLength(128);
  });

  test("forged, foreign and 8 KB cookies are nobody's: anonymous, no error, never adopted", async () => {
    const real = await loggedIn("ada");
    const [, value = ""] = real.cookie.split("sid=");
    const forged = [
      `sid=${value.slice(0, -4)}AAAA`,
      `sid=${"A".repeat(43)}.${value.split(".")[1]}`,
      `sid=${"x".repeat(8_000)}`,
      `sid=${value}; sid=${value.slice(0, 20)}`,
      "sid=",
      "sid=__proto__",
    ];
    for (const cookie of forged) {
      const answer = await new Browser().get(origin(), "/session", { cookie });
      expect(answer.status, cookie.slice(0, 30)).toBe(200);
      expect(answer.json<View>()).toMatchObject({ principal: null, isNew: true });
      const written = await new Browser().put(origin(), "/session/attributes/x", 1, { cookie });
      expect(written.status).toBe(204);
      expect(written.setCookies.filter((line) => line.startsWith("sid=")).join()).not.toContain(
        cookie.slice(4, 30) || "=;",
      );
    }
    expect((await view(real, origin())).principal).toBe("ada");
  });

  test("a body that is not JSON, a missing page, a wrong method: { code, message } and nothing changes", async () => {
    const browser = await loggedIn("ada");
    const put = await fetch(`${origin()}/session/attributes/x`, {
      method: "PUT",
      headers: { "content-type": "application/json", cookie: browser.cookie },
      body: "{nope",
    });
    expect(put.status).toBe(400);
    expect(Object.keys((await put.json()) as object).sort()).toEqual(["code", "message"]);
    for (const [method, path, status] of [
      ["GET", "/nowhere", 404],
      ["POST", "/session", 405],
    ] as const) {
      const answer = await browser.send(origin(), path, { method });
      expect(answer.status).toBe(status);
      expect(Object.keys(answer.json()).sort()).toEqual(["code", "message"]);
    }
    expect(await view(browser, origin())).toMatchObject({ principal: "ada", attributes: {} });
  });
});
