import fc from "fast-check";
import { expect, test } from "vitest";
import type { AffinityHints, AffinityKind } from "./affinity.ts";
import { decide, type RoutedRequest, type RouterView, type ServerView } from "./decision.ts";
import { firstRanked, hash32 } from "./rendezvous.ts";

const RELIEF = { factor: 1.25, share: 0.1, requestsPerSMin: 10 };

function server(id: string, changes: Partial<ServerView> = {}): ServerView {
  return { id, weight: 1, usable: "yes", leaving: false, inFlight: 0, requestsPerS: 0, ...changes };
}

function view(servers: readonly ServerView[], changes: Partial<RouterView> = {}): RouterView {
  return {
    servers,
    affinity: ["clone", "cookie"],
    balance: "least-loaded",
    turn: 0,
    relief: RELIEF,
    reliefWindow: 0,
    moveOf: () => undefined,
    ...changes,
  };
}

interface Says extends Partial<AffinityHints> {
  exclude?: string;
  affinityOff?: boolean;
}

function request({ exclude, affinityOff, ...hints }: Says = {}): RoutedRequest {
  return {
    hints: { cookie: null, clone: null, sessionHash: null, addressHash: hash32("192.0.2.7"), ...hints },
    affinityOff: affinityOff ?? false,
    excluded: exclude === undefined ? [] : [exclude],
  };
}

const cookieOf = (serverId: string | null, stale = serverId === null) => ({ serverId, stale });
const never = () => 0.999;
const always = () => 0;

test("a new visitor goes to the server with the least under way, and is told by cookie", () => {
  const servers = [server("a", { inFlight: 4 }), server("b", { inFlight: 1 }), server("c", { inFlight: 2 })];
  expect(decide(view(servers), request(), never)).toEqual({
    serverId: "b",
    why: "new",
    setCookie: true,
    moved: null,
  });
});

test("load is counted per weight", () => {
  const servers = [server("small", { inFlight: 2 }), server("large", { inFlight: 3, weight: 2 })];
  expect(decide(view(servers), request(), never)?.serverId).toBe("large");
});

test("among servers equally busy the one with the lower rate is next, among equal rates chance decides", () => {
  const rates = [server("a", { requestsPerS: 5 }), server("b", { requestsPerS: 4 })];
  expect(decide(view(rates), request(), never)?.serverId).toBe("b");
  const idle = [server("a"), server("b"), server("c")];
  const seen = new Set(
    [0.9, 0.4, 0.1].map((random) => decide(view(idle), request(), () => random)?.serverId),
  );
  expect(seen.size).toBeGreaterThan(1);
});

test("a cookie brings a visitor back, however busy the server is, and is not sent again", () => {
  const servers = [server("a", { inFlight: 90 }), server("b")];
  expect(decide(view(servers), request({ cookie: cookieOf("a") }), never)).toEqual({
    serverId: "a",
    why: "hit",
    setCookie: false,
    moved: null,
  });
});

test("a cookie made with an older key still counts and is replaced", () => {
  const decision = decide(view([server("a"), server("b")]), request({ cookie: cookieOf("a", true) }), never);
  expect(decision).toMatchObject({ serverId: "a", why: "hit", setCookie: true });
});

test("an unknown token is no error: the visitor is placed anew and the token replaced", () => {
  const servers = [server("a", { inFlight: 1 }), server("b")];
  expect(decide(view(servers), request({ cookie: cookieOf(null) }), never)).toMatchObject({
    serverId: "b",
    why: "invalid",
    setCookie: true,
  });
});

test("affinity kinds are tried in order, and one that names nobody falls through to the next", () => {
  const servers = [server("a"), server("b")];
  const both = request({ clone: { serverId: "b" }, cookie: cookieOf("a") });
  expect(decide(view(servers), both, never)?.serverId).toBe("b");
  expect(decide(view(servers, { affinity: ["cookie", "clone"] }), both, never)?.serverId).toBe("a");
  const unknownClone = request({ clone: { serverId: null }, cookie: cookieOf("a") });
  expect(decide(view(servers), unknownClone, never)).toMatchObject({ serverId: "a", why: "hit" });
});

test("a hint that beats the cookie also corrects it", () => {
  const decision = decide(
    view([server("a"), server("b")]),
    request({ clone: { serverId: "b" }, cookie: cookieOf("a") }),
    never,
  );
  expect(decision).toMatchObject({ serverId: "b", setCookie: true });
});

test("without cookie affinity no cookie is ever set", () => {
  for (const affinity of [["clone"], ["address"], []] as AffinityKind[][]) {
    expect(decide(view([server("a")], { affinity }), request(), never)?.setCookie).toBe(false);
  }
});

test("a request that turned affinity off is sent round robin and its cookie left alone", () => {
  const servers = [server("a", { inFlight: 9 }), server("b")];
  const off = request({ cookie: cookieOf("a"), affinityOff: true });
  const order = [0, 1, 2, 3].map((turn) => decide(view(servers, { turn }), off, never));
  expect(order.map((decision) => decision?.serverId)).toEqual(["a", "b", "a", "b"]);
  expect(order.every((decision) => decision?.why === "off" && !decision.setCookie)).toBe(true);
});

test("round robin gives each server its weight in turns", () => {
  const servers = [server("a", { weight: 2 }), server("b")];
  const ids = [0, 1, 2, 3, 4, 5].map(
    (turn) =>
      decide(view(servers, { affinity: [], balance: "round-robin", turn }), request(), never)?.serverId,
  );
  expect(ids.filter((id) => id === "a")).toHaveLength(4);
  expect(ids.filter((id) => id === "b")).toHaveLength(2);
});

test("the same address goes to the same server, and a different one when that is down", () => {
  const servers = ["a", "b", "c"].map((id) => server(id));
  const addressed = view(servers, { affinity: ["address"] });
  const first = decide(addressed, request(), never)!;
  expect(first.why).toBe("hit");
  expect(decide(addressed, request(), never)!.serverId).toBe(first.serverId);
  const ill = servers.map((one) => (one.id === first.serverId ? { ...one, usable: "no" as const } : one));
  const moved = decide(view(ill, { affinity: ["address"] }), request(), never)!;
  expect(moved.why).toBe("failover");
  expect(moved.serverId).not.toBe(first.serverId);
});

test("a session that lost its server goes where every router would send it", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.constantFrom(..."abcdefgh"), { minLength: 2 }),
      fc.nat(),
      fc.string(),
      (ids, pick, session) => {
        const lost = ids[pick % ids.length]!;
        const servers = ids.map((id) => server(id, { usable: id === lost ? "no" : "yes" }));
        const asked = request({ cookie: cookieOf(lost), sessionHash: hash32(session) });
        const here = decide(view(servers), asked, never)!;
        // Another router: other order, other loads, other chance.
        const elsewhere = view([...servers].reverse().map((one) => ({ ...one, inFlight: pick % 7 })));
        expect(decide(elsewhere, asked, always)).toEqual(here);
        expect(here).toMatchObject({ why: "failover", setCookie: true });
        expect(here.serverId).toBe(
          firstRanked(
            hash32(session),
            servers.filter(({ id }) => id !== lost),
          )!.id,
        );
      },
    ),
  );
});

test("there is no switch-back: who was moved stays when the lost server returns", () => {
  const servers = [server("a"), server("b")];
  const moved = decide(
    view([server("a", { usable: "no" }), server("b")]),
    request({ cookie: cookieOf("a") }),
    never,
  )!;
  expect(moved.serverId).toBe("b");
  expect(decide(view(servers), request({ cookie: cookieOf("b") }), never)).toMatchObject({
    serverId: "b",
    why: "hit",
  });
});

test("a retry never goes back to the server that just failed, not even the sticky one", () => {
  const servers = [server("a"), server("b"), server("c")];
  fc.assert(
    fc.property(fc.constantFrom("a", "b", "c"), fc.constantFrom("a", "b", "c", null), (exclude, sticky) => {
      const asked = request({ exclude, cookie: sticky === null ? null : cookieOf(sticky) });
      expect(decide(view(servers), asked, never)!.serverId).not.toBe(exclude);
    }),
  );
  expect(decide(view([server("a")]), request({ exclude: "a" }), never)).toBeNull();
});

test("draining hands everybody over, holders and newcomers, and is said to be so", () => {
  const servers = [server("a", { usable: "last-resort", leaving: true }), server("b", { inFlight: 50 })];
  expect(decide(view(servers), request(), never)).toMatchObject({ serverId: "b", why: "new" });
  expect(decide(view(servers), request({ cookie: cookieOf("a") }), never)).toMatchObject({
    serverId: "b",
    why: "drained",
    setCookie: true,
  });
});

test("a draining server still serves when no other can; one in maintenance does not", () => {
  const drain = [server("a", { usable: "last-resort", leaving: true }), server("b", { usable: "no" })];
  expect(decide(view(drain), request({ cookie: cookieOf("b") }), never)?.serverId).toBe("a");
  const maintenance = [server("a", { usable: "no", leaving: true }), server("b", { usable: "no" })];
  expect(decide(view(maintenance), request({ cookie: cookieOf("a") }), never)).toBeNull();
});

// Hot-spot relief ----------------------------------------------------------------------------------------------------

const HOT = [
  server("hot", { requestsPerS: 100 }),
  server("cool", { requestsPerS: 40 }),
  server("cooler", { requestsPerS: 30 }),
];
const sticky = request({ cookie: cookieOf("hot"), sessionHash: 7 });

const ALL = { ...RELIEF, share: 1 };

test("a hot server gives up sessions to the coolest, and says which session moved", () => {
  expect(decide(view(HOT, { relief: ALL }), sticky, never)).toEqual({
    serverId: "cooler",
    why: "rehomed",
    setCookie: true,
    moved: { keyHash: 7, from: "hot", to: "cooler" },
  });
});

/** Sessions of the hot server that would move in this window. */
function moving(reliefWindow: number, count: number): Set<number> {
  const keys = Array.from({ length: count }, (_, i) => hash32(`session ${i}`));
  return new Set(
    keys.filter((key) => {
      const asked = request({ cookie: cookieOf("hot"), sessionHash: key });
      return decide(view(HOT, { reliefWindow }), asked, never)!.why === "rehomed";
    }),
  );
}

test("in one window a tenth of the sessions moves, in the next another tenth", () => {
  const first = moving(1, 10_000);
  const second = moving(2, 10_000);
  for (const { size } of [first, second]) {
    expect(size).toBeGreaterThan(880);
    expect(size).toBeLessThan(1_120);
  }
  // Independent draws share a hundredth of all.
  expect([...first].filter((key) => second.has(key)).length).toBeLessThan(150);
});

test("a session that asks more often is no more likely to move", () => {
  const asked = (session: number) => request({ cookie: cookieOf("hot"), sessionHash: session });
  for (let session = 0; session < 50; session++) {
    const answers = [never, always, () => 0.5].map(
      (random) => decide(view(HOT), asked(session), random)!.why,
    );
    expect(new Set(answers).size).toBe(1);
  }
});

test("nothing moves at or below 1.25 × the mean, and never when relief is off", () => {
  // Mean 40; 50 is exactly 1.25 times that.
  const fair = [server("hot", { requestsPerS: 50 }), server("b", { requestsPerS: 30 })];
  expect(decide(view(fair, { relief: ALL }), sticky, never)!.why).toBe("hit");
  expect(decide(view(HOT, { relief: null }), sticky, never)!.why).toBe("hit");
});

test("at tiny loads nothing moves, however uneven they are", () => {
  const tiny = [server("hot", { requestsPerS: 9.9 }), server("b"), server("c")];
  expect(decide(view(tiny, { relief: ALL }), sticky, never)!.why).toBe("hit");
});

test("a session that was moved follows its move while its cookie is old, and moves no second time", () => {
  const moveOf = (key: number) => (key === 7 ? { from: "hot", to: "cool" } : undefined);
  expect(decide(view(HOT, { moveOf, relief: ALL }), sticky, never)).toMatchObject({
    serverId: "cool",
    why: "hit",
    setCookie: true,
    moved: null,
  });
  const hotAgain = HOT.map((one) => (one.id === "cool" ? { ...one, requestsPerS: 500 } : one));
  const moved = request({ cookie: cookieOf("cool"), sessionHash: 7 });
  expect(decide(view(hotAgain, { moveOf, relief: ALL }), moved, never)).toMatchObject({
    serverId: "cool",
    why: "hit",
  });
});

test("relief never moves to a server that is itself at or above the mean, or unusable", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ rate: fc.nat(200), usable: fc.constantFrom("yes", "no", "last-resort") }), {
        minLength: 1,
        maxLength: 6,
      }),
      fc.nat({ max: 400 }),
      (others, hotRate) => {
        const servers = [
          server("hot", { requestsPerS: hotRate }),
          ...others.map(({ rate, usable }, i) =>
            server(`s${i}`, { requestsPerS: rate, usable: usable as ServerView["usable"] }),
          ),
        ];
        const decision = decide(view(servers, { relief: ALL }), sticky, never)!;
        if (decision.why !== "rehomed") return;
        const usable = servers.filter((one) => one.usable === "yes");
        const mean = usable.reduce((sum, one) => sum + one.requestsPerS, 0) / usable.length;
        const target = servers.find((one) => one.id === decision.serverId)!;
        expect(hotRate).toBeGreaterThan(1.25 * mean);
        expect(target.requestsPerS).toBeLessThan(mean);
        expect(target.usable).toBe("yes");
      },
    ),
  );
});

test("whatever the state, a decision names a usable server or there is none", () => {
  const anyServer = fc.record({
    weight: fc.integer({ min: 1, max: 100 }),
    usable: fc.constantFrom("yes", "no", "last-resort"),
    leaving: fc.boolean(),
    inFlight: fc.nat(50),
    requestsPerS: fc.nat(300),
  });
  fc.assert(
    fc.property(
      fc.array(anyServer, { maxLength: 6 }),
      fc.constantFrom("s0", "s1", "s9", null),
      fc.option(fc.constantFrom("s0", "s1", "s2")),
      fc.constantFrom<AffinityKind[]>(["clone", "cookie"], ["address"], []),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      fc.nat(),
      (shapes, named, exclude, affinity, random, turn) => {
        const servers = shapes.map((shape, i) => server(`s${i}`, shape as Partial<ServerView>));
        const asked = request({ cookie: cookieOf(named), ...(exclude ? { exclude } : {}) });
        const decision = decide(view(servers, { affinity, turn }), asked, () => random);
        const open = servers.filter((one) => one.usable !== "no" && one.id !== exclude);
        if (decision === null) {
          expect(open).toEqual([]);
          return;
        }
        const chosen = open.find((one) => one.id === decision.serverId);
        expect(chosen).toBeDefined();
        if (open.some((one) => one.usable === "yes")) expect(chosen!.usable).toBe("yes");
      },
    ),
  );
});
