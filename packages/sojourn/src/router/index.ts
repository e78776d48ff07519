/** `sojourn/router`: sticky routing in front of application servers. Needs the package `undici`. */
export { type RouterAdmin, type RouterAdminOptions, startRouterAdmin } from "./admin.ts";
export type { AffinityKind } from "./affinity.ts";
export type { Balance, Outcome } from "./decision.ts";
export type {
  HealthSettings,
  LimitSettings,
  ReliefSettings,
  RouterEvent,
  RouterOptions,
  RouterServerOptions,
  ServerState,
  TimeoutSettings,
} from "./options.ts";
export { type Router, type RouterServerStatus, startRouter } from "./router.ts";
