/**
 * Values as bytes: one codec byte, then tagged JSON in UTF-8. Readable in a dump and by other languages, and
 * unlike plain JSON it changes nothing on the way: what cannot come back as it was is refused, naming
 * attribute and path.
 *
 * Carried: null, booleans, strings (lone surrogates too), numbers (NaN, ±Infinity and -0 too), undefined,
 * BigInt, Date (invalid too), Map, Set, Uint8Array, Buffer (each comes back as what it was), arrays, plain
 * objects.
 * - A plain object has the prototype of an object literal of any realm, or none; it comes back with the usual
 *   one. Everything else with a prototype of its own is refused, and `toJSON` is never called: it is code of
 *   yesterday's release.
 * - Refused too: functions, symbols, symbol keys, holes in arrays, named properties of arrays, dates, maps
 *   and sets, cycles, more than VALUE_DEPTH_MAX levels, BigInts of more than BIGINT_DIGITS_MAX digits.
 * - A getter is read once and what it gives is stored. Non-enumerable properties are not data. An object
 *   reached on two ways comes back twice. Own `__proto__` keys are dropped, here and when reading.
 *
 * What JSON has no words for is an object whose first key is `$t`: `{"$t":"Date","v":0}`. A caller's own keys
 * that begin with `$` get one `$` more, so the two never meet.
 *
 * The same value gives the same bytes as long as its keys were added in the same order, and encode(decode(b))
 * is b again for every b that encode made: changes are found by comparing bytes.
 */
import { isUtf8 } from "node:buffer";
import { decodeText, unreadable } from "./codec-decode.ts";
import { encodeText, valueTooLarge } from "./codec-encode.ts";
import { VALUE_BYTES_MAX } from "./codec-tags.ts";

export { BIGINT_DIGITS_MAX, VALUE_BYTES_MAX, VALUE_DEPTH_MAX } from "./codec-tags.ts";

export interface Codec {
  /**
   * @param attribute  its name, for messages
   * @returns          at most VALUE_BYTES_MAX bytes; never changed by anyone from then on
   * @throws {SessionError} UNSUPPORTED_VALUE; SESSION_TOO_LARGE over VALUE_BYTES_MAX. No message holds a
   *           value.
   */
  encode(value: unknown, attribute: string): Uint8Array;
  /**
   * @returns a fresh value that shares nothing with `bytes`
   * @throws {SessionError} STORED_DATA_UNREADABLE
   */
  decode(bytes: Uint8Array): unknown;
}

/** First of all encoded bytes: another way of writing values gets another one, so one store can hold both. */
export const JSON_CODEC_BYTE = 1;

export const jsonCodec: Codec = {
  encode(value, attribute) {
    const text = encodeText(value, attribute);
    const length = Buffer.byteLength(text);
    if (length >= VALUE_BYTES_MAX) throw valueTooLarge(attribute);
    const bytes = Buffer.allocUnsafe(1 + length);
    bytes[0] = JSON_CODEC_BYTE;
    // One byte a character: no transcoding needed.
    bytes.write(text, 1, length, length === text.length ? "latin1" : "utf8");
    return bytes;
  },

  decode(bytes) {
    if (bytes.byteLength > VALUE_BYTES_MAX)
      throw unreadable(`${bytes.byteLength} bytes, more than a value can have`);
    if (bytes[0] !== JSON_CODEC_BYTE) throw unreadable("another codec wrote it");
    const view = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const text = view.toString("utf8", 1);
    // What is not UTF-8 reads as U+FFFD, so only text with one needs the real check.
    if (text.includes("\ufffd") && !isUtf8(view)) throw unreadable("not UTF-8");
    return decodeText(text);
  },
};
