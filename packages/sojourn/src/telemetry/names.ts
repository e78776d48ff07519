/** What metrics and spans are called. API: dashboards and alerts are written against it. docs/metrics.md explains each. */
import type { SessionsStats } from "../sessions/diagnostics.ts";
import { SESSION_EVENTS } from "../sessions/telemetry.ts";
import type { StoreOperationName } from "../store/channels.ts";
import type { Metric } from "./exposition.ts";

export const METRICS = {
  operationSeconds: {
    name: "sojourn_store_operation_seconds",
    help: "Time until the store answered.",
  },
  operationErrors: {
    name: "sojourn_store_errors_total",
    help: "Store operations that failed, by error code.",
  },
  bytesRead: {
    name: "sojourn_store_read_bytes_total",
    help: "Attribute names and encoded values that came from the store.",
  },
  bytesWritten: {
    name: "sojourn_store_written_bytes_total",
    help: "Attribute names and encoded values that went to the store.",
  },
  expired: {
    name: "sojourn_session_expired_total",
    help: "Sessions that a store in this process found to be over.",
  },
  roundTripSeconds: {
    name: "sojourn_link_round_trip_seconds",
    help: "Time until a request on a connection to a store was answered, heartbeats included.",
  },
  sentBytes: {
    name: "sojourn_link_sent_bytes_total",
    help: "Bytes of answered requests on connections to a store.",
  },
  receivedBytes: {
    name: "sojourn_link_received_bytes_total",
    help: "Bytes of answers on connections to a store.",
  },
  connects: { name: "sojourn_link_connects_total", help: "Connections to a store that were made." },
  losses: {
    name: "sojourn_link_losses_total",
    help: "Connections to a store that were lost, by error code.",
  },
  connectFailures: {
    name: "sojourn_link_connect_failures_total",
    help: "Connections to a store that could not be made, by error code.",
  },
} as const satisfies Record<string, Metric>;

export function totalMetric(total: keyof SessionsStats): string {
  return `sojourn_session_${SESSION_EVENTS[total].replaceAll("-", "_")}_total`;
}

export const TOTALS_HELP: Readonly<Record<keyof SessionsStats, string>> = {
  loads: "Reads of the store; requests that waited for the same one count once.",
  loaded: "Requests that found their session.",
  created: "Sessions created, renewals not counted.",
  renewed: "Sessions that got a new id.",
  destroyed: "Sessions ended by a request or an operator.",
  commits: "Changes of existing sessions that were stored.",
  conflicts: "Lost races of update.",
  gone: "Writes refused because the session had ended.",
  touches: "Idle deadlines moved.",
  touchFailures: "Idle deadlines that could not be moved.",
  storeFailures: "Requests whose store failed or was too late.",
  dropped: "Requests that ended without an answer and with changes.",
  lateWrites: "Changes refused because the commit had begun.",
  rejectedCookies: "Requests whose id cookie was malformed, forged or signed with a key that left.",
  duplicateCookies: "Requests with more than one id cookie.",
  unknownIds: "Requests whose well signed id the store does not know.",
  cookiesNotSent: "Cookies not sent because the connection is not secure.",
};

export const SPAN_NAMES: Readonly<Record<StoreOperationName, string>> = {
  read: "session load",
  create: "session create",
  apply: "session commit",
  touch: "session touch",
  supersede: "session renew",
  destroy: "session end",
  list: "session list",
  count: "session count",
  endAll: "session end all",
};
