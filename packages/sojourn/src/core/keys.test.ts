import fc from "fast-check";
import { expect, test } from "vitest";
import { isSessionError } from "./errors.ts";
import { deriveKeys, SECRET_CHARS_MIN } from "./keys.ts";

const secret = fc.string({ minLength: SECRET_CHARS_MIN, maxLength: 80 });

test("each purpose and each secret has a key of its own, 32 bytes, in the order of the secrets", () => {
  fc.assert(
    fc.property(fc.uniqueArray(secret, { minLength: 1, maxLength: 4 }), (secrets) => {
      const keys = deriveKeys(secrets);
      const all = [...keys.cookie, ...keys.token, ...keys.psk].map((key) => key.toString("hex"));
      expect(all).toHaveLength(3 * secrets.length);
      expect(new Set(all).size).toBe(all.length);
      for (const key of all) expect(key).toHaveLength(64);
      for (const [at, one] of secrets.entries()) {
        expect(deriveKeys(one).cookie[0]?.equals(keys.cookie[at]!)).toBe(true);
      }
    }),
    { numRuns: 50 },
  );
});

test("the keys of a secret never change: cookies outlive releases", () => {
  const keys = deriveKeys("correct horse battery staple");
  expect({
    cookie: keys.cookie[0]?.toString("hex"),
    token: keys.token[0]?.toString("hex"),
    psk: keys.psk[0]?.toString("hex"),
  }).toMatchInlineSnapshot(`
    {
      "cookie": "785cd0ee25cc6689b6c282b815dc6b63c891f6b7e0572cf85d8d56c3e767c2c2",
      "psk": "1521508297f577d3c98a31dfe97809ca254e8ff059953504ac807ed85fd8d185",
      "token": "05eec10e9cec490c0f028201747a69841e7491c3f1a101820205d0ee923c008f",
    }
  `);
});

test.each<[string, unknown]>([
  ["an empty list", []],
  ["an empty text", ""],
  ["15 characters", "short-secret-15"],
  ["a short one among good ones", ["a good and long secret", "s3cr3t"]],
  ["no text", [undefined]],
  ["nothing", undefined],
  ["null", null],
  ["a number", [1234567890123456]],
])("%s is refused with INVALID_OPTION, and the message holds no secret", (_name, secrets) => {
  let caught: unknown;
  try {
    deriveKeys(secrets as string[]);
  } catch (error) {
    caught = error;
  }
  expect(isSessionError(caught) && caught.code).toBe("INVALID_OPTION");
  expect(String(caught)).not.toMatch(/s3cr3t|short-secret|a good and long|1234/);
});
