/** What all requests of one `createSessions` share. */
import { newStats, type SessionsStats } from "./diagnostics.ts";
import { IdCookie } from "./id-cookie.ts";
import { Loads } from "./loads.ts";
import type { Policy } from "./options.ts";
import { Touches } from "./touches.ts";
import { Updates } from "./updates.ts";

export interface Context {
  readonly policy: Policy;
  readonly stats: SessionsStats;
  readonly cookie: IdCookie;
  readonly loads: Loads;
  readonly touches: Touches;
  readonly updates: Updates;
}

export function newContext(policy: Policy): Context {
  const stats = newStats();
  const touches = new Touches(policy, stats, policy.diagnostics);
  return {
    policy,
    stats,
    cookie: new IdCookie(policy, stats),
    loads: new Loads(policy.store, policy.clock, stats),
    touches,
    updates: new Updates({ policy, stats, touches }),
  };
}
