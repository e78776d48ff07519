/**
 * The freshness token: tells a server which write this browser has seen last, so that a copy which contains
 * it can be served without asking. A hint and never an authority: nobody gains rights by one, and without one
 * a read costs a round trip. Signed all the same, so that no client can claim writes that never were and keep
 * every server waiting for them.
 *
 * Bound to the session: a token taken from one session proves nothing about another.
 *
 * Layout, 39 bytes, in base64url 52 characters without a spare bit, so each token has one spelling:
 *   key id 1 · epoch 8 · counter 6 · physical ms 6 · logical 4 · HMAC-SHA256 of these and the session key, cut to 14
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { SessionKey } from "./ids.ts";
import type { Epoch, Version } from "./version.ts";

export interface FreshnessToken {
  readonly version: Version;
  /**
   * Of that commit's stamp. The member is left out: it only breaks ties between two writers of one moment.
   */
  readonly physicalMs: number;
  readonly logical: number;
}

const EPOCH_AT = 1;
const COUNTER_AT = 9;
const PHYSICAL_AT = 15;
const LOGICAL_AT = 21;
const MAC_AT = 25;
/** 112 bits: guessing is out of reach, and a right guess would cost the server one round trip. */
const MAC_BYTES = 14;
const TOKEN_BYTES = MAC_AT + MAC_BYTES;
const TOKEN_CHARS = (TOKEN_BYTES / 3) * 4;
const TOKEN_PATTERN = /^[A-Za-z0-9_-]{52}$/;
const EPOCH_PATTERN = /^[0-9a-f]{16}$/;
const U32_MAX = 2 ** 32 - 1;
const U48_MAX = 2 ** 48 - 1;

/**
 * @param keys  newest first; the first signs (`deriveKeys(…).token`)
 * @throws {RangeError} when a number does not fit its field: counter and physicalMs < 2^48, logical < 2^32
 */
export function signToken(token: FreshnessToken, sessionKey: SessionKey, keys: readonly Buffer[]): string {
  const { version, physicalMs, logical } = token;
  const key = keys[0];
  if (!key) throw new RangeError("Cannot sign a freshness token: no key");
  if (!EPOCH_PATTERN.test(version.epoch)) {
    throw new RangeError("Cannot sign a freshness token: its epoch is not 16 lower-case hex characters");
  }
  requireWithin("counter", version.counter, U48_MAX);
  requireWithin("physicalMs", physicalMs, U48_MAX);
  requireWithin("logical", logical, U32_MAX);
  const bytes = Buffer.allocUnsafe(TOKEN_BYTES);
  bytes[0] = keyIdOf(key);
  bytes.write(version.epoch, EPOCH_AT, "hex");
  bytes.writeUIntBE(version.counter, COUNTER_AT, 6);
  bytes.writeUIntBE(physicalMs, PHYSICAL_AT, 6);
  bytes.writeUInt32BE(logical, LOGICAL_AT);
  macOf(bytes, sessionKey, key).copy(bytes, MAC_AT, 0, MAC_BYTES);
  return bytes.toString("base64url");
}

/**
 * @param keys  every key still accepted
 * @returns     null for anything this domain did not sign for this session
 */
export function verifyToken(
  text: string,
  sessionKey: SessionKey,
  keys: readonly Buffer[],
): FreshnessToken | null {
  if (text.length !== TOKEN_CHARS || !TOKEN_PATTERN.test(text)) return null;
  const bytes = Buffer.from(text, "base64url");
  for (const key of keys) {
    if (keyIdOf(key) !== bytes[0]) continue;
    const mac = macOf(bytes, sessionKey, key).subarray(0, MAC_BYTES);
    if (!timingSafeEqual(mac, bytes.subarray(MAC_AT))) continue;
    return {
      version: {
        epoch: bytes.toString("hex", EPOCH_AT, COUNTER_AT) as Epoch,
        counter: bytes.readUIntBE(COUNTER_AT, 6),
      },
      physicalMs: bytes.readUIntBE(PHYSICAL_AT, 6),
      logical: bytes.readUInt32BE(LOGICAL_AT),
    };
  }
  return null;
}

/** Fixed-length fields first, so no session key can be read as part of them. */
function macOf(bytes: Buffer, sessionKey: SessionKey, key: Buffer): Buffer {
  return createHmac("sha256", key).update(bytes.subarray(0, MAC_AT)).update(sessionKey).digest();
}

const keyIds = new WeakMap<Buffer, number>();

/**
 * Spares the HMAC for tokens of keys long gone. Says nothing about the key: it is one byte of another HMAC
 * under it.
 */
function keyIdOf(key: Buffer): number {
  let id = keyIds.get(key);
  if (id === undefined) {
    id = createHmac("sha256", key).update("key id").digest()[0] as number;
    keyIds.set(key, id);
  }
  return id;
}

function requireWithin(what: string, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw new RangeError(`Cannot sign a freshness token: ${what} is ${value}, expected 0..${max}`);
  }
}
