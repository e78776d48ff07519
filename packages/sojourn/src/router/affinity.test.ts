import fc from "fast-check";
import { expect, test } from "vitest";
import { AffinityTokens, readHints, splitSessionCookie } from "./affinity.ts";
import { type CookieRole, type CookieValues, readCookieLine } from "./cookie-header.ts";

const KEY = "a secret of sufficient length";
const OLD_KEY = "another secret, an older one";

function tokens(secrets: string[] = [KEY], cluster = "shop"): AffinityTokens {
  const made = new AffinityTokens(cluster, secrets);
  made.add("b1");
  made.add("b2");
  return made;
}

test("a token names its server, in every router with the same key, and shows nothing of it", () => {
  const token = tokens().tokenFor("b1");
  expect(tokens().read([token])).toEqual({ serverId: "b1", stale: false });
  expect(token).toMatch(/^[A-Za-z0-9_-]{16}$/);
  expect(tokens([KEY], "other").tokenFor("b1")).not.toBe(token);
  expect(tokens([OLD_KEY]).tokenFor("b1")).not.toBe(token);
});

test("after a key rotation old tokens still count, as stale", () => {
  const before = tokens([OLD_KEY]).tokenFor("b2");
  expect(tokens([KEY, OLD_KEY]).read([before])).toEqual({ serverId: "b2", stale: true });
  expect(tokens([KEY]).read([before])).toEqual({ serverId: null, stale: true });
});

test("forged values, the server's own id among them, are no hint", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.constantFrom("b1", "__proto__", "127.0.0.1:80", "")), (value) => {
      expect(tokens().read([value])).toEqual({ serverId: null, stale: true });
    }),
  );
  expect(tokens().read([])).toBeNull();
});

test("the token of a removed server is unknown from then on", () => {
  const made = tokens();
  const token = made.tokenFor("b1");
  made.remove("b1");
  expect(made.read([token])).toEqual({ serverId: null, stale: true });
  expect(made.read([made.tokenFor("b2")])).toMatchObject({ serverId: "b2" });
});

test("of a chain of clone ids the last one counts, and only a well-formed one", () => {
  expect(splitSessionCookie("id.sig:b1:b2")).toEqual({ session: "id.sig", cloneId: "b2" });
  expect(splitSessionCookie("id.sig")).toEqual({ session: "id.sig", cloneId: null });
  expect(splitSessionCookie("id:")).toEqual({ session: "id", cloneId: null });
  expect(splitSessionCookie("s:id.signature")).toEqual({ session: "s", cloneId: null });
  expect(splitSessionCookie(`id:${"x".repeat(33)}`).cloneId).toBeNull();
});

test("clone ids match whole, never as a part: b1 is not b10", () => {
  const clones = new Map([
    ["b1", "server one"],
    ["b10", "server ten"],
  ]);
  const read = (value: string) => readHints([], [value], "192.0.2.1", tokens(), clones).clone;
  expect(read("id:b10")).toEqual({ serverId: "server ten" });
  expect(read("id:b1")).toEqual({ serverId: "server one" });
  expect(read("id:b")).toEqual({ serverId: null });
  expect(read("id")).toBeNull();
});

test("the hash of a session is the same with and without its clone suffix", () => {
  const hashOf = (value: string) => readHints([], [value], "a", tokens(), new Map()).sessionHash;
  fc.assert(
    fc.property(fc.stringMatching(/^[\w.-]{1,60}$/), fc.stringMatching(/^[\w-]{1,8}$/), (session, clone) => {
      expect(hashOf(`${session}:${clone}`)).toBe(hashOf(session));
    }),
  );
});

const ROLES = new Map<string, CookieRole>([
  ["SERVERID", { slot: "affinity", forwarded: false }],
  ["sid", { slot: "session", forwarded: true }],
]);

function read(line: string): { kept: string; values: CookieValues } {
  const values: CookieValues = { affinity: [], session: [], override: [] };
  return { kept: readCookieLine(line, ROLES, values), values };
}

test("a cookie line loses the router's own cookie and nothing else", () => {
  const cases: [string, string][] = [
    ["SERVERID=x", ""],
    ["a=1; SERVERID=x; b=2", "a=1; b=2"],
    ["SERVERID=x; b=2", "b=2"],
    ["a=1; SERVERID=x", "a=1"],
    ["SERVERID=x; SERVERID=y", ""],
    ["a=1;b=2", "a=1;b=2"],
    ["xSERVERID=1; SERVERIDx=2; sid=3", "xSERVERID=1; SERVERIDx=2; sid=3"],
    ["flag; a==; ;SERVERID=x", "flag; a==; "],
    ["SERVERID=x;", ""],
    ["a=1; SERVERID=x;", "a=1"],
    ["SERVERID", "SERVERID"],
  ];
  for (const [line, kept] of cases) expect(read(line).kept, line).toBe(kept);
});

test("a cookie line without the router's cookie keeps every byte", () => {
  fc.assert(
    fc.property(fc.string(), (line) => {
      fc.pre(!line.includes("SERVERID"));
      expect(read(line).kept).toBe(line);
    }),
  );
});

test("values are read as sent, a handful of them at most", () => {
  const { values } = read("sid=a:b; SERVERID= t ; sid=c; sid=d; sid=e; sid=f");
  expect(values.session).toEqual(["a:b", "c", "d", "e"]);
  expect(values.affinity).toEqual(["t"]);
});
