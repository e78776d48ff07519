/**
 * The writing half of core/codec.ts: one pass that checks and writes at once, so every property is read
 * exactly once and nothing can change between the check and the writing. About as fast as the same checks
 * followed by JSON.stringify.
 */
import { BIGINT_DIGITS_MAX, VALUE_BYTES_MAX, VALUE_DEPTH_MAX } from "./codec-tags.ts";
import { SessionError } from "./errors.ts";

/** @throws {SessionError} UNSUPPORTED_VALUE, SESSION_TOO_LARGE */
export function encodeText(value: unknown, attribute: string): string {
  const encoding = new Encoding(attribute);
  try {
    return encoding.text(value, 0);
  } catch (error) {
    if (error instanceof SessionError) throw error;
    throw encoding.unsupported("cannot be read: a getter or a proxy threw", { cause: error });
  }
}

/** Also for the final size in bytes, which only the caller knows. */
export function valueTooLarge(attribute: string): SessionError {
  return new SessionError(
    "SESSION_TOO_LARGE",
    `Cannot store attribute ${shownName(attribute)}: its value is larger than ${VALUE_BYTES_MAX} bytes`,
  );
}

/** A way into a container: property name, array index, or the entry of a map or set. */
type Step = string | number | { readonly entry: string };

class Encoding {
  readonly #attribute: string;
  /** `#steps[d]` leads from the container `#containers[d]` to the value being written. */
  readonly #steps: Step[] = [];
  readonly #containers: object[] = [];
  #depth = 0;
  /**
   * The text will have at least so many characters. Checked on the way: shared branches may multiply without
   * bound.
   */
  #chars = 0;

  constructor(attribute: string) {
    this.#attribute = attribute;
  }

  text(value: unknown, depth: number): string {
    this.#count(1);
    switch (typeof value) {
      case "string":
        this.#count(value.length);
        return quoted(value);
      case "number":
        return Number.isFinite(value) && !Object.is(value, -0) ? `${value}` : this.#specialNumber(value);
      case "boolean":
        return value ? "true" : "false";
      case "undefined":
        return '{"$t":"undefined"}';
      case "bigint":
        return this.#bigint(value);
      case "object":
        return value === null ? "null" : this.#object(value, depth);
      default:
        throw this.unsupported(`is a ${typeof value}`);
    }
  }

  unsupported(found: string, options?: ErrorOptions): SessionError {
    const attribute = shownName(this.#attribute);
    const path = shownPath(this.#attribute, this.#steps.slice(0, this.#depth));
    return new SessionError(
      "UNSUPPORTED_VALUE",
      `Cannot store attribute ${attribute}: ${path} ${found}`,
      options,
    );
  }

  #object(value: object, depth: number): string {
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype === Object.prototype || prototype === null) return this.#plain(value, depth);
    if (Array.isArray(value)) {
      // The array prototype of any realm is itself an array; that of a subclass is not.
      if (prototype !== Array.prototype && !Array.isArray(prototype)) throw this.#instance(value);
      return this.#array(value, depth);
    }
    if (prototype === Date.prototype && hasSlots(() => Date.prototype.getTime.call(value))) {
      this.#refuseProperties(value, "a Date");
      const time = Date.prototype.getTime.call(value);
      return `{"$t":"Date","v":${Number.isNaN(time) ? null : time}}`;
    }
    if (prototype === Map.prototype && hasSlots(() => Map.prototype.has.call(value, 0))) {
      return this.#map(value as Map<unknown, unknown>, depth);
    }
    if (prototype === Set.prototype && hasSlots(() => Set.prototype.has.call(value, 0))) {
      return this.#set(value as Set<unknown>, depth);
    }
    if (ArrayBuffer.isView(value)) {
      if (prototype === Buffer.prototype) return this.#bytes(value, "Buffer");
      if (prototype === Uint8Array.prototype) return this.#bytes(value, "Bytes");
    }
    if (isForeignObjectPrototype(prototype as object)) return this.#plain(value, depth);
    throw this.#instance(value);
  }

  #plain(value: object, depth: number): string {
    this.#enter(value, depth);
    let text = "{";
    for (const key of Object.keys(value)) {
      if (key === "__proto__") continue;
      this.#steps[depth] = key;
      this.#depth = depth + 1;
      this.#count(key.length);
      const item = this.text((value as Record<string, unknown>)[key], depth + 1);
      text += text === "{" ? quotedKey(key) + item : `,${quotedKey(key)}${item}`;
    }
    this.#depth = depth;
    this.#refuseSymbols(value);
    return `${text}}`;
  }

  #array(value: readonly unknown[], depth: number): string {
    this.#enter(value, depth);
    let text = "[";
    for (let index = 0; index < value.length; index++) {
      this.#steps[depth] = index;
      this.#depth = depth + 1;
      const item = value[index];
      if (item === undefined && !Object.hasOwn(value, index)) throw this.unsupported("is a hole in an array");
      if (index > 0) this.#count(1);
      text += `${index > 0 ? "," : ""}${this.text(item, depth + 1)}`;
    }
    this.#depth = depth;
    if (Object.keys(value).length > value.length) throw this.unsupported("is an array with named properties");
    this.#refuseSymbols(value);
    return `${text}]`;
  }

  #map(value: Map<unknown, unknown>, depth: number): string {
    this.#enter(value, depth);
    this.#refuseProperties(value, "a Map");
    let text = '{"$t":"Map","v":[';
    let index = 0;
    for (const [key, item] of Map.prototype.entries.call(value)) {
      this.#depth = depth + 1;
      this.#steps[depth] = { entry: `<key ${index}>` };
      text += `${index > 0 ? "," : ""}[${this.text(key, depth + 1)}`;
      this.#depth = depth + 1;
      this.#steps[depth] = { entry: `<value ${index}>` };
      text += `,${this.text(item, depth + 1)}]`;
      index++;
    }
    this.#depth = depth;
    return `${text}]}`;
  }

  #set(value: Set<unknown>, depth: number): string {
    this.#enter(value, depth);
    this.#refuseProperties(value, "a Set");
    let text = '{"$t":"Set","v":[';
    let index = 0;
    for (const item of Set.prototype.values.call(value)) {
      this.#depth = depth + 1;
      this.#steps[depth] = { entry: `<item ${index}>` };
      text += `${index > 0 ? "," : ""}${this.text(item, depth + 1)}`;
      index++;
    }
    this.#depth = depth;
    return `${text}]}`;
  }

  #bytes(view: ArrayBufferView, tag: "Bytes" | "Buffer"): string {
    this.#count(view.byteLength);
    const base64 = Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString("base64");
    return `{"$t":"${tag}","v":"${base64}"}`;
  }

  #bigint(value: bigint): string {
    if (value >= BIGINT_LIMIT || value <= -BIGINT_LIMIT) {
      throw this.unsupported(`is a BigInt of more than ${BIGINT_DIGITS_MAX} digits`);
    }
    const digits = value.toString();
    this.#count(digits.length);
    return `{"$t":"BigInt","v":"${digits}"}`;
  }

  #specialNumber(value: number): string {
    return `{"$t":"Number","v":"${Object.is(value, -0) ? "-0" : value}"}`;
  }

  #enter(container: object, depth: number): void {
    this.#containers[depth] = container;
    this.#count(1);
    if (depth < VALUE_DEPTH_MAX) return;
    // A cycle always ends up here, so nothing needs to look for one on the way.
    const begin = this.#containers.findIndex((each, at) => this.#containers.indexOf(each, at + 1) > at);
    if (begin < 0) throw this.unsupported(`is nested deeper than ${VALUE_DEPTH_MAX} levels`);
    this.#depth = this.#containers.indexOf(this.#containers[begin] as object, begin + 1);
    throw this.unsupported("is a cycle: it contains itself");
  }

  /** On what has no place for them in its text: they would be lost without a word. */
  #refuseProperties(value: object, what: string): void {
    if (Object.keys(value).length > 0) throw this.unsupported(`is ${what} with properties of its own`);
    this.#refuseSymbols(value);
  }

  #refuseSymbols(value: object): void {
    const symbols = Object.getOwnPropertySymbols(value);
    if (symbols.length === 0) return;
    if (symbols.some((symbol) => Object.prototype.propertyIsEnumerable.call(value, symbol))) {
      throw this.unsupported("has a symbol as a key");
    }
  }

  #instance(value: object): SessionError {
    return this.unsupported(`is an instance of ${classNameOf(value)}`);
  }

  #count(chars: number): void {
    this.#chars += chars;
    if (this.#chars > VALUE_BYTES_MAX) throw valueTooLarge(this.#attribute);
  }
}

const BIGINT_LIMIT = 10n ** BigInt(BIGINT_DIGITS_MAX);

/** Up to here looking at each character is cheaper than the call. */
const SHORT_CHARS = 32;

/** Quotes, backslashes and controls are escaped by JSON; lone surrogates, too, so that they survive UTF-8. */
function quoted(text: string): string {
  if (text.length > SHORT_CHARS) return JSON.stringify(text);
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || code === 0x22 || code === 0x5c || (code >= 0xd800 && code < 0xe000)) {
      return JSON.stringify(text);
    }
  }
  return `"${text}"`;
}

const QUOTED_KEYS_MAX = 1024;
const quotedKeys = new Map<string, string>();

/** With its colon. Programs use few keys and use them often; keys made of data only pass through. */
function quotedKey(key: string): string {
  const known = quotedKeys.get(key);
  if (known !== undefined) return known;
  const text = `${quoted(key.charCodeAt(0) === 0x24 ? `$${key}` : key)}:`;
  if (key.length <= SHORT_CHARS) {
    if (quotedKeys.size === QUOTED_KEYS_MAX) quotedKeys.clear();
    quotedKeys.set(key, text);
  }
  return text;
}

/** False for a look-alike such as Object.create(Map.prototype). */
function hasSlots(probe: () => unknown): boolean {
  try {
    probe();
    return true;
  } catch {
    return false;
  }
}

/** `Object.prototype` of another realm: objects that Node itself or a vm context made are plain, too. */
function isForeignObjectPrototype(prototype: object): boolean {
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf");
}

const SHOWN_NAME_CHARS = 60;
const SHOWN_STEPS = 12;

function classNameOf(value: object): string {
  const name: unknown = value.constructor?.name;
  return typeof name === "string" && name !== "" ? shortened(name) : "an unnamed class";
}

function shownName(name: string): string {
  return JSON.stringify(shortened(name));
}

function shortened(text: string): string {
  return text.length > SHOWN_NAME_CHARS ? `${text.slice(0, SHOWN_NAME_CHARS)}…` : text;
}

const IDENTIFIER = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;

/** `cart.items[3].price`. Keys are named, values never; the key of a Map is a value. */
function shownPath(attribute: string, steps: readonly Step[]): string {
  let path = IDENTIFIER.test(attribute) ? shortened(attribute) : "it";
  for (const step of steps.slice(0, SHOWN_STEPS)) {
    if (typeof step === "number") path += `[${step}]`;
    else if (typeof step === "object") path += step.entry;
    else path += IDENTIFIER.test(step) ? `.${shortened(step)}` : `[${shownName(step)}]`;
  }
  return steps.length > SHOWN_STEPS ? `${path}…` : path;
}
