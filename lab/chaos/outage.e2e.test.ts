/**
 * The session server killed, frozen, slow, full, restarted, answering garbage: what visitors of three shops notice.
 * Always the same: anonymous traffic nothing, everyone else a 503 with Retry-After within the bound, nobody a login that
 * was not stored; no shop process dies, and everything works again without a restart.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Browser } from "./browser.ts";
import { waitUntil } from "./processes.ts";
import { Stack } from "./stack.ts";

/** The promise is 700 ms; the rest is for a busy machine between our clock and the shop's. */
const ANSWER_MS_MAX = 700 + 300;

let stack: Stack;

beforeAll(async () => {
  stack = await Stack.start();
});
afterAll(() => stack.stop());

interface Outage {
  readonly name: string;
  begin(): Promise<void> | void;
  end(): Promise<void> | void;
  /** The server forgets everything. */
  readonly forgets?: boolean;
}

const OUTAGES: readonly Outage[] = [
  { name: "killed", begin: () => stack.killServer(), end: () => stack.restartServer(), forgets: true },
  { name: "frozen (SIGSTOP)", begin: () => stack.freezeServer(), end: () => stack.thawServer() },
  {
    name: "behind a link that swallows everything",
    begin: () => stack.proxy.inject({ kind: "freeze" }),
    end: () => stack.proxy.inject({ kind: "none" }),
  },
  {
    name: "refusing connections",
    begin: () => stack.proxy.inject({ kind: "refuse" }),
    end: () => stack.proxy.inject({ kind: "none" }),
  },
  {
    name: "answering garbage",
    begin: () => stack.proxy.inject({ kind: "garbage" }),
    end: () => stack.proxy.inject({ kind: "none" }),
  },
  {
    name: "slower than the request's budget",
    begin: () => stack.proxy.inject({ kind: "delay", delayMs: 700 }),
    end: () => stack.proxy.inject({ kind: "none" }),
  },
];

describe.each(OUTAGES)("the session server $name", (outage) => {
  const browser = new Browser();

  beforeAll(async () => {
    for (const origin of stack.origins) await stack.until(origin, "it works before the outage");
    expect((await browser.post(stack.origins[0], "/login", { user: "ada" })).status).toBe(303);
    expect((await browser.put(stack.origins[1], "/session/attributes/cart", ["tea"])).status).toBe(204);
    await outage.begin();
  });

  test("anonymous traffic is untouched", async () => {
    for (const origin of stack.origins) {
      for (const path of ["/session", "/health"]) {
        const answer = await new Browser().get(origin, path);
        expect(answer.status).toBe(200);
        expect(answer.totalMs).toBeLessThan(500);
      }
    }
  });

  test("requests with a session: 503 with Retry-After, within the bound, cookie kept", async () => {
    const before = browser.cookie;
    for (const origin of stack.origins) {
      const answers = await Promise.all([
        browser.get(origin, "/session"),
        browser.put(origin, "/session/attributes/x", 1),
        browser.post(origin, "/session/counters/n"),
        browser.post(origin, "/logout-everywhere"),
      ]);
      for (const answer of answers) {
        expect(answer.status).toBe(503);
        expect(answer.headers["retry-after"]).toMatch(/^\d+$/);
        expect(answer.json(), answer.text).toMatchObject({ code: "STORE_UNAVAILABLE" });
        expect(answer.setCookies).toEqual([]);
        expect(answer.totalMs).toBeLessThan(ANSWER_MS_MAX);
      }
    }
    expect(browser.cookie).toBe(before);
  });

  test("a login is never answered as if it were stored", async () => {
    for (const origin of stack.origins) {
      const visitor = new Browser();
      const answer = await visitor.post(origin, "/login", { user: "eve" });
      expect(answer.status).toBe(503);
      expect(answer.setCookies).toEqual([]);
      expect(answer.totalMs).toBeLessThan(ANSWER_MS_MAX);
    }
  });

  test("a burst of 60 requests is answered as fast as one", async () => {
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, index) => browser.get(stack.origins[index % 3] as string, "/session")),
    );
    for (const { status, totalMs } of answers) {
      expect(status).toBe(503);
      expect(totalMs).toBeLessThan(ANSWER_MS_MAX + 500);
    }
  });

  test("afterwards everything works again: no restart, no shop died, no stampede", async () => {
    const acceptedBefore = stack.proxy.accepted;
    await outage.end();
    await Promise.all(
      stack.origins.map((origin) => stack.until(origin, "it works after the outage", 15_000)),
    );
    expect(stack.shopsAlive).toBe(true);
    // Each shop looks for the server with one connection at a time.
    expect(stack.proxy.accepted - acceptedBefore).toBeLessThanOrEqual(15);
    for (const origin of stack.origins) {
      const answer = await browser.get(origin, "/session");
      expect(answer.status).toBe(200);
      const { principal, attributes } = answer.json<{ principal: string | null; attributes: object }>();
      if (outage.forgets) {
        // The visitor is anonymous, never an error.
        expect(principal).toBeNull();
      } else {
        expect(principal).toBe("ada");
        expect(attributes).toMatchObject({ cart: ["tea"] });
      }
    }
    expect((await browser.post(stack.origins[2], "/login", { user: "ada" })).status).toBe(303);
  });
});

describe("the session server full", () => {
  const browser = new Browser();

  beforeAll(async () => {
    await stack.restartServer({ maxMemory: "1m" });
    for (const origin of stack.origins) await stack.until(origin, "it works before it is full");
    expect((await browser.post(stack.origins[0], "/login", { user: "ada" })).status).toBe(303);
    await browser.put(stack.origins[0], "/session/attributes/big", "x".repeat(20_000));
    await waitUntil(
      "the server is full",
      async () => {
        const answers = await Promise.all(
          Array.from({ length: 10 }, (_, index) =>
            new Browser().put(
              stack.origins[index % 3] as string,
              "/session/attributes/fill",
              "x".repeat(30_000),
            ),
          ),
        );
        return answers.every(({ status }) => status === 503);
      },
      30_000,
    );
  });

  test("new sessions and growing ones answer 503 STORE_FULL", async () => {
    for (const origin of stack.origins) {
      const created = await new Browser().put(origin, "/session/attributes/x", "y".repeat(30_000));
      expect(created.status).toBe(503);
      expect(created.json()).toMatchObject({ code: "STORE_FULL" });
      const grown = await browser.put(origin, "/session/attributes/more", "y".repeat(30_000));
      expect(grown.status).toBe(503);
      expect(grown.headers["retry-after"]).toMatch(/^\d+$/);
    }
  });

  test("reading, shrinking and ending go on", async () => {
    for (const origin of stack.origins) {
      const answer = await browser.get(origin, "/session");
      expect(answer.json()).toMatchObject({ principal: "ada" });
    }
    expect((await browser.put(stack.origins[1], "/session/attributes/big", "small")).status).toBe(204);
    expect(
      (await browser.send(stack.origins[2], "/session/attributes/big", { method: "DELETE" })).status,
    ).toBe(204);
    expect((await browser.post(stack.origins[0], "/logout")).status).toBe(204);
    expect((await browser.get(stack.origins[1], "/session")).json()).toMatchObject({ principal: null });
  });
});

describe("one load in flight per session", () => {
  beforeAll(async () => {
    await stack.restartServer({});
    for (const origin of stack.origins) await stack.until(origin, "it works");
  });
  beforeEach(() => stack.proxy.inject({ kind: "none" }));

  test("100 parallel reads of a session by one shop reach the store as a few", async () => {
    const browser = new Browser();
    const [origin] = stack.origins;
    expect((await browser.post(origin, "/login", { user: "ada" })).status).toBe(303);
    stack.proxy.inject({ kind: "delay", delayMs: 100 });
    const before = (await stack.status()).operations.read ?? 0;
    const answers = await Promise.all(Array.from({ length: 100 }, () => browser.get(origin, "/session")));
    for (const { status } of answers) expect(status).toBe(200);
    const reads = ((await stack.status()).operations.read ?? 0) - before;
    expect(reads).toBeGreaterThanOrEqual(1);
    expect(reads).toBeLessThanOrEqual(5);
  });
});
