/**
 * One pass over a `Cookie` line: reads the values of the cookies that the router looks at, and leaves out those that are
 * the router's own, so applications never see them. Everything else keeps its bytes and its order.
 */

export interface CookieRole {
  /** Where values of this name are collected. */
  readonly slot: "affinity" | "session" | "override";
  /** Whether applications may see the cookie. */
  readonly forwarded: boolean;
}

/** Values as sent, in the order of the lines. */
export interface CookieValues {
  readonly affinity: string[];
  readonly session: string[];
  readonly override: string[];
}

/** Values beyond this many are ignored: a request is free to hold many, not to make us work. */
const VALUES_MAX = 4;
const SPACE = 32;

/** @returns the line to forward; "" when nothing is left of it */
export function readCookieLine(
  line: string,
  roles: ReadonlyMap<string, CookieRole>,
  values: CookieValues,
): string {
  // Pieces are only cut out when something has to go: mostly the line is forwarded as it came.
  let kept = "";
  let keptTo = 0;
  let start = 0;
  while (start < line.length) {
    let end = line.indexOf(";", start);
    if (end < 0) end = line.length;
    const equals = line.indexOf("=", start);
    if (equals >= 0 && equals < end) {
      let nameStart = start;
      while (line.charCodeAt(nameStart) === SPACE) nameStart++;
      const role = roles.get(line.slice(nameStart, equals).trimEnd());
      if (role !== undefined) {
        const collected = values[role.slot];
        if (collected.length < VALUES_MAX) collected.push(line.slice(equals + 1, end).trim());
        if (!role.forwarded) {
          kept += line.slice(keptTo, start);
          keptTo = Math.min(end + 1, line.length);
        }
      }
    }
    start = end + 1;
  }
  if (keptTo === 0) return line;
  return (kept + line.slice(keptTo)).trim().replace(/;$/, "");
}
