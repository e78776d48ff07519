import { describe, expect, test } from "vitest";
import { Cookie } from "./cookie.ts";
import { idInHeader, serializeCookie, signedValue } from "./cookie-header.ts";

describe("Cookie", () => {
  test("ends with the browser unless told otherwise", () => {
    expect(new Cookie()).toMatchObject({
      path: "/",
      httpOnly: true,
      expires: null,
      maxAge: null,
      originalMaxAge: null,
    });
  });

  test("maxAge and expires are two views of one moment; originalMaxAge follows both", () => {
    const cookie = new Cookie({ maxAge: 60_000 });
    expect(cookie.expires?.getTime()).toBeGreaterThan(Date.now() + 50_000);
    expect(cookie.originalMaxAge).toBe(60_000);
    cookie.expires = new Date(Date.now() + 5_000);
    expect(cookie.maxAge).toBeLessThanOrEqual(5_000);
    expect(cookie.originalMaxAge).toBeLessThanOrEqual(5_000);
    cookie.maxAge = null;
    expect(cookie).toMatchObject({ expires: null, originalMaxAge: null });
  });

  test("keeps originalMaxAge through a store, however much of it is gone", () => {
    const stored = JSON.parse(JSON.stringify(new Cookie({ maxAge: 60_000, sameSite: "lax" }))) as Cookie;
    const read = new Cookie({ ...stored, expires: new Date(Date.now() + 10) });
    expect(read).toMatchObject({ originalMaxAge: stored.originalMaxAge, sameSite: "lax" });
    expect(read.maxAge).toBeLessThanOrEqual(10);
  });

  test.each([42, "text", true, () => {}])(
    "refuses %s as options, and as maxAge what is no number",
    (options) => {
      expect(() => new Cookie(options as never)).toThrow("argument options must be a object");
      if (typeof options !== "number")
        expect(() => new Cookie({ maxAge: options as never })).toThrow("maxAge must be");
    },
  );

  test("takes no property named data, and a Date as maxAge", () => {
    expect(new Cookie({ data: { path: "/x" }, path: "/y" } as never).data.path).toBe("/y");
    const date = new Date(Date.now() + 1_000);
    expect(new Cookie({ maxAge: date as never }).expires).toBe(date);
  });

  test("serializes itself", () => {
    expect(new Cookie({ secure: true }).serialize("a", "b c")).toBe("a=b%20c; Path=/; HttpOnly; Secure");
  });
});

describe("the header", () => {
  test.each([
    ["name", "a b", {}],
    ["domain", "a", { domain: "x; Path=/" }],
    ["path", "a", { path: "/;x" }],
    ["path", "a", { path: "/\r\nX: y" }],
    ["priority", "a", { priority: "urgent" as never }],
    ["sameSite", "a", { sameSite: "sometimes" as never }],
    ["expires", "a", { expires: "tomorrow" }],
  ])("refuses a %s that would break it", (what, name, data) => {
    expect(() => serializeCookie(name, "v", data)).toThrow(new RegExp(`${what}.* is invalid`));
  });

  test("any text survives as an id", () => {
    for (const id of ["apple", "a.b.c", "%", "ü; x=y", "a b"]) {
      const line = serializeCookie("sid", signedValue(id, "s"));
      expect(idInHeader(line.split(";", 1)[0], "sid", ["s"])).toBe(id);
      expect(idInHeader(line.split(";", 1)[0], "sid", ["other"])).toBeUndefined();
    }
  });
});
