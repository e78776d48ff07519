/**
 * Writes and reads the fields of a frame: big-endian numbers, length-prefixed bytes and text. Every read checks its
 * bounds first, so no input can make the reader allocate more than it was sent or look outside its frame.
 */
import { SessionError } from "../../core/errors.ts";
import type { OperationId, SessionKey } from "../../core/ids.ts";
import type { Epoch, Version } from "../../core/version.ts";

/** Counters and ids that must survive a double: 2^48 commits in one epoch are out of reach. */
const U48_MAX = 2 ** 48 - 1;
const KEY_BYTES = 32;
const OPERATION_ID_BYTES = 18;
const EPOCH_BYTES = 8;

export class Writer {
  #bytes: Buffer;
  #length = 0;

  constructor(sizeHint = 128) {
    this.#bytes = Buffer.allocUnsafe(sizeHint);
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#bytes[at] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#bytes.writeUInt16BE(value, at);
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    this.#bytes.writeUInt32BE(value, at);
    return this;
  }

  u48(value: number): this {
    const at = this.#grow(6);
    this.#bytes.writeUIntBE(value, at, 6);
    return this;
  }

  f64(value: number): this {
    const at = this.#grow(8);
    this.#bytes.writeDoubleBE(value, at);
    return this;
  }

  /** As they are: the reader knows how many. */
  raw(bytes: Uint8Array): this {
    const at = this.#grow(bytes.byteLength);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** u32 length, then the bytes. */
  blob(bytes: Uint8Array): this {
    return this.u32(bytes.byteLength).raw(bytes);
  }

  /** u32 length in bytes, then UTF-8. */
  text(text: string): this {
    const length = Buffer.byteLength(text);
    const at = this.#grow(4 + length);
    this.#bytes.writeUInt32BE(length, at);
    this.#bytes.write(text, at + 4, length, "utf8");
    return this;
  }

  key(key: SessionKey): this {
    return this.#base64url(key, KEY_BYTES, "session key");
  }

  operationId(id: OperationId): this {
    return this.#base64url(id, OPERATION_ID_BYTES, "operation id");
  }

  version(version: Version): this {
    const at = this.#grow(EPOCH_BYTES);
    if (
      version.epoch.length !== 2 * EPOCH_BYTES ||
      this.#bytes.write(version.epoch, at, "hex") !== EPOCH_BYTES
    ) {
      throw new SessionError("INVALID_OPTION", "Cannot send a version: its epoch is not 16 hex characters");
    }
    if (!Number.isSafeInteger(version.counter) || version.counter < 0 || version.counter > U48_MAX) {
      throw new SessionError(
        "INVALID_OPTION",
        "Cannot send a version: its counter is not a whole number below 2^48",
      );
    }
    return this.u48(version.counter);
  }

  /** A presence byte, then the value when it is there. */
  optional<T>(value: T | null | undefined, write: (value: T) => void): this {
    this.u8(value === null || value === undefined ? 0 : 1);
    if (value !== null && value !== undefined) write(value);
    return this;
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Makes room and returns where it begins. */
  #grow(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#length, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
    }
    return at;
  }

  #base64url(text: string, byteCount: number, what: string): this {
    const at = this.#grow(byteCount);
    const complete =
      text.length === Math.ceil((byteCount * 4) / 3) &&
      this.#bytes.write(text, at, "base64url") === byteCount;
    if (!complete) {
      throw new SessionError(
        "INVALID_OPTION",
        `Cannot send the ${what}: it is not ${byteCount} bytes in base64url`,
      );
    }
    return this;
  }
}

export class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.#bytes[this.#take(1)] as number;
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  u48(): number {
    return this.#bytes.readUIntBE(this.#take(6), 6);
  }

  /** Never NaN: it would make every later comparison false. */
  f64(): number {
    const value = this.#bytes.readDoubleBE(this.#take(8));
    if (Number.isNaN(value)) throw invalidFrame("a time is not a number");
    return value;
  }

  /** A view, valid as long as the frame is. */
  raw(count: number): Buffer {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  blob(): Buffer {
    return this.raw(this.u32());
  }

  text(bytesMax: number): string {
    const length = this.u32();
    if (length > bytesMax) throw invalidFrame(`a text of ${length} bytes where ${bytesMax} are allowed`);
    const at = this.#take(length);
    return this.#bytes.toString("utf8", at, at + length);
  }

  key(): SessionKey {
    const at = this.#take(KEY_BYTES);
    return this.#bytes.toString("base64url", at, at + KEY_BYTES) as SessionKey;
  }

  operationId(): OperationId {
    const at = this.#take(OPERATION_ID_BYTES);
    return this.#bytes.toString("base64url", at, at + OPERATION_ID_BYTES) as OperationId;
  }

  version(): Version {
    const at = this.#take(EPOCH_BYTES);
    return { epoch: this.#bytes.toString("hex", at, at + EPOCH_BYTES) as Epoch, counter: this.u48() };
  }

  optional<T>(read: () => T): T | undefined {
    const present = this.u8();
    if (present > 1) throw invalidFrame(`a presence byte of ${present}`);
    return present === 1 ? read() : undefined;
  }

  /** A count of things that take at least `bytesEach`, so a forged count cannot outgrow its frame. */
  count(bytesEach: number): number {
    const count = this.u32();
    if (count * bytesEach > this.left) throw invalidFrame(`${count} items announced in ${this.left} bytes`);
    return count;
  }

  /** Nothing may follow: what we do not understand must not be half-understood. */
  end(): void {
    if (this.left > 0) throw invalidFrame(`${this.left} bytes too many`);
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.#bytes.length - at) {
      throw invalidFrame(`${count} bytes expected, ${this.#bytes.length - at} left`);
    }
    this.#at = at + count;
    return at;
  }
}

export function invalidFrame(found: string): SessionError {
  return new SessionError("INVALID_FRAME", `Cannot read the frame: ${found}`);
}
