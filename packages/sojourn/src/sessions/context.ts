/** What all requests of one `createSessions` share. */

import { DeferredWrites } from "./deferred-writes.ts";
import { EndWatch } from "./end-watch.ts";
import { ExclusiveAccess } from "./exclusive.ts";
import { IdCookie } from "./id-cookie.ts";
import { Loads } from "./loads.ts";
import { LoginLimit } from "./login-limit.ts";
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
  /** Null: commits are written at once. */
  readonly deferred: DeferredWrites | null;
  /** Null: a user may have any number of sessions. */
  readonly loginLimit: LoginLimit | null;
  readonly exclusive: ExclusiveAccess;
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
    deferred:
      policy.writeFrequency === "TIME_BASED_WRITE"
        ? new DeferredWrites({ policy, telemetry, touches })
        : null,
    loginLimit: LoginLimit.of(policy),
    exclusive: new ExclusiveAccess({ policy, telemetry, touches }, loads),
    ends: new EndWatch(policy, loads),
  };
}
