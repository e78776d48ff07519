/** Numbers and names from callers, refused before they can make a deadline that never comes. */
import { SessionError } from "../core/errors.ts";

export function finite(value: number, name: string): void {
  if (!Number.isFinite(value)) throw invalidOption("change a session", `${name} is ${value}`);
}

export function positive(value: number, option: string): number {
  if (!(value > 0)) throw invalidOption("open a store", `${option} is ${value}, expected more than 0`);
  return value;
}

export function invalidOption(action: string, found: string): SessionError {
  return new SessionError("INVALID_OPTION", `Cannot ${action}: ${found}`);
}
