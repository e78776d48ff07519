/**
 * Numbers and texts of core/pack.ts. Numbers are LEB128: seven bits a byte, lowest first, in their shortest
 * form only. Texts begin with a number: twice the length in bytes, plus one when they are UTF-16 instead of
 * UTF-8. UTF-16 is for names with lone surrogates, which UTF-8 cannot hold, and for nothing else.
 */
import { isUtf8 } from "node:buffer";
import { SessionError } from "./errors.ts";

/** Where writing goes on. The buffer is known to be large enough: sizes are added up first. */
export interface WriteCursor {
  readonly bytes: Buffer;
  at: number;
}

/** A text measured once, for its size and for its writing. */
export interface PackedText {
  readonly text: string;
  readonly byteCount: number;
  readonly encoding: "latin1" | "utf8" | "utf16le";
}

const LONE_SURROGATE = /[\ud800-\udfff]/u;

export function packedText(text: string): PackedText {
  const byteCount = Buffer.byteLength(text);
  // A lone surrogate counts three bytes, so text of one byte a character has none.
  if (byteCount === text.length) return { text, byteCount, encoding: "latin1" };
  if (!LONE_SURROGATE.test(text)) return { text, byteCount, encoding: "utf8" };
  return { text, byteCount: 2 * text.length, encoding: "utf16le" };
}

export function textSize(text: PackedText): number {
  return numberSize(2 * text.byteCount) + text.byteCount;
}

export function writeText(to: WriteCursor, text: PackedText): void {
  writeNumber(to, 2 * text.byteCount + (text.encoding === "utf16le" ? 1 : 0));
  to.bytes.write(text.text, to.at, text.byteCount, text.encoding);
  to.at += text.byteCount;
}

/** @param value  a safe integer ≥ 0 */
export function numberSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

export function writeNumber(to: WriteCursor, value: number): void {
  let rest = value;
  while (rest >= 0x80) {
    to.bytes[to.at++] = 0x80 | (rest % 0x80);
    rest = Math.floor(rest / 0x80);
  }
  to.bytes[to.at++] = rest;
}

/** Signed numbers as unsigned ones, small ones staying small: 0, -1, 1, -2 … → 0, 1, 2, 3 … */
export function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value;
}

export function unzigzag(value: number): number {
  return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
}

/** Reads a part of a buffer from front to back. Each read checks its bounds first. */
export class PackReader {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;

  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get left(): number {
    return this.end - this.at;
  }

  number(): number {
    let value = 0;
    let scale = 1;
    while (this.at < this.end) {
      const byte = this.bytes[this.at++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && scale > 1) throw unreadableRecord("a number is not in its shortest form");
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      scale *= 0x80;
      if (scale > Number.MAX_SAFE_INTEGER) break;
    }
    throw unreadableRecord("a number is cut off or too large");
  }

  /** A number that must be the place of something in a list. */
  index(count: number): number {
    const index = this.number();
    if (index >= count) throw unreadableRecord("a reference points at nothing");
    return index;
  }

  /** A view of the next `count` bytes. */
  take(count: number): Buffer {
    return this.bytes.subarray(this.skip(count), this.at);
  }

  /** Passes `count` bytes and returns where they began. */
  skip(count: number): number {
    if (count > this.end - this.at) throw unreadableRecord("a length goes beyond the end");
    const begin = this.at;
    this.at += count;
    return begin;
  }

  text(): string {
    const header = this.number();
    const isUtf16 = header % 2 === 1;
    const byteCount = (header - (isUtf16 ? 1 : 0)) / 2;
    const begin = this.skip(byteCount);
    if (isUtf16) {
      if (byteCount % 2 === 1) throw unreadableRecord("half a character of UTF-16");
      return this.bytes.toString("utf16le", begin, this.at);
    }
    const text = this.bytes.toString("utf8", begin, this.at);
    // What is not UTF-8 reads as U+FFFD: two damaged names must not become one.
    if (text.includes("\ufffd") && !isUtf8(this.bytes.subarray(begin, this.at))) {
      throw unreadableRecord("a name is not UTF-8");
    }
    return text;
  }
}

/** @param found  never quotes what was read */
export function unreadableRecord(found: string): SessionError {
  return new SessionError("STORED_DATA_UNREADABLE", `Cannot read a stored session: ${found}`);
}
