/**
 * A session of express-session as attributes of ours, and back. express-session's stores keep a session as JSON, and its
 * applications rely on what that does to values (a Date comes back as text, `toJSON` is called), so a value becomes what
 * JSON makes of it and then an attribute like any other.
 */
import { jsonCodec } from "../../core/codec.ts";
import type { Attribute } from "../../core/record.ts";
import type { ConnectSession } from "./connect-contract.ts";

export const COOKIE_ATTRIBUTE = "cookie";

/** Attribute → its JSON text. */
export type JsonTexts = ReadonlyMap<string, string>;

/** What a whole-session write says, taken at once: the session may change while the store is at work. */
export function textsOf(session: object, except?: string): Map<string, string> {
  const texts = new Map<string, string>();
  for (const [name, value] of Object.entries(session)) {
    if (name === except) continue;
    const text: string | undefined = JSON.stringify(value);
    // Functions and undefined are no part of a stored session.
    if (text !== undefined) texts.set(name, text);
  }
  return texts;
}

/** @throws {SessionError} UNSUPPORTED_VALUE for what is nested deeper than a value may be */
export function bytesOf(texts: Iterable<readonly [string, string]>): Map<string, Uint8Array> {
  const bytes = new Map<string, Uint8Array>();
  for (const [name, text] of texts) bytes.set(name, jsonCodec.encode(JSON.parse(text), name));
  return bytes;
}

/**
 * The session that express-session is handed, and the text of each attribute in it. Attributes that JSON has no words for
 * (a BigInt that a Sojourn application stored) are left out of both: express-session could not even look at them.
 */
export function sessionOf(attributes: ReadonlyMap<string, Attribute>): {
  readonly session: ConnectSession;
  readonly texts: JsonTexts;
} {
  const session = {} as ConnectSession;
  const texts = new Map<string, string>();
  for (const [name, { value: bytes }] of attributes) {
    const value = jsonCodec.decode(bytes);
    const text = jsonText(value);
    if (text === undefined) continue;
    texts.set(name, text);
    // Not an assignment: `__proto__` is a name like any other.
    Object.defineProperty(session, name, { value, writable: true, enumerable: true, configurable: true });
  }
  return { session, texts };
}

function jsonText(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}
