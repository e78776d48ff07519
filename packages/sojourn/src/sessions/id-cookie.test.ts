import { expect, test } from "vitest";
import { signId } from "../core/cookie.ts";
import { newSessionId } from "../core/ids.ts";
import { deriveKeys } from "../core/keys.ts";
import { GatedStore, house, Jar, request, SECRET } from "./harness.test.support.ts";
import { WAKE_MS } from "./waits.ts";

const MINUTE_MS = 60_000;

test("malformed, forged, foreign and oversized cookies are anonymous, cost no store call and are left alone", async () => {
  const { store, another, clock } = house();
  const gated = new GatedStore(store);
  const sessions = another({ store: gated });
  const id = newSessionId(clock);
  const signed = signId(id, deriveKeys(SECRET).cookie[0]!);
  const flipped = `${signed.slice(0, 50)}${signed[50] === "A" ? "B" : "A"}${signed.slice(51)}`;
  const foreign = signId(id, deriveKeys("another domain's secret").cookie[0]!);
  const bad = ["", "x", id, flipped, foreign, `${signed}x`, "__proto__", "y".repeat(8192), ":", ":::b1"];
  for (const value of bad) {
    const answer = await request(sessions, { cookie: `a=b; sid=${value}` }, (session) => {
      expect(session.isNew, value).toBe(true);
    });
    expect(answer.outcome, value).toBeUndefined();
  }
  expect(gated.total).toBe(0);
  expect(sessions.stats().rejectedCookies).toBe(bad.length);
});

test("a well signed id that the store does not know is anonymous, left alone and never adopted", async () => {
  const { sessions, store, clock } = house();
  const planted = newSessionId(clock);
  const cookie = `sid=${signId(planted, deriveKeys(SECRET).cookie[0]!)}`;
  const looked = await request(sessions, { cookie }, (session) => expect(session.id).toBeNull());
  expect(looked.outcome).toBeUndefined();
  const victim = new Jar();
  victim.cookie = cookie;
  await victim.request(sessions, async (session) => {
    session.set("user", "ada");
    await session.start();
    expect(session.id).not.toBe(planted);
  });
  expect(victim.cookie).not.toBe(cookie);
  expect(await store.count()).toBe(1);
  const attacker = await request(sessions, { cookie }, (session) =>
    expect(session.get("user")).toBeUndefined(),
  );
  expect(attacker.outcome).toBeUndefined();
  expect(sessions.stats().unknownIds).toBe(3);
});

test("several id cookies are all refused, even equal ones, and an operator hears of it once", async () => {
  const { sessions, diagnostics } = house();
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("user", "ada"));
  for (const cookie of [`${browser.cookie}; sid=other`, `${browser.cookie}; ${browser.cookie}`]) {
    const answer = await request(sessions, { cookie }, (session) => expect(session.isNew).toBe(true));
    expect(answer.outcome).toBeUndefined();
  }
  expect(sessions.stats().duplicateCookies).toBe(2);
  expect(diagnostics.filter(({ code }) => code === "DUPLICATE_COOKIES")).toHaveLength(1);
});

test("secrets rotate: the newest signs, all are accepted, one that left is not", async () => {
  const { sessions, another } = house();
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("n", 1));
  const rotating = another({ secret: ["the newer secret of the domain", SECRET] });
  const kept = await browser.request(rotating, (session) => expect(session.get("n")).toBe(1));
  expect(kept.outcome).toBeUndefined();
  const newcomer = new Jar();
  await newcomer.request(rotating, (session) => session.set("n", 2));
  const rotated = another({ secret: "the newer secret of the domain" });
  await newcomer.request(rotated, (session) => expect(session.get("n")).toBe(2));
  await browser.request(rotated, (session) => expect(session.isNew).toBe(true));
});

test("a persistent cookie lasts maxAgeMs, and never longer than the session can", async () => {
  const { another } = house();
  const maxAgeOf = async (maxAgeMs: number) => {
    const answer = await request(another({ cookie: { maxAgeMs } }), {}, (session) => session.set("n", 1));
    return /Max-Age=(\d+)/.exec(answer.setCookies[0] ?? "")?.[1];
  };
  expect(await maxAgeOf(3_600_000)).toBe("3600");
  expect(await maxAgeOf(86_400_000)).toBe(String(12 * 3600));
});

test("a secure cookie is sent over TLS only, with the __Host- prefix; otherwise the reason is told once", async () => {
  const { another, diagnostics, clock } = house();
  const sessions = another({ cookie: { secure: true } });
  const secure = await request(sessions, { secure: true }, (session) => session.set("n", 1));
  expect(secure.setCookies[0]).toMatch(/^__Host-sid=[^;]+; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
  for (let n = 0; n < 3; n++) {
    const plain = await request(sessions, { secure: false }, (session) => session.set("n", 1));
    expect(plain.outcome).toEqual({ ok: true, setCookies: [] });
  }
  expect(diagnostics).toEqual([
    { code: "COOKIE_NOT_SENT", message: expect.stringContaining("trust proxy"), suppressed: 0 },
  ]);
  clock.advance(MINUTE_MS);
  await request(sessions, { secure: false }, (session) => session.set("n", 1));
  expect(diagnostics.at(-1)).toMatchObject({ code: "COOKIE_NOT_SENT", suppressed: 2 });
  expect(sessions.stats().cookiesNotSent).toBe(4);
});

test("with a clone id the cookie names the server, and another server that answers rewrites it once", async () => {
  const { store, another } = house();
  const gated = new GatedStore(store);
  const [b1, b2] = [another({ cloneId: "b1" }), another({ cloneId: "b2", store: gated })];
  const browser = new Jar();
  await browser.request(b1, (session) => session.set("n", 1));
  const { value } = browser;
  expect(value).toMatch(/:b1$/);
  const same = await browser.request(b1, (session) => void session.get("n"));
  expect(same.outcome).toBeUndefined();
  const other = await browser.request(b2, (session) => expect(session.get("n")).toBe(1));
  expect(other.setCookies).toHaveLength(1);
  expect(browser.value).toBe(value!.replace(/b1$/, "b2"));
  expect(gated.calls).toMatchObject({ read: 1, touch: 1 });
  const again = await browser.request(b2, (session) => void session.get("n"));
  expect(again.outcome).toBeUndefined();
  // A commit has shown already that the session lives.
  browser.cookie = `sid=${value}`;
  const touches = gated.calls.touch;
  const written = await browser.request(b2, (session) => session.set("n", 2));
  expect(written.setCookies).toHaveLength(1);
  expect(gated.calls.touch).toBe(touches);
  // A chain of clone ids: the last one counts.
  browser.cookie = `sid=${value}:b2`;
  const chained = await browser.request(b2, (session) => void session.get("n"));
  expect(chained.outcome).toBeUndefined();
});

test("the clone id is not rewritten for a session that ended or was renewed meanwhile, nor when the store fails", async () => {
  const { store, another, clock } = house();
  const gated = new GatedStore(store);
  const [b1, b2] = [another({ cloneId: "b1" }), another({ cloneId: "b2", store: gated })];
  const visitor = async () => {
    const browser = new Jar();
    await browser.request(b1, (session) => session.set("n", 1));
    return browser;
  };
  const late = async (browser: Jar, meanwhile: () => Promise<unknown>) =>
    request(b2, { cookie: browser.cookie }, async (session) => {
      expect(session.get("n")).toBe(1);
      await meanwhile();
    });
  const [ended, renewed, unlucky] = [await visitor(), await visitor(), await visitor()];
  const answers = [
    await late(ended, () => request(b1, { cookie: ended.cookie }, (session) => session.destroy())),
    await late(renewed, () => request(b1, { cookie: renewed.cookie }, (session) => session.renew())),
    // Loaded after the renewal: the frozen snapshot.
    await late(renewed, async () => {}),
  ];
  gated.before = (verb) => (verb === "touch" ? Promise.reject(new Error("wire cut")) : undefined);
  answers.push(await late(unlucky, async () => {}));
  for (const { outcome, setCookies } of answers) {
    expect(setCookies).toEqual([]);
    expect(outcome?.ok ?? true).toBe(true);
  }
  // The timer of waits that are over.
  clock.advance(WAKE_MS);
  expect(clock.pendingTimers).toBe(1);
});
