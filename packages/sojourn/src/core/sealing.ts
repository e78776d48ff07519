/**
 * Attribute values as only holders of a key can read them: AES-256-GCM, one fresh nonce per value.
 *
 *   0xE1 · key id (8 bytes, padded with zeros) · nonce (12) · ciphertext (as long as the value) · tag (16)
 *
 * The cipher's key is derived for each session (HMAC of the store key), so random nonces only have to differ within one
 * session and no key ever nears the 2^32 values that NIST SP 800-38D allows it. Header, store key and attribute name are
 * authenticated: a value that is put under another name or into another session does not open. What cannot be seen is a
 * value of the same attribute put back to what it was before.
 *
 * Whatever does not open is refused, never taken as it is and never taken for absent.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync } from "node:crypto";
import type { Clock } from "./clock.ts";
import { SessionError } from "./errors.ts";
import type { SessionKey } from "./ids.ts";

export interface EncryptionKey {
  /** Stands in front of every value, readable: "2026-11". 1..8 of A–Z a–z 0–9 _ . - and never used again for another key. */
  readonly id: string;
  /** At least 32 random bytes, or text of at least 32 characters (`openssl rand -base64 32`). Never used as it is: HKDF. */
  readonly key: string | Uint8Array;
}

/** Text of 32 base64 characters still carries 192 bits; bytes are taken to be random. */
export const ENCRYPTION_KEY_LENGTH_MIN = 32;

const MARK = 0xe1;
const KEY_ID_BYTES = 8;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + KEY_ID_BYTES;
const VALUE_AT = HEADER_BYTES + NONCE_BYTES;
/** What a value grows by. */
export const SEAL_BYTES = VALUE_AT + TAG_BYTES;

const KEY_ID_PATTERN = /^[A-Za-z0-9_.-]{1,8}$/;
const CIPHER = "aes-256-gcm";

interface MasterKey {
  readonly id: string;
  /** Mark and padded id. */
  readonly header: Buffer;
  readonly key: Buffer;
}

export class Sealing {
  readonly #keys: readonly MasterKey[];
  readonly #clock: Pick<Clock, "randomBytes">;

  /** @throws {SessionError} INVALID_OPTION; the message holds no key */
  constructor(keys: readonly EncryptionKey[], clock: Pick<Clock, "randomBytes">) {
    this.#keys = masterKeys(keys);
    this.#clock = clock;
  }

  /** For the values of one session; cheap to make, not to be kept. */
  session(key: SessionKey): SessionSeal {
    return new SessionSeal(this.#keys, this.#clock, key);
  }
}

export class SessionSeal {
  readonly #keys: readonly MasterKey[];
  readonly #clock: Pick<Clock, "randomBytes">;
  readonly #session: SessionKey;
  /** Derived when first needed: most sessions need one. */
  readonly #derived = new Map<MasterKey, Buffer>();

  constructor(keys: readonly MasterKey[], clock: Pick<Clock, "randomBytes">, session: SessionKey) {
    this.#keys = keys;
    this.#clock = clock;
    this.#session = session;
  }

  seal(name: string, value: Uint8Array): Buffer {
    const master = this.#keys[0]!;
    const nonce = this.#clock.randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#keyFrom(master), nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(this.#bound(master.header, name));
    const ciphertext = cipher.update(value);
    cipher.final();
    return Buffer.concat([master.header, nonce, ciphertext, cipher.getAuthTag()]);
  }

  /** @throws {SessionError} STORED_DATA_UNREADABLE */
  open(name: string, sealed: Uint8Array): Buffer {
    const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
    if (bytes.length < SEAL_BYTES || bytes[0] !== MARK) throw unreadable(name, "it is not encrypted");
    const header = bytes.subarray(0, HEADER_BYTES);
    const master = this.#keys.find((each) => each.header.equals(header));
    if (!master)
      throw unreadable(name, `it is encrypted with ${keyText(header)}, which is not among \`keys\``);
    const decipher = createDecipheriv(
      CIPHER,
      this.#keyFrom(master),
      bytes.subarray(HEADER_BYTES, VALUE_AT),
      // Stated, because a tag cut to four bytes would otherwise be taken.
      { authTagLength: TAG_BYTES },
    );
    decipher.setAAD(this.#bound(header, name));
    decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
    const value = decipher.update(bytes.subarray(VALUE_AT, bytes.length - TAG_BYTES));
    try {
      decipher.final();
    } catch {
      throw unreadable(
        name,
        `it was changed or moved after it was stored, or key "${master.id}" is another one than then`,
      );
    }
    return value;
  }

  #keyFrom(master: MasterKey): Buffer {
    let key = this.#derived.get(master);
    if (!key) {
      key = createHmac("sha256", master.key).update(this.#session).digest();
      this.#derived.set(master, key);
    }
    return key;
  }

  /** The store key has a fixed length, so no two combinations give the same bytes. */
  #bound(header: Buffer, name: string): Buffer {
    return Buffer.concat([header, Buffer.from(`${this.#session}${name}`)]);
  }
}

/** What a sealed value tells without a key, for tools that show stored sessions. Null: it is not sealed. */
export function sealedWith(
  value: Uint8Array,
): { readonly keyId: string; readonly valueBytes: number } | null {
  if (value.byteLength < SEAL_BYTES || value[0] !== MARK) return null;
  const keyId = keyIdOf(value);
  return KEY_ID_PATTERN.test(keyId) ? { keyId, valueBytes: value.byteLength - SEAL_BYTES } : null;
}

function keyIdOf(value: Uint8Array): string {
  return Buffer.from(value.subarray(1, HEADER_BYTES)).toString("latin1").replace(/\0+$/, "");
}

/** What stands in a store may be anything: only what could be an id is repeated. */
function keyText(header: Uint8Array): string {
  const id = keyIdOf(header);
  return KEY_ID_PATTERN.test(id) ? `key "${id}"` : "a key whose id is damaged";
}

function unreadable(name: string, found: string): SessionError {
  return new SessionError(
    "STORED_DATA_UNREADABLE",
    `Cannot read attribute ${JSON.stringify(name.slice(0, 64))}: ${found}`,
  );
}

function masterKeys(keys: readonly EncryptionKey[]): MasterKey[] {
  if (!Array.isArray(keys) || keys.length === 0) {
    throw new SessionError(
      "INVALID_OPTION",
      "Cannot use option keys: none given, expected a list, newest first",
    );
  }
  const ids = new Set<string>();
  return keys.map((entry: EncryptionKey | undefined, index) => {
    const refused = (what: string, found: string, expected: string) =>
      new SessionError(
        "INVALID_OPTION",
        `Cannot use option keys (${index + 1} of ${keys.length}): ${what} ${found}, expected ${expected}`,
      );
    const { id, key } = entry ?? ({} as Partial<EncryptionKey>);
    if (typeof id !== "string" || !KEY_ID_PATTERN.test(id)) {
      const found = typeof id === "string" ? JSON.stringify(id.slice(0, 16)) : `a ${typeof id}`;
      throw refused("id is", found, "1..8 of A-Z a-z 0-9 _ . -");
    }
    if (ids.has(id)) throw refused("id is", `"${id}" once more`, "each id once");
    ids.add(id);
    const isKey = typeof key === "string" || key instanceof Uint8Array;
    if (!isKey || key.length < ENCRYPTION_KEY_LENGTH_MIN) {
      const unit = typeof key === "string" ? "characters" : "bytes";
      const found = isKey ? `${key.length} ${unit}` : `a ${typeof key}`;
      const expected = `bytes or a string of at least ${ENCRYPTION_KEY_LENGTH_MIN}`;
      throw refused("key has", found, expected);
    }
    const header = Buffer.alloc(HEADER_BYTES);
    header[0] = MARK;
    header.write(id, 1, "latin1");
    return { id, header, key: Buffer.from(hkdfSync("sha256", key, "sojourn", "sojourn attributes 1", 32)) };
  });
}
