/** How options are refused: with their name, what was found and what is expected. */
import { SessionError } from "../core/errors.ts";

export function invalidOption(name: string, found: unknown, expected: string): SessionError {
  return new SessionError(
    "INVALID_OPTION",
    `Cannot use option ${name}: found ${shown(found)}, expected ${expected}`,
  );
}

function shown(value: unknown): string {
  if (value === undefined) return "none";
  if (typeof value === "string") return JSON.stringify(value.slice(0, 80));
  if (typeof value === "number" || typeof value === "boolean" || value === null) return String(value);
  return `a value of type ${typeof value}`;
}

export function requireObject(value: unknown, name: string): void {
  if (typeof value !== "object" || value === null) throw invalidOption(name, value, "an object");
}

/** A misspelt option would be an option that does nothing. */
export function requireKnown(options: object, names: readonly string[], prefix: string): void {
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) {
      throw invalidOption(`${prefix}${name.slice(0, 80)}`, undefined, `one of ${names.join(", ")}`);
    }
  }
}

export function requireMethods(value: object, names: readonly string[], option: string): void {
  requireObject(value, option);
  for (const name of names) {
    if (typeof (value as Record<string, unknown>)[name] !== "function") {
      throw invalidOption(option, value, `an object with the method ${name}`);
    }
  }
}

export function requireOneOf(value: unknown, allowed: readonly string[], name: string): void {
  if (typeof value === "string" && allowed.includes(value)) return;
  throw invalidOption(name, value, allowed.map((each) => JSON.stringify(each)).join(" or "));
}

export function requireMs(value: number, name: string, max: number): number {
  if (typeof value === "number" && value >= 1 && value <= max) return value;
  throw invalidOption(name, value, `1..${max} ms`);
}

/** The longest user name that indexes and screens must hold. */
const PRINCIPAL_CHARS_MAX = 1024;

/** Undefined and null mean "as before" and "nobody". @throws {SessionError} INVALID_OPTION; the message holds no name */
export function requirePrincipal(principal: unknown): void {
  if (principal === undefined || principal === null) return;
  const isFit =
    typeof principal === "string" &&
    principal.length >= 1 &&
    principal.length <= PRINCIPAL_CHARS_MAX &&
    !/\p{Surrogate}/u.test(principal);
  if (isFit) return;
  const found = typeof principal === "string" ? `${principal.length} characters` : typeof principal;
  throw new SessionError(
    "INVALID_OPTION",
    `Cannot use option principal: found ${found}, expected 1..${PRINCIPAL_CHARS_MAX} characters of well-formed text`,
  );
}
