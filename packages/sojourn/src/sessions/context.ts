/** What all requests of one `createSessions` share. */
import { EndWatch } from "./end-watch.ts";
import { IdCookie } from "./id-cookie.ts";
import { Loads } from "./loads.ts";
import type { Policy } from "./options.ts";
import { Telemetry } from "./telemetry.ts";
import { Touches } from "./touches.ts";
import { Updates } from "./updates.ts";

export interface Context {
  readonly policy: Policy;
  readonly telemetry: Telemetry;
  readonly cookie: IdCookie;
  readonly loads: Loads;
  readonly touches: Touches;
  readonly updates: Updates;
  readonly ends: EndWatch;
}

export function newContext(policy: Policy): Context {
  const telemetry = new Telemetry(policy.name, policy.store.name);
  const touches = new Touches(policy, telemetry, policy.diagnostics);
  const loads = new Loads(policy.store, policy.clock, telemetry);
  return {
    policy,
    telemetry,
    cookie: new IdCookie(policy, telemetry),
    loads,
    touches,
    updates: new Updates({ policy, telemetry, touches }),
    ends: new EndWatch(policy, loads),
  };
}
