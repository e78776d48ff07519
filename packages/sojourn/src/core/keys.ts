/**
 * Keys from the domain's secret: one for each purpose, so that a cookie can never be replayed as a token and
 * a leaked token key opens no connection.
 *
 * Source: RFC 5869 (HKDF), with SHA-256.
 */
import { hkdfSync } from "node:crypto";
import { SessionError } from "./errors.ts";

/** Shorter secrets can be guessed from one signed cookie, offline. */
export const SECRET_CHARS_MIN = 16;

const KEY_BYTES = 32;
const SALT = "sojourn";

/** 32 bytes each, in the order of the secrets: sign with the first, accept all. */
export interface SecretKeys {
  /** Signs session ids in cookies (core/cookie.ts). */
  readonly cookie: readonly Buffer[];
  /** Signs freshness tokens (core/token.ts). */
  readonly token: readonly Buffer[];
  /** Pre-shared keys of TLS between members and clients. */
  readonly psk: readonly Buffer[];
}

/**
 * @param secrets  one, or several while rotating, newest first; each at least SECRET_CHARS_MIN characters
 * @throws {SessionError} INVALID_OPTION when there is none or one is too short; the message never holds a
 *           secret
 */
export function deriveKeys(secrets: string | readonly string[]): SecretKeys {
  const list = typeof secrets === "string" ? [secrets] : secrets;
  if (!Array.isArray(list) || list.length === 0) {
    throw new SessionError(
      "INVALID_OPTION",
      "Cannot use option secret: none given, expected a string or a list",
    );
  }
  for (const [index, secret] of list.entries()) {
    if (typeof secret === "string" && secret.length >= SECRET_CHARS_MIN) continue;
    const found = typeof secret === "string" ? `${secret.length} characters` : `a ${typeof secret}`;
    throw new SessionError(
      "INVALID_OPTION",
      `Cannot use option secret (${index + 1} of ${list.length}): found ${found}, ` +
        `expected a string of at least ${SECRET_CHARS_MIN} characters`,
    );
  }
  return {
    cookie: list.map((secret) => derive(secret, "cookie")),
    token: list.map((secret) => derive(secret, "token")),
    psk: list.map((secret) => derive(secret, "psk")),
  };
}

/** The label carries a number: a change of what is signed becomes a new key, not a clash with the old one. */
function derive(secret: string, purpose: keyof SecretKeys): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, SALT, `sojourn ${purpose} 1`, KEY_BYTES));
}
