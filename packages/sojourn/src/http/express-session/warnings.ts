/** What a program should hear once, not once for each request. */

const told = new Set<string>();

/** A use that express-session has deprecated; it works here too. */
export function deprecate(code: string, what: string): void {
  tell(`SOJOURN_SESSION_${code}`, `sojourn/express-session deprecated ${what}`, "DeprecationWarning");
}

export function warn(code: string, what: string): void {
  tell(`SOJOURN_SESSION_${code}`, `sojourn/express-session: ${what}`, "Warning");
}

function tell(code: string, message: string, type: string): void {
  if (told.has(code)) return;
  told.add(code);
  process.emitWarning(message, { type, code });
}
