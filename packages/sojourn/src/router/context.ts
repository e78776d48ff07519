/** What every request needs of its router. */
import type { Backend } from "./backend.ts";
import type { Bag, Bagged } from "./bag.ts";
import type { Fleet } from "./fleet.ts";
import type { RouterSettings } from "./options.ts";

export interface RouterContext {
  readonly settings: RouterSettings;
  readonly fleet: Fleet;
  /** Everything under way. One timer looks through it, so that a request costs no timers of its own. */
  readonly watched: Bag<Watched>;
  readonly closing: () => boolean;
}

export interface Watched extends Bagged {
  /** Ends what has taken too long. @param nowMs  monotonic */
  check(nowMs: number): void;
  /** This server was found dead: whoever waits for its first byte goes elsewhere, if that is safe. */
  rescue(from: Backend): void;
  /** The router is stopping and will not wait any longer. */
  cut(reason: string): void;
}

/** The cookie that names a server: for this browser session, for no script, and only over https where there is https. */
export function affinityCookie(settings: RouterSettings, token: string, clientSecure: boolean): string {
  const secure = settings.cookieSecure === "auto" ? clientSecure : settings.cookieSecure;
  return `${settings.cookieName}=${token}; Path=/; HttpOnly; SameSite=Lax${secure ? "; Secure" : ""}`;
}
