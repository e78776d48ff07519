import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FakeClock } from "../testing/fake-clock.ts";
import {
  COOKIE_HEADER_CHARS_MAX,
  COOKIE_VALUES_MAX,
  type CookieAttributes,
  IdVerifier,
  parseCookies,
  serializeCookie,
  signId,
  splitCloneId,
} from "./cookie.ts";
import { isSessionError } from "./errors.ts";
import { newSessionId, type SessionId } from "./ids.ts";
import { deriveKeys } from "./keys.ts";

describe("parseCookies", () => {
  test.each<[string, string | undefined, string[]]>([
    ["no header", undefined, []],
    ["an empty header", "", []],
    ["one", "sid=a", ["a"]],
    ["among others", "_ga=GA1.2; sid=a; theme=dark", ["a"]],
    ["duplicates, in order", "sid=a; sid=b", ["a", "b"]],
    ["a quoted value", 'sid="a"', ["a"]],
    ["half a quote", 'sid="', ['"']],
    ["an empty value", "sid=", [""]],
    ["empty quotes", 'sid=""', [""]],
    ["blanks around", " \tsid =\t a \t; x=1", ["a"]],
    ["an equals sign in the value", "sid=a=b", ["a=b"]],
    ["an escape, as sent", "sid=%41", ["%41"]],
    ["another case", "SID=a; Sid=b", []],
    ["a longer name", "xsid=a; sidx=b; my sid=c", []],
    ["the name inside a value", "x=sid=a; y=;sid=b", ["b"]],
    ["no equals sign", "sid; sid", []],
    ["a comma is no separator", "x=1,sid=a", []],
  ])("%s", (_name, header, values) => {
    expect(parseCookies(header, "sid")).toEqual(values);
  });

  test("names of prototypes are names like any other", () => {
    expect(parseCookies("a=1", "__proto__")).toEqual([]);
    expect(parseCookies("__proto__=x; constructor=y", "__proto__")).toEqual(["x"]);
    expect(parseCookies("toString=z", "toString")).toEqual(["z"]);
  });

  test("what stands beyond the limit does not count, and a cookie cut by it is not half-read", () => {
    const filler = `x=${"y".repeat(COOKIE_HEADER_CHARS_MAX - 20)}`;
    expect(parseCookies(`sid=a; ${filler}; z=${"1".repeat(99)}; sid=b`, "sid")).toEqual(["a"]);
    expect(parseCookies(`${filler}; sid=${"c".repeat(99)}`, "sid")).toEqual([]);
    expect(parseCookies(`${filler}; sid=c`, "sid")).toEqual(["c"]);
  });

  test("a header full of our name gives a bounded list in bounded time", () => {
    for (const unit of ["sid=a;", "sid", "sid ", " \t", "=sid", ";"]) {
      const header = unit.repeat(1_000_000 / unit.length);
      const startedAtMs = performance.now();
      expect(parseCookies(header, "sid").length).toBeLessThanOrEqual(COOKIE_VALUES_MAX);
      expect(performance.now() - startedAtMs).toBeLessThan(1_000);
    }
  });

  test("a cookie that was written is read back", () => {
    const octet = fc.constantFrom(..."!#$%&'()*+-./0123456789:<=>?@ABCXYZ[]^_`abcxyz{|}~");
    fc.assert(
      fc.property(fc.string({ unit: octet, maxLength: 50 }), (value) => {
        const [pair] = serializeCookie("sid", value).split(";");
        expect(parseCookies(`a=1; ${pair}; b=2`, "sid")).toEqual([value]);
      }),
    );
  });
});

describe("serializeCookie", () => {
  test("a Max-Age beyond what browsers keep is cut, and never written with an exponent", () => {
    expect(serializeCookie("a", "", { maxAgeMs: 1e24 })).toBe("a=; Max-Age=34560000");
  });

  const expires = new Date(Date.UTC(2030, 0, 2, 3, 4, 5));
  test.each<[string, CookieAttributes, string]>([
    ["nothing", {}, "sid=v"],
    ["max age, rounded up", { maxAgeMs: 1 }, "sid=v; Max-Age=1"],
    ["max age in seconds", { maxAgeMs: 43_200_000 }, "sid=v; Max-Age=43200"],
    [
      "deleting",
      { maxAgeMs: 0, expires: new Date(0) },
      "sid=v; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ],
    ["a negative max age", { maxAgeMs: -5_000 }, "sid=v; Max-Age=0"],
    ["a default false", { httpOnly: false, secure: false, partitioned: false }, "sid=v"],
    [
      "everything",
      {
        maxAgeMs: 1_000,
        expires,
        path: "/shop",
        domain: "example.org",
        httpOnly: true,
        secure: true,
        sameSite: "none",
        partitioned: true,
        priority: "high",
      },
      "sid=v; Max-Age=1; Domain=example.org; Path=/shop; Expires=Wed, 02 Jan 2030 03:04:05 GMT; HttpOnly; Secure; " +
        "Partitioned; Priority=High; SameSite=None",
    ],
  ])("%s", (_name, attributes, text) => {
    expect(serializeCookie("sid", "v", attributes)).toBe(text);
  });

  test.each<[string, string, string, CookieAttributes]>([
    ["an empty name", "", "v", {}],
    ["a blank in the name", "s id", "v", {}],
    ["a separator in the name", "sid;", "v", {}],
    ["an equals sign in the name", "sid=", "v", {}],
    ["a name beyond ASCII", "sïd", "v", {}],
    ["a semicolon in the value", "sid", "s3cr3t; Domain=evil", {}],
    ["a line break in the value", "sid", "s3cr3t\r\nSet-Cookie: a=b", {}],
    ["a quote in the value", "sid", 's3cr3t"', {}],
    ["more than browsers keep", "sid", "s3cr3t".repeat(700), {}],
    ["a relative path", "sid", "v", { path: "shop" }],
    ["a path with a separator", "sid", "v", { path: "/; Domain=evil" }],
    ["a path with a line break", "sid", "v", { path: "/\n" }],
    ["a domain with a separator", "sid", "v", { domain: "a.org; Secure" }],
    ["a domain with a port", "sid", "v", { domain: "a.org:80" }],
    ["an invalid date", "sid", "v", { expires: new Date(Number.NaN) }],
    ["an infinite age", "sid", "v", { maxAgeMs: Number.POSITIVE_INFINITY }],
    ["an unknown SameSite", "sid", "v", { sameSite: "toString" as "lax" }],
    ["an unknown priority", "sid", "v", { priority: "constructor" as "low" }],
    ["__Host- without Secure", "__Host-sid", "v", { path: "/" }],
    ["__Host- without a path", "__Host-sid", "v", { secure: true }],
    ["__Host- with a domain", "__Host-sid", "v", { secure: true, path: "/", domain: "a.org" }],
    ["__Secure- without Secure", "__Secure-sid", "v", {}],
    ["SameSite=None without Secure", "sid", "v", { sameSite: "none" }],
    ["Partitioned without Secure", "sid", "v", { partitioned: true }],
  ])("refuses %s, without the value in the message", (_name, name, value, attributes) => {
    let caught: unknown;
    try {
      serializeCookie(name, value, attributes);
    } catch (error) {
      caught = error;
    }
    expect(isSessionError(caught) && caught.code).toBe("INVALID_OPTION");
    expect(String(caught)).not.toContain("s3cr3t");
    expect(String(caught)).not.toMatch(/[\r\n]/);
  });

  test("whatever the input, the result is one header line with the attributes asked for", () => {
    const any = fc.string({ unit: "binary", maxLength: 12 });
    const attributes = fc.record({ path: any, domain: any, maxAgeMs: fc.double() }, { requiredKeys: [] });
    const allowed = /^[!-~]+=[!-~]*(?:; Max-Age=\d+)?(?:; Domain=[^;]+)?(?:; Path=[^;]+)?$/;
    fc.assert(
      fc.property(any, any, attributes, (name, value, given) => {
        let text: string;
        try {
          text = serializeCookie(name, value, given);
        } catch (error) {
          if (isSessionError(error)) return;
          throw error;
        }
        expect(text).toMatch(allowed);
      }),
      { numRuns: 2_000 },
    );
  });
});

test.each([
  ["v", "v", undefined],
  ["v:b1", "v", "b1"],
  ["v:b1:b2", "v", "b2"],
  ["v:", "v", undefined],
  [":b1", "", "b1"],
  ["", "", undefined],
])("splitCloneId(%j) is %j and %j", (value, signed, cloneId) => {
  expect(splitCloneId(value)).toEqual({ signed, cloneId });
});

describe("IdVerifier", () => {
  const clock = new FakeClock();
  const [newest, former] = deriveKeys(["the newest secret", "the former secret"]).cookie as [Buffer, Buffer];
  const id = newSessionId(clock);

  test("ids signed with any accepted key verify, first time and from memory", () => {
    const verifier = new IdVerifier([newest, former]);
    for (const key of [newest, former]) {
      for (let time = 0; time < 3; time++) expect(verifier.verify(signId(id, key))?.id).toBe(id);
    }
  });

  test("what a key has signed ends with the key, even when it was verified before", () => {
    const verifier = new IdVerifier([newest, former]);
    const value = signId(id, former);
    expect(verifier.verify(value)?.id).toBe(id);
    verifier.setKeys([newest]);
    expect(verifier.verify(value)).toBeNull();
    verifier.setKeys([former]);
    expect(verifier.verify(value)?.id).toBe(id);
  });

  test("a list of keys changed by its owner afterwards changes nothing", () => {
    const keys = [newest];
    const verifier = new IdVerifier(keys);
    keys[0] = former;
    expect(verifier.verify(signId(id, newest))?.id).toBe(id);
  });

  test("every single changed character makes a value null", () => {
    const verifier = new IdVerifier([newest]);
    const value = signId(id, newest);
    expect(verifier.verify(value)?.id).toBe(id);
    for (let at = 0; at < value.length; at++) {
      for (const other of ["A", "B", "-", ".", ":", "\u0000", "ā", "ሴ"]) {
        if (value[at] === other) continue;
        expect(verifier.verify(value.slice(0, at) + other + value.slice(at + 1))).toBeNull();
      }
    }
  });

  test("a character that only looks the same in one byte is not the same", () => {
    const verifier = new IdVerifier([newest]);
    const value = signId(id, newest);
    const wide = String.fromCharCode(value.charCodeAt(0) + 0x100) + value.slice(1);
    expect(verifier.verify(wide)).toBeNull();
  });

  test.each([
    ["nothing", ""],
    ["an id alone", "A".repeat(43)],
    ["an unsigned id", `${"A".repeat(43)}.`],
    ["__proto__", "__proto__"],
    ["8 KB", "A".repeat(8_192)],
    ["a clone suffix left on", `${signId(id, newest)}:b1`],
    ["a signature of another purpose", signId(id, deriveKeys("the newest secret").token[0]!)],
    ["another id under a right signature", signId(id, newest).replace(id, newSessionId(clock))],
    ["what is no id under a right signature", signId("not an id".padEnd(43, "x") as SessionId, newest)],
  ])("%s is null", (_name, value) => {
    expect(new IdVerifier([newest]).verify(value)).toBeNull();
  });

  test("it remembers a bounded number of values, forgets the ones not asked for, and verifies all the same", () => {
    const ids = Array.from({ length: 100 }, () => newSessionId(clock));
    for (const cacheEntriesMax of [0, 1, 2, 10, 1_000]) {
      const verifier = new IdVerifier([newest], { cacheEntriesMax });
      for (let round = 0; round < 3; round++) {
        for (const each of ids) expect(verifier.verify(signId(each, newest))?.id).toBe(each);
        expect(verifier.rememberedCount).toBeLessThanOrEqual(cacheEntriesMax);
      }
    }
  });

  test("forgeries displace nothing that is remembered", () => {
    const verifier = new IdVerifier([newest], { cacheEntriesMax: 4 });
    verifier.verify(signId(id, newest));
    for (let at = 0; at < 100; at++) verifier.verify(signId(newSessionId(clock), former));
    expect(verifier.rememberedCount).toBe(1);
  });

  test("without a key there is nothing to verify with: INVALID_OPTION", () => {
    expect(() => new IdVerifier([])).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  });
});
