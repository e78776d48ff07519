/** Policies that several servers must keep together, over session servers instead of one process's memory. */
import { expect, test } from "vitest";
import { createSessions } from "../../sessions/create-sessions.ts";
import { Jar, SECRET } from "../../sessions/harness.test.support.ts";
import type { SessionsOptions } from "../../sessions/options.ts";
import { given } from "./given.test.support.ts";

type Data = Record<string, unknown>;

/** Three application servers, each with a connection of its own to one session server. */
async function domain(options: SessionsOptions) {
  const all = given();
  await all.serve();
  const servers = Array.from({ length: 3 }, () =>
    createSessions<Data>({
      store: all.client(),
      clock: all.clock,
      secret: SECRET,
      onDiagnostic: () => {},
      ...options,
    }),
  );
  /** What it becomes, while time goes on. */
  async function during<T>(promise: Promise<T>): Promise<T> {
    let over = false;
    const settled = promise.finally(() => {
      over = true;
    });
    settled.catch(() => {});
    while (!over) await all.clock.advanceAsync(1);
    return settled;
  }
  return { ...all, servers, during };
}

test.each([
  ["end-oldest", 2],
  ["refuse", 2],
] as const)("%s: twelve logins at once on three servers leave exactly %i", async (onLimit, max) => {
  const { servers, during } = await domain({ sessionsPerPrincipalMax: max, onLimit });
  for (let round = 0; round < 3; round++) {
    const principal = `ada ${round}`;
    const browsers = Array.from({ length: 12 }, () => new Jar());
    const logins = browsers.map((browser, index) =>
      browser.request(servers[index % 3]!, (session) => session.renew({ principal })),
    );
    const results = await during(Promise.allSettled(logins));
    const refused = results.filter((result) => result.status === "rejected");
    for (const { reason } of refused) expect(reason).toMatchObject({ code: "SESSION_LIMIT" });
    expect(await during(servers[0]!.count({ principal }))).toBe(max);
    let alive = 0;
    for (const browser of browsers) {
      await during(
        browser.request(servers[1]!, (session) => {
          if (session.principal === principal) alive++;
        }),
      );
    }
    expect(alive).toBe(max);
  }
});

test("exclusive: twenty-four requests of one session on three servers that read and write lose nothing", async () => {
  const { servers, during } = await domain({});
  const browser = new Jar();
  await during(browser.request(servers[0]!, (session) => session.set("n", 0)));
  const asked = Array.from({ length: 24 }, (_, index) =>
    browser.request(servers[index % 3]!, async (_session, scope) => {
      const session = await scope.session({ exclusive: { waitMs: 10_000 } });
      session.set("n", (session.get("n") as number) + 1);
    }),
  );
  for (const { outcome } of await during(Promise.all(asked))) expect(outcome).toMatchObject({ ok: true });
  await during(browser.request(servers[2]!, (session) => expect(session.get("n")).toBe(24)));
});
