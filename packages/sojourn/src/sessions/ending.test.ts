/** Renewing and ending: what an old id may still do, and that nothing that ended comes back. */
import { expect, test } from "vitest";
import { GatedStore, gate, house, Jar, request } from "./harness.test.support.ts";

async function visited() {
  const all = house();
  const browser = new Jar();
  await browser.request(all.sessions, (session) => session.set("cart", ["book"]));
  await browser.request(all.sessions, (session) => void session.get("cart"));
  return { ...all, browser };
}

test("renew gives the same session a new id, pending changes and principal included, and sends its cookie once", async () => {
  const { sessions, browser, store } = await visited();
  const old = browser.cookie;
  let createdAt = 0;
  const answer = await browser.request(sessions, async (session) => {
    createdAt = session.createdAt.getTime();
    const before = session.id;
    (session.get("cart") as string[]).push("pen");
    session.set("note", "pending");
    await session.renew({ principal: "ada" });
    expect(session.id).not.toBe(before);
    expect(session).toMatchObject({ principal: "ada", isNew: false });
    session.set("after", 1);
  });
  expect(answer.setCookies).toHaveLength(1);
  expect(browser.cookie).not.toBe(old);
  const next = await browser.request(sessions, (session) => {
    expect(session.keys().sort()).toEqual(["after", "cart", "note"]);
    expect(session.get("cart")).toEqual(["book", "pen"]);
    expect(session.principal).toBe("ada");
    expect(session.createdAt.getTime()).toBe(createdAt);
  });
  expect(next.outcome).toBeUndefined();
  expect(await store.count({ principal: "ada" })).toBe(1);
});

test("renewing takes along what others stored meanwhile, and overwrites only what this request changed", async () => {
  const { sessions, browser, another } = await visited();
  const { cookie } = browser;
  await browser.request(sessions, async (session) => {
    expect(session.get("cart")).toEqual(["book"]);
    await request(another(), { cookie }, (other) => {
      other.set("cart", ["lamp"]);
      other.set("theirs", 1);
    });
    session.set("mine", 2);
    await session.renew();
    // A stale copy must not win over the newer value: `update` starts from the stored one.
    expect(await session.update("cart", (cart) => [...(cart as string[]), "pen"])).toEqual(["lamp", "pen"]);
  });
  await browser.request(sessions, (session) => {
    expect(session.get("cart")).toEqual(["lamp", "pen"]);
    expect(session.get("theirs")).toBe(1);
    expect(session.get("mine")).toBe(2);
  });
});

test("for 10 s the old id reads the frozen snapshot, never the login, and cannot write; then it is unknown", async () => {
  const { sessions, browser, another, clock } = await visited();
  const planted = browser.cookie;
  await browser.request(sessions, async (session) => {
    await session.renew({ principal: "ada" });
    session.set("secret", "after login");
  });
  const attacker = another();
  const looked = await request(attacker, { cookie: planted }, (session) => {
    expect(session.principal).toBeNull();
    expect(session.keys()).toEqual(["cart"]);
  });
  expect(looked.outcome).toBeUndefined();
  const wrote = await request(attacker, { cookie: planted }, (session) => session.set("cart", ["planted"]));
  expect(wrote.outcome).toMatchObject({ ok: false, status: 409, code: "SESSION_ENDED", setCookies: [] });
  await request(attacker, { cookie: planted }, async (session) => {
    await expect(session.update("cart", () => [])).rejects.toMatchObject({ code: "SESSION_ENDED" });
    expect(await session.touch()).toBe(false);
  });
  await browser.request(sessions, (session) => expect(session.get("cart")).toEqual(["book"]));
  clock.advance(10_000);
  await request(attacker, { cookie: planted }, (session) => expect(session.isNew).toBe(true));
});

test("parallel requests across a renewal all succeed", async () => {
  const { sessions, browser, another } = await visited();
  const servers = [sessions, another(), another()];
  const { cookie } = browser;
  const login = browser.request(sessions, (session) => session.renew({ principal: "ada" }));
  const reads = Array.from({ length: 30 }, (_, n) =>
    request(servers[n % 3]!, { cookie }, (session) => expect(session.get("cart")).toEqual(["book"])),
  );
  for (const { outcome } of await Promise.all([login, ...reads])) expect(outcome?.ok ?? true).toBe(true);
  await Promise.all(
    servers.map((server) => browser.request(server, (session) => expect(session.principal).toBe("ada"))),
  );
});

test("renewing a snapshot within its grace starts from it and ends the successor nobody came back with", async () => {
  const { sessions, browser, store } = await visited();
  const { cookie } = browser;
  // Its response is lost.
  await request(sessions, { cookie }, (session) => session.renew({ principal: "eve" }));
  await browser.request(sessions, async (session) => {
    await session.renew({ principal: "ada" });
    expect(session.get("cart")).toEqual(["book"]);
  });
  expect(await store.count({ principal: "eve" })).toBe(0);
  expect(await store.count()).toBe(1);
  await browser.request(sessions, (session) => expect(session.principal).toBe("ada"));
});

test("renew without a session creates one, and null logs out but stays", async () => {
  const { sessions, store } = house();
  const browser = new Jar();
  const login = await browser.request(sessions, async (session) => {
    session.set("n", 1);
    await session.renew({ principal: "ada" });
    expect(session.isNew).toBe(true);
  });
  expect(login.setCookies).toHaveLength(1);
  await browser.request(sessions, async (session) => {
    expect(session).toMatchObject({ principal: "ada", isNew: false });
    await session.renew({ principal: null });
    expect(session.principal).toBeNull();
  });
  await browser.request(sessions, (session) => {
    expect(session.principal).toBeNull();
    expect(session.get("n")).toBe(1);
  });
  expect(await store.count({ principal: "ada" })).toBe(0);
});

test("a renewal keeps the absolute deadline", async () => {
  const { sessions, browser, clock, store } = await visited();
  const [before] = (await store.list()).sessions;
  clock.advance(60_000);
  await browser.request(sessions, (session) => session.renew({ principal: "ada" }));
  const [after] = (await store.list()).sessions;
  expect(after).toMatchObject({
    createdAtMs: before!.createdAtMs,
    absoluteExpiresAtMs: before!.absoluteExpiresAtMs,
    // The visitor follows cookies: no need to show it again within 5 minutes.
    expiresAtMs: clock.nowMs() + 31 * 60_000,
  });
});

test("destroy ends the session, drops what was pending and clears the cookie; later sets throw", async () => {
  const { sessions, browser, store } = await visited();
  const { cookie } = browser;
  const answer = await browser.request(sessions, async (session) => {
    session.set("pending", 1);
    await session.destroy();
    await session.destroy();
    expect(session).toMatchObject({ id: null, version: null, principal: null, isNew: true });
    expect(session.keys()).toEqual([]);
    expect(() => session.set("n", 1)).toThrow(expect.objectContaining({ code: "SESSION_ENDED" }));
    for (const change of [session.update("n", () => 1), session.start(), session.renew()]) {
      await expect(change).rejects.toMatchObject({ code: "SESSION_ENDED" });
    }
  });
  expect(answer.outcome).toEqual({
    ok: true,
    setCookies: ["sid=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"],
  });
  expect(await store.count()).toBe(0);
  await request(sessions, { cookie }, (session) => expect(session.isNew).toBe(true));
});

test("only the response that ended the session clears its cookie", async () => {
  const { sessions, browser, another } = await visited();
  const { cookie } = browser;
  const first = sessions.open({ cookie, secure: false });
  const second = another().open({ cookie, secure: false });
  await (await first.session()).destroy();
  await (await second.session()).destroy();
  expect((await first.settle())?.setCookies).toHaveLength(1);
  expect(second.settle()).toBeUndefined();
  // And a dead id that comes back is left alone.
  const dead = await request(sessions, { cookie }, (session) => session.destroy());
  expect(dead.setCookies).toEqual([]);
});

test("a session that began and ended in one request leaves no cookie and no session", async () => {
  const { sessions, store } = house();
  const answer = await request(sessions, {}, async (session) => {
    session.set("n", 1);
    await session.start();
    await session.destroy();
  });
  expect(answer.setCookies).toEqual([]);
  expect(await store.count()).toBe(0);
});

test("logging out with the old id, after the login elsewhere, does not clear the new cookie", async () => {
  const { sessions, browser, another } = await visited();
  const { cookie } = browser;
  await browser.request(sessions, (session) => session.renew({ principal: "ada" }));
  const late = await request(another(), { cookie }, (session) => session.destroy());
  expect(late.setCookies).toEqual([]);
  browser.receive(late);
  await browser.request(sessions, (session) => expect(session.principal).toBe("ada"));
});

test("a late response after a new login sends no cookie and harms nothing", async () => {
  const { sessions, browser, another } = await visited();
  const { cookie } = browser;
  const held = gate();
  const late = request(another({ cloneId: "b2" }), { cookie }, async (session) => {
    session.set("slow", 1);
    await held.promise;
  });
  await browser.request(sessions, (session) => session.renew({ principal: "ada" }));
  held.open();
  const answer = await late;
  expect(answer.outcome).toMatchObject({ ok: false, status: 409, code: "SESSION_ENDED", setCookies: [] });
  browser.receive(answer);
  await browser.request(sessions, (session) => {
    expect(session.principal).toBe("ada");
    expect(session.has("slow")).toBe(false);
  });
});

test.each(["logout", "logout everywhere"] as const)(
  "slow reads and writes in flight on other servers do not revive a session after %s",
  async (how) => {
    const { another, store } = house();
    const gated = new GatedStore(store);
    const [fast, slow] = [another(), another({ store: gated })];
    const browser = new Jar();
    await browser.request(fast, (session) => session.renew({ principal: "ada" }));
    await browser.request(fast, (session) => session.set("cart", []));
    const { cookie } = browser;
    const held = gate();
    // Loaded while alive; answered after the end. And one whose very read answers after the end.
    const inHandler = gate();
    const slowRead = request(slow, { cookie }, async (session) => {
      expect(session.get("cart")).toEqual([]);
      await inHandler.promise;
    });
    const slowWrite = request(slow, { cookie }, async (session) => {
      (session.get("cart") as string[]).push("late");
      await inHandler.promise;
    });
    const slowUpdate = request(slow, { cookie }, async (session) => {
      await inHandler.promise;
      await expect(session.update("n", () => 1)).rejects.toMatchObject({ code: "SESSION_ENDED" });
    });
    const slowTouch = request(slow, { cookie }, async (session) => {
      await inHandler.promise;
      expect(await session.touch()).toBe(false);
    });
    const slowRenew = request(slow, { cookie }, async (session) => {
      await inHandler.promise;
      await expect(session.renew({ principal: "ada" })).rejects.toMatchObject({ code: "SESSION_ENDED" });
    });
    await expect.poll(() => slow.stats().loads).toBe(2);
    gated.after = (verb) => (verb === "read" ? held.promise : undefined);
    const stuck = request(slow, { cookie }, (session) => session.set("n", 2));
    await expect.poll(() => slow.stats().loads).toBe(3);
    if (how === "logout") await browser.request(fast, (session) => session.destroy());
    else expect(await fast.endAll("ada")).toBe(1);
    inHandler.open();
    held.open();
    expect((await slowRead).outcome).toBeUndefined();
    for (const write of [slowWrite, slowRenew, stuck]) {
      expect((await write).outcome).toMatchObject({ ok: false, status: 409, setCookies: [] });
    }
    expect((await slowUpdate).outcome).toBeUndefined();
    expect((await slowTouch).outcome).toBeUndefined();
    expect(await store.count()).toBe(0);
    await request(fast, { cookie }, (session) => expect(session.isNew).toBe(true));
  },
);

test("ending all of a user also ends the login that is under way", async () => {
  const { sessions, another, store, clock } = house();
  const held = gate();
  const browser = new Jar();
  const login = browser.request(another(), async (session) => {
    await held.promise;
    await session.renew({ principal: "ada" });
  });
  await Promise.resolve();
  clock.advance(5);
  await sessions.endAll("ada");
  clock.advance(5);
  held.open();
  await expect(login).rejects.toMatchObject({ code: "SESSION_ENDED" });
  expect(await store.count()).toBe(0);
  // A scope that an adapter opened late counts from the request's arrival.
  await expect(
    request(another(), { ageMs: 6 }, (session) => session.renew({ principal: "ada" })),
  ).rejects.toMatchObject({ code: "SESSION_ENDED" });
  await request(another(), { ageMs: 4 }, (session) => session.renew({ principal: "ada" }));
  expect(await store.count({ principal: "ada" })).toBe(1);
});

test("changing a password: the other sessions end, this one stays and may renew at once", async () => {
  const { sessions, store, clock } = house();
  const [here, there] = [new Jar(), new Jar()];
  for (const browser of [here, there]) {
    await browser.request(sessions, (session) => session.renew({ principal: "ada" }));
  }
  clock.advance(5);
  await here.request(sessions, async (session) => {
    clock.advance(5);
    expect(await sessions.endAll("ada", { except: session })).toBe(1);
    clock.advance(5);
    await session.renew();
  });
  await here.request(sessions, (session) => expect(session.principal).toBe("ada"));
  await there.request(sessions, (session) => expect(session.isNew).toBe(true));
  expect(await store.count()).toBe(1);
});
