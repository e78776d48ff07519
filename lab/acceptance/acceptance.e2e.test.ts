/**
 * What a session tier must do, wherever its sessions live: the same application on three servers and three frameworks,
 * with its sessions in memory, in a session server and in Redis. The compatibility tests with express-session stand with
 * the drop-in.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Answer, Browser } from "../chaos/browser.ts";
import { waitUntil } from "../chaos/processes.ts";
import { PLACES, type Place } from "./places.ts";
import { Site, type View } from "./site.ts";

/** The promise is 700 ms; the rest is for a busy machine. */
const ANSWER_MS_MAX = 700 + 300;

describe.each(PLACES)("sessions in $name", (kind) => {
  describe.skipIf(!kind.isHere)("hold what was promised", () => {
    let place: Place;
    let site: Site;
    let express: string;
    let fastify: string;
    let node: string;

    beforeAll(async () => {
      place = await kind.start();
      site = await Site.open(place);
      [express, fastify, node] = site.origins;
      for (const origin of site.origins) await works(origin);
    });
    afterEach(() => place.heal());
    afterAll(async () => {
      await site.close();
      await place.stop();
    });

    async function works(origin: string): Promise<void> {
      const ready = async () => (await new Browser().post(origin, "/set?name=ready")).status === 204;
      await waitUntil(`${origin} stores sessions`, ready, 15_000);
    }

    async function loggedIn(user: string, origin = express): Promise<Browser> {
      const browser = new Browser();
      expect((await browser.post(origin, `/login?user=${user}`)).status).toBe(303);
      return browser;
    }

    async function view(browser: Browser, origin: string): Promise<View> {
      const answer = await browser.get(origin, "/view");
      expect(answer.status).toBe(200);
      return answer.json<View>();
    }

    /** A request whose handler has loaded the session and is at work. */
    async function inFlight(send: () => Promise<Answer>): Promise<{ answer: Promise<Answer> }> {
      const before = await place.requests();
      const answer = send();
      await waitUntil("the slow request has read the session", async () => (await place.requests()) > before);
      return { answer };
    }

    test("1. twenty parallel writers of different attributes: twenty survive, on one server and on three", async () => {
      for (const origins of [[express], [...site.origins]]) {
        const browser = await loggedIn("ada");
        const writes = Array.from({ length: 20 }, (_, index) =>
          browser.post(origins[index % origins.length] as string, `/set?name=k${index}&delayMs=50`),
        );
        for (const { status } of await Promise.all(writes)) expect(status).toBe(204);
        // And the name of the user.
        expect(Object.keys((await view(browser, node)).attributes)).toHaveLength(21);
      }
    });

    test("1. a counter is exact under parallel updates on three servers", async () => {
      const browser = await loggedIn("grace");
      for (let round = 1; round <= 5; round++) {
        const counts = Array.from({ length: 6 }, (_, index) =>
          browser.post(site.origins[index % 3] as string, "/count"),
        );
        for (const { status } of await Promise.all(counts)) expect(status).toBe(200);
        expect((await view(browser, express)).attributes.n).toBe(round * 6);
      }
    });

    test.each(["logout", "an administrator"])(
      "2. ended by %s, a session stays ended for slow reads and writes in flight on every server",
      async (by) => {
        const browser = await loggedIn("linus");
        const { cookie } = browser;
        const slow = [];
        for (const origin of site.origins) {
          slow.push(await inFlight(() => browser.get(origin, "/view?delayMs=1200", { cookie })));
          slow.push(await inFlight(() => browser.post(origin, "/set?delayMs=1200", undefined, { cookie })));
        }
        if (by === "logout")
          expect((await browser.post(fastify, "/logout", undefined, { cookie })).status).toBe(204);
        else expect(await site.sessions.endAll("linus")).toBe(1);
        for (const { answer } of slow) {
          const { status, setCookies } = await answer;
          expect([200, 409]).toContain(status);
          expect(setCookies.filter((line) => /^sid=[^;]/.test(line))).toEqual([]);
        }
        for (const origin of site.origins) {
          const after = (await browser.get(origin, "/view", { cookie })).json<View>();
          expect(after).toEqual({ principal: null, isNew: true, attributes: {} });
          expect((await browser.post(origin, "/count", undefined, { cookie })).status).toBe(200);
        }
        expect(await site.sessions.count({ principal: "linus" })).toBe(0);
      },
    );

    test("3. with the store 300 ms away no byte of the response precedes the commit", async () => {
      // A login takes several steps on some stores, more than a request's usual 500 ms at this distance.
      const patient = await Site.open(place, { storeBudgetMs: 5_000 });
      try {
        for (const origin of patient.origins) {
          await works(origin);
          place.delay(300);
          const requests = ["/login?user=eve", "/set-and-show", "/set"].map((path) =>
            new Browser().post(origin, path),
          );
          const head = new Browser().send(origin, "/set-and-show", { method: "HEAD" });
          for (const answer of await Promise.all([...requests, head])) {
            expect(answer.status).toBeLessThan(400);
            expect(answer.setCookies).toHaveLength(1);
            expect(answer.firstByteMs).toBeGreaterThanOrEqual(295);
          }
          place.heal();
        }
      } finally {
        await patient.close();
      }
    });

    test("3. what a redirect promises is there for the very next request on another server", async () => {
      place.delay(10);
      for (let round = 0; round < 12; round++) {
        const browser = await loggedIn(`user${round}`, site.origins[round % 3]);
        expect((await view(browser, site.origins[(round + 1) % 3] as string)).principal).toBe(`user${round}`);
      }
    });

    describe.each(["killed", "frozen"] as const)("4. %s", (how) => {
      test("anonymous traffic is untouched, sessions answer 503 in time, no login is a lie, and it all comes back", async () => {
        const browser = await loggedIn("tim");
        if (how === "killed") await place.kill();
        else place.freeze();

        for (const origin of site.origins) {
          for (const path of ["/plain", "/view"]) {
            const answer = await new Browser().get(origin, path);
            expect(answer.status).toBe(200);
            expect(answer.totalMs).toBeLessThan(500);
          }
          const before = browser.cookie;
          const refused = await Promise.all([
            browser.get(origin, "/view"),
            browser.post(origin, "/set"),
            browser.post(origin, "/logout"),
            new Browser().post(origin, "/login?user=eve"),
            ...Array.from({ length: 20 }, () => browser.get(origin, "/view")),
          ]);
          for (const answer of refused) {
            expect(answer.status, answer.text).toBe(503);
            expect(answer.headers["retry-after"]).toMatch(/^\d+$/);
            expect(answer.setCookies).toEqual([]);
            expect(answer.totalMs).toBeLessThan(ANSWER_MS_MAX);
          }
          expect(browser.cookie).toBe(before);
        }

        if (how === "killed") await place.restart();
        place.heal();
        for (const origin of site.origins) await works(origin);
        if (how === "frozen") expect((await view(browser, node)).principal).toBe("tim");
      });
    });

    test("5. a read costs the store one request, a write of a read session two, an anonymous visitor none", async () => {
      // A place of its own: after the outages above, logins that failed are still looked after in the background.
      const quiet = await kind.start();
      const counted = await Site.open(quiet);
      try {
        const [first, , third] = counted.origins;
        const browser = new Browser();
        const login = async () => (await browser.post(first, "/login?user=barbara")).status === 303;
        await waitUntil("the store takes a login", login);
        for (const origin of counted.origins) await works(origin);
        // The first time its cookie comes back, the session's deadline moves from minutes to the idle timeout.
        const fresh = await quiet.requests();
        await view(browser, third);
        await waitUntil("the session was touched", async () => (await quiet.requests()) === fresh + 2);
        const cost = async (act: () => Promise<Answer>) => {
          const before = await quiet.requests();
          expect((await act()).status).toBeLessThan(400);
          return (await quiet.requests()) - before;
        };
        for (const origin of counted.origins) {
          expect(await cost(() => new Browser().get(origin, "/view"))).toBe(0);
          expect(await cost(() => new Browser().get(origin, "/plain"))).toBe(0);
          expect(await cost(() => browser.get(origin, "/plain"))).toBe(0);
          expect(await cost(() => browser.get(origin, "/view"))).toBe(1);
          expect(await cost(() => browser.post(origin, `/set?name=${new URL(origin).port}`))).toBe(2);
        }
      } finally {
        await counted.close();
        await quiet.stop();
      }
    });

    test("8. ending all of a user while it logs in and renews leaves no session alive", async () => {
      for (let round = 0; round < 6; round++) {
        const user = `racer${round}`;
        const known = await loggedIn(user);
        const late = new Browser();
        await late.post(express, "/set?name=cart");
        const slow = await inFlight(() => late.post(node, `/login?user=${user}&delayMs=300`));
        const racing = site.origins.map((origin) => new Browser().post(origin, `/login?user=${user}`));
        await Promise.all([...racing, known.post(fastify, `/login?user=${user}`)]);
        await site.sessions.endAll(user);
        // It began before the end, so it is ended with the rest, however late it commits.
        expect((await slow.answer).status).toBe(409);
        const listed = await site.sessions.list({ principal: user });
        expect(listed.sessions).toEqual([]);
        expect((await view(known, express)).principal).toBeNull();
      }
    });

    test("9. requests in parallel to a renewal succeed within the grace; the old id cannot write and sees no login", async () => {
      const browser = new Browser();
      await browser.post(express, "/set?name=cart");
      const { cookie: old } = browser;
      const during = site.origins.map((origin) => browser.get(origin, "/view?delayMs=200", { cookie: old }));
      expect((await browser.post(fastify, "/login?user=ada")).status).toBe(303);
      expect(browser.cookie).not.toBe(old);
      for (const { status, setCookies } of await Promise.all(during)) {
        expect(status).toBe(200);
        expect(setCookies).toEqual([]);
      }
      for (const origin of site.origins) {
        const planted = (await browser.get(origin, "/view", { cookie: old })).json<View>();
        expect(planted).toMatchObject({ principal: null, attributes: { cart: 1 } });
        expect((await browser.post(origin, "/set", undefined, { cookie: old })).status).toBe(409);
        expect(await view(browser, origin)).toMatchObject({ principal: "ada", attributes: { cart: 1 } });
      }
    });

    test("10. polling passively does not keep a session alive, using it does, and the absolute limit wins", async () => {
      const brief = await Site.open(place, { idleTimeoutMs: 1_200, absoluteTimeoutMs: 4_000 });
      try {
        const [first, second, third] = brief.origins;
        const [polled, used] = [new Browser(), new Browser()];
        for (const browser of [polled, used]) {
          expect((await browser.post(first, "/set?name=cart")).status).toBe(204);
        }
        // Its cookie outlives every idle timeout: the server decides, so it never has to be sent again.
        const beganMs = performance.now();
        const isThere = async (browser: Browser, path: string) =>
          !(await browser.get(second, path)).json<View>().isNew;
        await waitUntil(
          "the polled session ends for want of use",
          async () => {
            expect(await isThere(used, "/view")).toBe(true);
            return !(await isThere(polled, "/poll"));
          },
          3_000,
        );
        expect(performance.now() - beganMs).toBeGreaterThan(1_000);
        await waitUntil(
          "the used session reaches its absolute timeout",
          async () => !(await isThere(used, "/view")),
          6_000,
        );
        const livedMs = performance.now() - beganMs;
        expect(livedMs).toBeGreaterThan(3_500);
        expect((await used.get(third, "/view")).json<View>().isNew).toBe(true);
      } finally {
        await brief.close();
      }
    });
  });
});
