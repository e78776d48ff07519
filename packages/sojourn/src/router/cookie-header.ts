/**
 * One pass over a `Cookie` line: reads the values of the cookies that the router looks at, and leaves out those that are
 * the router's own, so applications never see them. Everything else keeps its bytes and its order.
 */

export interface CookieRole {
  /** Receives the values, as sent. */
  readonly values: string[];
  /** Whether applications may see the cookie. */
  readonly forwarded: boolean;
}

/** Values of one name beyond this are ignored: a request is free to hold many, not to make us work. */
const VALUES_MAX = 4;

/** @returns the line to forward; "" when nothing is left of it */
export function readCookieLine(line: string, roles: ReadonlyMap<string, CookieRole>): string {
  let kept: string[] | null = null;
  let start = 0;
  const before: string[] = [];
  while (start <= line.length) {
    let end = line.indexOf(";", start);
    if (end < 0) end = line.length;
    const pair = line.slice(start, end);
    const equals = pair.indexOf("=");
    const role = equals < 0 ? undefined : roles.get(pair.slice(0, equals).trim());
    if (role !== undefined && role.values.length < VALUES_MAX)
      role.values.push(pair.slice(equals + 1).trim());
    if (role !== undefined && !role.forwarded) kept ??= [...before];
    else if (kept !== null) kept.push(pair);
    else before.push(pair);
    start = end + 1;
  }
  return kept === null ? line : kept.join(";").trim();
}
