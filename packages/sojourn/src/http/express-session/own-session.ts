/**
 * Store packages inherit from express-session's own `Store`, so they make express-session's own sessions: callbacks only.
 * Those become ours; a session class that a store package brings itself stays what it is.
 */
import { Cookie } from "./cookie.ts";
import { Session } from "./session.ts";
import type { SessionRequest } from "./types.ts";

const METHODS = new Set(["constructor", "touch", "resetMaxAge", "save", "reload", "destroy", "regenerate"]);

/** The session that a store has just put on the request, as ours. */
export function ownSession(req: SessionRequest): Session {
  const made = req.session as Session;
  if (made.constructor === Session || !isStock(made)) return made;
  const own = new Session(req, made);
  const { originalMaxAge } = made.cookie;
  own.cookie = new Cookie(made.cookie);
  own.cookie.originalMaxAge = originalMaxAge;
  return own;
}

function isStock(session: object): boolean {
  const prototype = Object.getPrototypeOf(session) as object;
  return (
    Object.getPrototypeOf(prototype) === Object.prototype &&
    Object.getOwnPropertyNames(prototype).every((name) => METHODS.has(name))
  );
}
