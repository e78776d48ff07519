import { afterEach, expect, test, vi } from "vitest";
import { SessionError } from "../core/errors.ts";
import { memoryStore } from "../store/memory.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { createSessions } from "./create-sessions.ts";
import { Diagnostics } from "./diagnostics.ts";
import { request, SECRET } from "./harness.test.support.ts";
import { resolveOptions } from "./options.ts";

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

const clock = new FakeClock();

test.each<[string, object, RegExp]>([
  ["no object", 5 as unknown as object, /option options: found 5/],
  ["a misspelt name", { sercet: SECRET }, /option sercet: .* expected one of store, secret/],
  ["a misspelt cookie option", { cookie: { maxAge: 5 } }, /option cookie\.maxAge: /],
  ["a misspelt limit", { limits: { bytes: 5 } }, /option limits\.bytes: /],
  ["a short secret", { secret: "short" }, /option secret .*found 5 characters/],
  ["no secrets", { secret: [] }, /option secret/],
  [
    "idle beyond absolute",
    { idleTimeoutMs: 2_000, absoluteTimeoutMs: 1_000 },
    /idleTimeoutMs: found 2000, expected 1\.\.1000/,
  ],
  [
    "absolute off",
    { absoluteTimeoutMs: Infinity },
    /absoluteTimeoutMs: found Infinity, expected 1\.\.2592000000/,
  ],
  ["absolute beyond 30 days", { absoluteTimeoutMs: 31 * 86_400_000 }, /absoluteTimeoutMs/],
  ["no idle", { idleTimeoutMs: 0 }, /idleTimeoutMs: found 0/],
  ["NaN", { idleTimeoutMs: Number.NaN }, /idleTimeoutMs: found NaN/],
  ["a text for a number", { storeBudgetMs: "500" }, /storeBudgetMs: found "500"/],
  ["a negative limit", { limits: { sessionBytesMax: -1 } }, /limits\.sessionBytesMax: found -1/],
  ["a bad clone id", { cloneId: "b:1" }, /cloneId: found "b:1"/],
  ["a long clone id", { cloneId: "b".repeat(65) }, /cloneId/],
  ["no store", { store: {} }, /store: found a value of type object, expected an object with the method read/],
  ["no codec", { codec: { encode() {} } }, /codec: .*method decode/],
  ["no function", { onDiagnostic: true }, /onDiagnostic: found true/],
  ["an unknown sameSite", { cookie: { sameSite: "loose" } }, /cookie\.sameSite: found "loose"/],
  ["sameSite none without TLS", { cookie: { sameSite: "none" } }, /sameSite "none" needs secure/],
  ["a cookie name with a blank", { cookie: { name: "my sid" } }, /name is not a token/],
  ["a path that breaks the header", { cookie: { path: "/;x" } }, /path/],
  ["a domain that is none", { cookie: { domain: "a_b" } }, /domain is not a host name/],
  [
    "secure with a domain and the default name",
    { cookie: { secure: true, domain: "a.example" } },
    /cookie\.domain: found "a\.example", expected none with the name "__Host-sid"/,
  ],
  [
    "secure with a path and the default name",
    { cookie: { secure: true, path: "/app" } },
    /cookie\.path: found "\/app"/,
  ],
  ["a prefix without TLS", { cookie: { name: "__Host-x" } }, /prefix needs secure/],
  ["a text for a flag", { cookie: { httpOnly: "yes" } }, /cookie\.httpOnly: found "yes"/],
  ["a cookie for 500 days", { cookie: { maxAgeMs: 500 * 86_400_000 } }, /cookie\.maxAgeMs/],
])("%s is refused at the start, naming option, found and expected", (_, options, message) => {
  const create = () => createSessions({ secret: SECRET, clock, ...(options as object) });
  const refused = typeof options === "object" ? create : () => createSessions(options as never);
  expect(refused).toThrow(SessionError);
  expect(refused).toThrow(
    expect.objectContaining({ code: "INVALID_OPTION", message: expect.stringMatching(message) }),
  );
});

test("the defaults are those of the documentation", () => {
  const policy = resolveOptions({ secret: SECRET, clock });
  expect(policy).toMatchObject({
    cookieName: "sid",
    cookieAttributes: { path: "/", domain: undefined, sameSite: "lax", httpOnly: true, secure: false },
    cookieMaxAgeMs: undefined,
    cloneId: undefined,
    idleTimeoutMs: 1_800_000,
    absoluteTimeoutMs: 43_200_000,
    sessionBytesMax: 65_536,
    attributesMax: 128,
    storeBudgetMs: 500,
    ownsStore: true,
  });
  expect(policy.store.name).toBe("memory");
});

test("in production cookies are secure and a secret is required", () => {
  vi.stubEnv("NODE_ENV", "production");
  expect(resolveOptions({ secret: SECRET, clock })).toMatchObject({
    cookieName: "__Host-sid",
    cookieAttributes: { secure: true },
  });
  expect(() => resolveOptions({ clock })).toThrow(
    expect.objectContaining({
      code: "INVALID_OPTION",
      message: expect.stringContaining("secret: found none"),
    }),
  );
});

test("a settable name is used as it is", () => {
  const cookie = { name: "JSESSIONID", secure: true, domain: "shop.example", path: "/app" };
  expect(resolveOptions({ secret: SECRET, clock, cookie }).cookieName).toBe("JSESSIONID");
});

test("without a secret one is drawn for this process, and that is told", async () => {
  const told: string[] = [];
  const options = {
    clock,
    store: memoryStore({ clock }),
    onDiagnostic: ({ code }: { code: string }) => told.push(code),
  };
  const [one, other] = [createSessions(options), createSessions(options)];
  expect(told).toEqual(["SECRET_GENERATED", "SECRET_GENERATED"]);
  const answer = await request(one, {}, (session) => session.set("n", 1));
  const cookie = answer.setCookies[0]!.split(";")[0]!;
  await request(other, { cookie }, (session) => expect(session.isNew).toBe(true));
  await request(one, { cookie }, (session) => expect(session.get("n")).toBe(1));
});

test("diagnostics go to console.warn, each code at most once a minute, with the number kept back", () => {
  const lines = vi.spyOn(console, "warn").mockImplementation(() => {});
  const diagnostics = new Diagnostics(clock);
  for (let n = 0; n < 5; n++) diagnostics.report("TOUCH_FAILED", "the store is away");
  diagnostics.report("CHANGES_DROPPED", "dropped");
  clock.advance(60_000);
  diagnostics.report("TOUCH_FAILED", "the store is away");
  expect(lines.mock.calls.map(([line]) => line)).toEqual([
    "sojourn: the store is away [TOUCH_FAILED]",
    "sojourn: dropped [CHANGES_DROPPED]",
    "sojourn: the store is away (and 4 more of these meanwhile) [TOUCH_FAILED]",
  ]);
});

test("a listener of diagnostics that throws costs nobody the request", () => {
  const diagnostics = new Diagnostics(clock, () => {
    throw new Error("no disk");
  });
  expect(() => diagnostics.report("TOUCH_FAILED", "the store is away")).not.toThrow();
});
