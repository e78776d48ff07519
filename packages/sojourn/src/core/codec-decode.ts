/**
 * The reading half of core/codec.ts. Values that hold nothing JSON has no words for, nearly all, are done
 * after JSON.parse; the others are walked once. Never a reviver: it visits every member of every value,
 * several times slower.
 */
import { BIGINT_DIGITS_MAX, SPECIAL_NUMBERS, TAG, TAGGED, VALUE_DEPTH_MAX } from "./codec-tags.ts";
import { SessionError } from "./errors.ts";

/** A Map takes three levels of JSON, so this much text can be a value of VALUE_DEPTH_MAX levels. */
const JSON_DEPTH_MAX = 3 * VALUE_DEPTH_MAX + 1;

const SPACE = 0x20;
const BRACKET = 0x5b;
const BRACE = 0x7b;

/** @throws {SessionError} STORED_DATA_UNREADABLE */
export function decodeText(text: string): unknown {
  // Texts, numbers, true, false and null hold no keys.
  const first = text.charCodeAt(0);
  if (first !== BRACE && first !== BRACKET && first > SPACE) return parsed(text);
  // An escape may spell "$" or "_" otherwise, so with one in the text nothing about its keys is known.
  const isPlain = !text.includes("$") && !text.includes("\\") && !text.includes("__proto__");
  if (hasMoreBrackets(text, VALUE_DEPTH_MAX)) {
    // Before parsing: the text of a whole value of brackets would take seconds and a gigabyte.
    if (jsonDepth(text) > (isPlain ? VALUE_DEPTH_MAX : JSON_DEPTH_MAX)) throw unreadable("nested too deep");
  }
  const value = parsed(text);
  return isPlain ? value : revived(value, 0);
}

/** @param found  never quotes what was read */
export function unreadable(found: string): SessionError {
  return new SessionError("STORED_DATA_UNREADABLE", `Cannot read a stored value: ${found}`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not as the cause: its message quotes the text.
    throw unreadable("not JSON");
  }
}

function revived(value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    requireDepth(depth);
    for (let index = 0; index < value.length; index++) value[index] = revived(value[index], depth + 1);
    return value;
  }
  const source = value as Record<string, unknown>;
  return Object.hasOwn(source, TAG) ? tagged(source, depth) : plain(source, depth);
}

function plain(source: Record<string, unknown>, depth: number): Record<string, unknown> {
  requireDepth(depth);
  const keys = Object.keys(source);
  if (!keys.some((key) => key.charCodeAt(0) === 0x24 || key === "__proto__")) {
    for (const key of keys) source[key] = revived(source[key], depth + 1);
    return source;
  }
  // Built anew, so that unescaped keys keep their place among the others.
  const target: Record<string, unknown> = {};
  for (const key of keys) {
    if (key === "__proto__") continue;
    if (key.charCodeAt(0) !== 0x24) target[key] = revived(source[key], depth + 1);
    else if (key.charCodeAt(1) === 0x24) target[key.slice(1)] = revived(source[key], depth + 1);
    else throw unreadable("a key that begins with a single $");
  }
  return target;
}

function tagged(source: Record<string, unknown>, depth: number): unknown {
  const tag = source[TAG];
  const size = Object.keys(source).length;
  if (tag === "undefined" && size === 1) return undefined;
  if (size !== 2 || !Object.hasOwn(source, TAGGED)) throw unreadable("a tag with other keys than its value");
  const value = source[TAGGED];
  switch (tag) {
    case "Date":
      return date(value);
    case "Map":
      return map(value, depth);
    case "Set":
      return set(value, depth);
    case "BigInt":
      return bigint(value);
    case "Bytes": {
      const buffer = bytes(value);
      return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    }
    case "Buffer":
      return bytes(value);
    case "Number":
      if (typeof value === "string" && Object.hasOwn(SPECIAL_NUMBERS, value)) return SPECIAL_NUMBERS[value];
      throw unreadable("a malformed Number");
    default:
      throw unreadable("a tag this release does not know");
  }
}

function date(value: unknown): Date {
  if (value === null) return new Date(Number.NaN);
  const at = typeof value === "number" ? new Date(value) : undefined;
  // Also refuses fractions and times out of range, which Date would change.
  if (!at || at.getTime() !== value) throw unreadable("a malformed Date");
  return at;
}

function map(value: unknown, depth: number): Map<unknown, unknown> {
  requireDepth(depth);
  if (!Array.isArray(value)) throw unreadable("a malformed Map");
  const result = new Map<unknown, unknown>();
  for (const entry of value) {
    if (!Array.isArray(entry) || entry.length !== 2) throw unreadable("a malformed Map");
    result.set(revived(entry[0], depth + 1), revived(entry[1], depth + 1));
  }
  if (result.size !== value.length) throw unreadable("a Map with a key twice");
  return result;
}

function set(value: unknown, depth: number): Set<unknown> {
  requireDepth(depth);
  if (!Array.isArray(value)) throw unreadable("a malformed Set");
  const result = new Set<unknown>();
  for (const item of value) result.add(revived(item, depth + 1));
  if (result.size !== value.length) throw unreadable("a Set with an item twice");
  return result;
}

const BIGINT_PATTERN = /^(?:0|-?[1-9][0-9]*)$/;

function bigint(value: unknown): bigint {
  const isWritten =
    typeof value === "string" && value.length <= BIGINT_DIGITS_MAX + 1 && BIGINT_PATTERN.test(value);
  if (!isWritten) throw unreadable("a malformed BigInt");
  return BigInt(value);
}

/** In memory of its own: the caller may keep and change it. */
function bytes(value: unknown): Buffer {
  if (typeof value !== "string") throw unreadable("malformed bytes");
  const buffer = Buffer.allocUnsafeSlow(Buffer.byteLength(value, "base64"));
  const length = buffer.write(value, "base64");
  // Base64 reading forgives anything; only what it would write itself is accepted.
  if (length !== buffer.length || buffer.toString("base64") !== value) throw unreadable("malformed bytes");
  return buffer;
}

function requireDepth(depth: number): void {
  if (depth >= VALUE_DEPTH_MAX) throw unreadable("nested too deep");
}

/** Cheap for the usual value, which has fewer brackets altogether than levels are allowed. */
function hasMoreBrackets(text: string, max: number): boolean {
  let count = 0;
  for (const bracket of ["[", "{"]) {
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1)) {
      if (++count > max) return true;
    }
  }
  return false;
}

/**
 * Levels of brackets outside strings. Text that is not JSON gives some number; the parser refuses it later.
 */
function jsonDepth(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (inString) {
      if (code === 0x5c) at++;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x5b || code === 0x7b) {
      if (++depth > deepest) deepest = depth;
    } else if (code === 0x5d || code === 0x7d) depth--;
  }
  return deepest;
}
