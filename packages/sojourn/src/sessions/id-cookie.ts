/**
 * The id cookie of one `createSessions`: who a request says it is, and what a browser is told to remember. Pure text and
 * signatures; a request without a well signed id costs neither store nor, once known, cryptography.
 */
import { IdVerifier, parseCookies, serializeCookie, signId, splitCloneId } from "../core/cookie.ts";
import type { SessionId, SessionKey } from "../core/ids.ts";
import type { Diagnostics } from "./diagnostics.ts";
import type { Policy } from "./options.ts";
import type { Telemetry } from "./telemetry.ts";

export interface PresentedId {
  readonly id: SessionId;
  readonly key: SessionKey;
  /** The server that the cookie says answered last. */
  readonly cloneId: string | undefined;
}

export class IdCookie {
  readonly #policy: Policy;
  readonly #verifier: IdVerifier;
  readonly #telemetry: Telemetry;
  readonly #diagnostics: Diagnostics;

  constructor(policy: Policy, telemetry: Telemetry) {
    this.#policy = policy;
    this.#verifier = new IdVerifier(policy.keys.cookie);
    this.#telemetry = telemetry;
    this.#diagnostics = policy.diagnostics;
  }

  /** @returns null for no cookie, several, a malformed one and a forged one: anonymous, all alike */
  read(header: string | undefined): PresentedId | null {
    const values = parseCookies(header, this.#policy.cookieName);
    if (values.length === 0) return null;
    if (values.length > 1) {
      // A sibling domain can plant one beside ours, and nothing tells which is whose.
      this.#telemetry.count("duplicateCookies");
      this.#diagnostics.report(
        "DUPLICATE_COOKIES",
        `a browser sent ${values.length} cookies named "${this.#policy.cookieName}", so none was believed. ` +
          "Look for another application on this domain or a parent of it that uses the same name",
      );
      return null;
    }
    const { signed, cloneId } = splitCloneId(values[0]!);
    const known = this.#verifier.verify(signed);
    if (known !== null) return { id: known.id, key: known.key, cloneId };
    this.#telemetry.count("rejectedCookies");
    return null;
  }

  /** True when the router should learn that this server answers now. */
  namesAnotherServer(presented: PresentedId): boolean {
    return this.#policy.cloneId !== undefined && presented.cloneId !== this.#policy.cloneId;
  }

  /** @param absoluteExpiresAtMs  a persistent cookie never outlives its session */
  issue(id: SessionId, absoluteExpiresAtMs: number): string {
    const { cookieName, cookieAttributes, cookieMaxAgeMs, cloneId, keys, clock } = this.#policy;
    const signed = signId(id, keys.cookie[0]!);
    return serializeCookie(cookieName, cloneId === undefined ? signed : `${signed}:${cloneId}`, {
      ...cookieAttributes,
      maxAgeMs:
        cookieMaxAgeMs === undefined
          ? undefined
          : Math.max(1, Math.min(cookieMaxAgeMs, absoluteExpiresAtMs - clock.nowMs())),
    });
  }

  clear(): string {
    return serializeCookie(this.#policy.cookieName, "", { ...this.#policy.cookieAttributes, maxAgeMs: 0 });
  }

  /** False, and told loudly, when the browser would refuse a cookie of ours. */
  canBeSet(isSecureConnection: boolean): boolean {
    if (!this.#policy.cookieAttributes.secure || isSecureConnection) return true;
    this.#telemetry.count("cookiesNotSent");
    this.#diagnostics.report(
      "COOKIE_NOT_SENT",
      `the session cookie "${this.#policy.cookieName}" was not sent: it is Secure and the request came over plain ` +
        "HTTP. Behind a proxy that ends TLS, let the framework trust it (Express: trust proxy; Fastify: trustProxy; " +
        "Koa: proxy; node, Hono: isSecure); without TLS, set cookie.secure: false",
    );
    return false;
  }
}
