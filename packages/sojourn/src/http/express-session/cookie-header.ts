/**
 * Cookies as express-session writes and reads them: `s:<id>.<HMAC-SHA256 of it>`, percent-encoded. The same secret signs
 * and accepts the same text here and there, so both can serve one browser in turn.
 *
 * Sources: RFC 6265bis; `cookie-signature` for what is signed (base64 without padding).
 */
import { createHmac, type KeyObject, timingSafeEqual } from "node:crypto";
import { parseCookies } from "../../core/cookie.ts";
import type { CookieData } from "./cookie.ts";

export type Secret = string | Buffer | Uint8Array | KeyObject;

const SIGNED_PREFIX = "s:";
const NAME_PATTERN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE_PATTERN = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/;
const DOMAIN_PATTERN =
  /^\.?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i;
const PATH_PATTERN = /^[\x20-\x3a\x3c-\x7e]*$/;
const PRIORITIES: Readonly<Record<string, string>> = { low: "Low", medium: "Medium", high: "High" };
const SAME_SITES: Readonly<Record<string, string>> = {
  true: "Strict",
  strict: "Strict",
  lax: "Lax",
  none: "None",
};

/** The cookie's value before percent-encoding. */
export function signedValue(id: string, secret: Secret): string {
  return `${SIGNED_PREFIX}${id}.${signatureOf(id, secret)}`;
}

/**
 * The id in a cookie's decoded value.
 *
 * @returns undefined for what is not signed at all, false for what none of `secrets` has signed
 */
export function idIn(value: string, secrets: readonly Secret[]): string | false | undefined {
  if (!value.startsWith(SIGNED_PREFIX)) return undefined;
  const dot = value.lastIndexOf(".");
  if (dot < SIGNED_PREFIX.length) return false;
  const id = value.slice(SIGNED_PREFIX.length, dot);
  const given = Buffer.from(value.slice(dot + 1));
  for (const secret of secrets) {
    const expected = Buffer.from(signatureOf(id, secret));
    if (expected.length === given.length && timingSafeEqual(expected, given)) return id;
  }
  return false;
}

/** The first id in the `Cookie` header that one of `secrets` has signed. */
export function idInHeader(
  header: string | undefined,
  name: string,
  secrets: readonly Secret[],
): string | undefined {
  for (const value of parseCookies(header, name)) {
    const id = idIn(percentDecoded(value), secrets);
    if (id) return id;
  }
  return undefined;
}

/**
 * One whole `Set-Cookie` value. Combinations that browsers refuse are sent as they are: what an application sends today
 * it sends after the switch.
 *
 * @throws {TypeError} naming the option that cannot be written
 */
export function serializeCookie(name: string, value: string, data: Partial<CookieData> = {}): string {
  if (!NAME_PATTERN.test(name)) throw new TypeError("argument name is invalid");
  const encoded = encodeURIComponent(value);
  if (!VALUE_PATTERN.test(encoded)) throw new TypeError("argument val is invalid");
  const { domain, path, expires, httpOnly, secure, partitioned, priority, sameSite } = data;
  let text = `${name}=${encoded}`;
  if (domain) text += `; Domain=${valid("domain", domain, DOMAIN_PATTERN)}`;
  if (path) text += `; Path=${valid("path", path, PATH_PATTERN)}`;
  if (expires) {
    if (!(expires instanceof Date) || Number.isNaN(expires.getTime())) {
      throw new TypeError("option expires is invalid");
    }
    text += `; Expires=${expires.toUTCString()}`;
  }
  if (httpOnly) text += "; HttpOnly";
  if (secure) text += "; Secure";
  if (partitioned) text += "; Partitioned";
  if (priority) text += `; Priority=${named("priority", priority, PRIORITIES)}`;
  if (sameSite) text += `; SameSite=${named("sameSite", sameSite, SAME_SITES)}`;
  return text;
}

function signatureOf(id: string, secret: Secret): string {
  return createHmac("sha256", secret).update(id).digest("base64").replace(/=+$/, "");
}

function percentDecoded(value: string): string {
  if (!value.includes("%")) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

function valid(option: string, text: string, pattern: RegExp): string {
  if (!pattern.test(text)) throw new TypeError(`option ${option} is invalid`);
  return text;
}

function named(option: string, given: unknown, names: Readonly<Record<string, string>>): string {
  const key = String(given).toLowerCase();
  if (!Object.hasOwn(names, key)) throw new TypeError(`option ${option} is invalid`);
  return names[key]!;
}
