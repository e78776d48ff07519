/**
 * TLS 1.3 with a pre-shared key: both sides prove that they hold the domain's secret, and there are no certificates to
 * issue, renew or forget. A captured secret does not open recorded traffic: the handshake adds an ephemeral exchange.
 *
 * Source: RFC 8446 §4.2.11, §2.2; Node's `pskCallback`.
 */
import { createHmac } from "node:crypto";
import type { ConnectionOptions, TLSSocket, TlsOptions } from "node:tls";
import { SessionError } from "../../core/errors.ts";

export interface Security {
  readonly domain: string;
  /** Newest first. A server accepts each; a client begins with the newest. */
  readonly keys: readonly Buffer[];
}

const IDENTITY_PREFIX = "sojourn1";

/** The 128-bit suite first: with a SHA-256 key the alternative is ChaCha20, three times slower where AES is in hardware. */
const CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";

/** Tells keys apart without saying anything about them. */
export function keyId(key: Buffer): string {
  return createHmac("sha256", key).update("sojourn psk id").digest("hex").slice(0, 16);
}

/** Names the domain for the other side's log; the key decides. The domain itself is checked in the hello, in words. */
export function pskIdentity(domain: string, key: Buffer): string {
  return `${IDENTITY_PREFIX}:${domain}:${keyId(key)}`;
}

export function serverOptions(security: Security, handshakeTimeoutMs: number): TlsOptions {
  const keys = new Map(security.keys.map((key) => [keyId(key), key]));
  return {
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    ciphers: CIPHERS,
    handshakeTimeout: handshakeTimeoutMs,
    pskCallback: (_socket: TLSSocket, identity: string) => {
      const [prefix, , id, ...rest] = identity.split(":");
      return prefix === IDENTITY_PREFIX && id !== undefined && rest.length === 0
        ? (keys.get(id) ?? null)
        : null;
    },
  };
}

export function clientOptions(domain: string, key: Buffer): ConnectionOptions {
  return {
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    ciphers: CIPHERS,
    pskCallback: () => ({ identity: pskIdentity(domain, key), psk: key }),
    // With a key there is no certificate. Whoever presents one instead has not proved the secret, whoever vouches for it.
    checkServerIdentity: (_host, certificate) =>
      Object.keys(certificate ?? {}).length === 0
        ? undefined
        : new Error("a certificate in the place of the secret"),
  };
}

/**
 * What OpenSSL says when the secrets differ. Only the ends of its codes: OpenSSL 3.5 (Node 24) writes
 * ERR_SSL_SSL/TLS_ALERT_… where older ones wrote ERR_SSL_SSLV3_ALERT_… and ERR_SSL_TLSV1_ALERT_….
 */
const WRONG_SECRET_CODE =
  /(BINDER_DOES_NOT_VERIFY|NO_SUITABLE_SIGNATURE_ALGORITHM|ALERT_(ILLEGAL_PARAMETER|HANDSHAKE_FAILURE|DECRYPT_ERROR))$/;

/** True when a TLS error means that the two sides do not hold the same secret. */
export function isWrongSecret(error: NodeJS.ErrnoException): boolean {
  return WRONG_SECRET_CODE.test(error.code ?? "") || error.message.includes("in the place of the secret");
}

/** The bytes on the line were no TLS at all. */
export function isNotTls(error: NodeJS.ErrnoException): boolean {
  return (
    error.code === "ERR_SSL_WRONG_VERSION_NUMBER" ||
    error.code === "ERR_SSL_HTTP_REQUEST" ||
    error.code === "ERR_SSL_PACKET_LENGTH_TOO_LONG" ||
    error.code === "ERR_SSL_UNEXPECTED_MESSAGE"
  );
}

/** @param attempt  "Cannot connect with 127.0.0.1:5701" */
export function wrongSecret(attempt: string, domain: string, cause?: unknown): SessionError {
  return new SessionError("WRONG_SECRET", `${attempt}: wrong secret for domain "${domain}"`, { cause });
}
