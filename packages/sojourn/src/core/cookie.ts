/**
 * Cookies as header text: finding ours, writing ours, and the signed id inside.
 *
 * The value is `<id>.<HMAC-SHA256 of it>`, both base64url, then `:<clone id>` when the domain uses one. The
 * signature is no secret-keeper (the id alone is 256 bits): it lets a server refuse made-up ids without
 * asking the store.
 *
 * Sources: RFC 6265bis; the clone suffix is what WebSphere and Tomcat route by.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { SessionError } from "./errors.ts";
import { isSessionId, type SessionId, type SessionKey, sessionKeyOf } from "./ids.ts";

/**
 * What is looked at of a `Cookie` header. Node refuses longer ones unless told otherwise; a cookie cut here
 * is ignored.
 */
export const COOKIE_HEADER_CHARS_MAX = 16_384;
/** One more than one is refused anyway; more only tell how many. */
export const COOKIE_VALUES_MAX = 8;
/** Browsers drop a cookie whose name and value together are longer. */
export const COOKIE_BYTES_MAX = 4096;
/** Browsers keep no cookie for more than 400 days (RFC 6265bis). */
const MAX_AGE_S_MAX = 400 * 24 * 3_600;

const NONE: readonly string[] = Object.freeze([]);
const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const QUOTE = 0x22;

/**
 * Every value `header` has for the cookie `name`, in its order, at most COOKIE_VALUES_MAX. Names compare
 * exactly; spaces around a value and one pair of quotes go, nothing is percent-decoded.
 *
 * @param header  all `Cookie` headers joined with "; ". Only the first COOKIE_HEADER_CHARS_MAX characters
 *           count.
 */
export function parseCookies(header: string | undefined, name: string): readonly string[] {
  if (!header || name === "") return NONE;
  const isCut = header.length > COOKIE_HEADER_CHARS_MAX;
  const text = isCut ? header.slice(0, COOKIE_HEADER_CHARS_MAX) : header;
  let values: string[] | undefined;
  // Looks for the name instead of splitting: most of a header is other people's cookies.
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + name.length)) {
    const equals = skipBlanks(text, at + name.length);
    if (text.charCodeAt(equals) !== EQUALS || !beginsPair(text, at)) continue;
    let end = text.indexOf(";", equals);
    if (end < 0) {
      if (isCut) break;
      end = text.length;
    }
    values ??= [];
    values.push(valueBetween(text, equals + 1, end));
    if (values.length === COOKIE_VALUES_MAX) break;
  }
  return values ?? NONE;
}

export interface CookieAttributes {
  /**
   * How long the browser keeps it, in ms, rounded up to seconds. 0 deletes it. Absent: until the browser
   * closes.
   */
  readonly maxAgeMs?: number | undefined;
  readonly expires?: Date | undefined;
  readonly path?: string | undefined;
  readonly domain?: string | undefined;
  readonly httpOnly?: boolean | undefined;
  readonly secure?: boolean | undefined;
  readonly sameSite?: "strict" | "lax" | "none" | undefined;
  readonly partitioned?: boolean | undefined;
  readonly priority?: "low" | "medium" | "high" | undefined;
}

const NAME_PATTERN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE_PATTERN = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/;
const PATH_PATTERN = /^\/[\x20-\x3a\x3c-\x7e]*$/;
const DOMAIN_PATTERN = /^\.?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/i;
const SAME_SITE = { strict: "Strict", lax: "Lax", none: "None" } as const;
const PRIORITY = { low: "Low", medium: "Medium", high: "High" } as const;

/**
 * One whole `Set-Cookie` value.
 *
 * @throws {SessionError} INVALID_OPTION for text that would break the header, and for combinations that
 *         browsers drop without a word (`__Host-` without Secure, SameSite=None without Secure, …). Never
 *         holds the value.
 */
export function serializeCookie(name: string, value: string, attributes: CookieAttributes = {}): string {
  requireValid(name, value, attributes);
  const { maxAgeMs, expires, path, domain, sameSite, priority } = attributes;
  let text = `${name}=${value}`;
  // Up, never down: a cookie for 1..999 ms must not become one that is deleted at once.
  if (maxAgeMs !== undefined) {
    text += `; Max-Age=${Math.min(Math.max(0, Math.ceil(maxAgeMs / 1000)), MAX_AGE_S_MAX)}`;
  }
  if (domain !== undefined) text += `; Domain=${domain}`;
  if (path !== undefined) text += `; Path=${path}`;
  if (expires !== undefined) text += `; Expires=${expires.toUTCString()}`;
  if (attributes.httpOnly) text += "; HttpOnly";
  if (attributes.secure) text += "; Secure";
  if (attributes.partitioned) text += "; Partitioned";
  if (priority !== undefined) text += `; Priority=${PRIORITY[priority]}`;
  if (sameSite !== undefined) text += `; SameSite=${SAME_SITE[sameSite]}`;
  return text;
}

/** `<id>.<signature>`: 87 characters. */
export function signId(id: SessionId, key: Buffer): string {
  return `${id}.${signatureOf(id, key)}`;
}

/** The last of a chain of clone ids is where the session is now; the others are where it was. */
export function splitCloneId(value: string): { signed: string; cloneId: string | undefined } {
  const first = value.indexOf(":");
  if (first < 0) return { signed: value, cloneId: undefined };
  const last = value.slice(value.lastIndexOf(":") + 1);
  return { signed: value.slice(0, first), cloneId: last === "" ? undefined : last };
}

const ID_CHARS = 43;
const SIGNED_CHARS = 87;
const CACHE_ENTRIES_MAX_DEFAULT = 10_000;

/** An id that this domain issued. Its key is remembered with it: hashing costs more than all the rest of a warm look-up. */
export interface VerifiedId {
  readonly id: SessionId;
  readonly key: SessionKey;
}

/**
 * Tells ids that this domain issued from all other text. Remembers what it verified, so a browser that comes
 * back costs a look-up instead of an HMAC; what it refused it does not remember, so forgeries displace
 * nothing.
 */
export class IdVerifier {
  #keys: readonly Buffer[] = [];
  readonly #generationMax: number;
  // Two generations: when the younger is full it becomes the older, and what nobody asked for since is forgotten.
  #young = new Map<string, VerifiedId>();
  #old = new Map<string, VerifiedId>();

  /**
   * @param keys  accepted ones, any order (`deriveKeys(…).cookie`)
   * @param options.cacheEntriesMax  about 450 bytes each, default 10,000; 0 remembers nothing
   */
  constructor(keys: readonly Buffer[], options: { readonly cacheEntriesMax?: number } = {}) {
    this.#generationMax = Math.floor((options.cacheEntriesMax ?? CACHE_ENTRIES_MAX_DEFAULT) / 2);
    this.setKeys(keys);
  }

  /**
   * @param value  `<id>.<signature>`, without a clone suffix.
   * @returns null for anything not signed with an accepted key
   */
  verify(value: string): VerifiedId | null {
    const known = this.#young.get(value);
    if (known !== undefined) return known;
    if (value.length !== SIGNED_CHARS || value.charCodeAt(ID_CHARS) !== 0x2e) return null;
    const remembered = this.#old.get(value);
    if (remembered !== undefined) {
      this.#remember(value, remembered);
      return remembered;
    }
    return this.#verifyAnew(value);
  }

  /** At most `cacheEntriesMax`. */
  get rememberedCount(): number {
    return this.#young.size + this.#old.size;
  }

  /**
   * The keys accepted from now on. Forgets everything: what a key that left has signed must not outlive it.
   */
  setKeys(keys: readonly Buffer[]): void {
    if (keys.length === 0)
      throw new SessionError("INVALID_OPTION", "Cannot verify session ids: no key given");
    this.#keys = [...keys];
    this.#young.clear();
    this.#old.clear();
  }

  #verifyAnew(value: string): VerifiedId | null {
    // A copy: a slice of the header would keep the whole header alive for as long as the cache remembers it.
    const bytes = Buffer.from(value, "latin1");
    const copy = bytes.toString("latin1");
    const id = copy.slice(0, ID_CHARS);
    if (copy !== value || !isSessionId(id)) return null;
    // Compared as text, so the signature has one spelling, too.
    const given = bytes.subarray(ID_CHARS + 1);
    for (const key of this.#keys) {
      if (!timingSafeEqual(Buffer.from(signatureOf(id, key), "latin1"), given)) continue;
      const verified = { id, key: sessionKeyOf(id) };
      this.#remember(copy, verified);
      return verified;
    }
    return null;
  }

  #remember(value: string, verified: VerifiedId): void {
    if (this.#generationMax === 0) return;
    if (this.#young.size >= this.#generationMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(value, verified);
  }
}

function signatureOf(id: SessionId, key: Buffer): string {
  return createHmac("sha256", key).update(id).digest("base64url");
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (isBlank(text.charCodeAt(at))) at++;
  return at;
}

/** True when only blanks stand between `at` and the start of the text or the `;` before. */
function beginsPair(text: string, at: number): boolean {
  let before = at - 1;
  while (before >= 0 && isBlank(text.charCodeAt(before))) before--;
  return before < 0 || text.charCodeAt(before) === SEMICOLON;
}

function valueBetween(text: string, from: number, to: number): string {
  let start = skipBlanks(text, from);
  let end = to;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  if (end - start >= 2 && text.charCodeAt(start) === QUOTE && text.charCodeAt(end - 1) === QUOTE) {
    start++;
    end--;
  }
  return text.slice(Math.min(start, end), end);
}

function requireValid(name: string, value: string, attributes: CookieAttributes): void {
  const { maxAgeMs, expires, path, domain, sameSite, priority, secure } = attributes;
  const wrong = (found: string) =>
    new SessionError("INVALID_OPTION", `Cannot set cookie ${JSON.stringify(name.slice(0, 64))}: ${found}`);
  if (!NAME_PATTERN.test(name)) throw wrong("its name is not a token of RFC 6265");
  if (!VALUE_PATTERN.test(value)) throw wrong("its value holds a character that cookies cannot");
  if (name.length + value.length > COOKIE_BYTES_MAX) {
    throw wrong(
      `name and value are ${name.length + value.length} bytes, at most ${COOKIE_BYTES_MAX} are kept`,
    );
  }
  if (path !== undefined && !PATH_PATTERN.test(path))
    throw wrong("path does not begin with / or holds ; or a control");
  if (domain !== undefined && !(domain.length <= 253 && DOMAIN_PATTERN.test(domain))) {
    throw wrong("domain is not a host name");
  }
  if (maxAgeMs !== undefined && !Number.isFinite(maxAgeMs))
    throw wrong(`maxAgeMs is ${maxAgeMs}, expected a number`);
  if (expires !== undefined && Number.isNaN(expires.getTime())) throw wrong("expires is an invalid date");
  if (sameSite !== undefined && !Object.hasOwn(SAME_SITE, sameSite))
    throw wrong("sameSite is not strict, lax or none");
  if (priority !== undefined && !Object.hasOwn(PRIORITY, priority))
    throw wrong("priority is not low, medium or high");
  if (secure) {
    if (name.startsWith("__Host-") && (domain !== undefined || path !== "/")) {
      throw wrong("the prefix __Host- needs path / and no domain");
    }
    return;
  }
  if (/^__(?:Host|Secure)-/.test(name)) throw wrong("its prefix needs secure: true");
  if (sameSite === "none") throw wrong('sameSite "none" needs secure: true');
  if (attributes.partitioned) throw wrong("partitioned needs secure: true");
}
