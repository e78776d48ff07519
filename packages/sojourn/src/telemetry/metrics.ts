/**
 * `sojourn/metrics`: sessions, stores and links as Prometheus reads them. No dependency: the text is written here.
 *
 *   const metrics = sessionMetrics({ sessions: [sessions] });
 *   app.get("/metrics", (_req, res) => res.type(metrics.contentType).send(metrics.text()));
 *
 * Totals are those of `sessions.stats()`, so they count from the start. Everything else is heard on the channels of
 * `node:diagnostics_channel` and counts from this call on: make it before the first request. docs/metrics.md explains each
 * metric.
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { SessionsStats } from "../sessions/diagnostics.ts";
import { SESSION_EVENTS } from "../sessions/telemetry.ts";
import type {
  ExpiredEvent,
  LinkEvent,
  LinkFailure,
  LinkRoundTrip,
  StoreOperation,
} from "../store/channels.ts";
import { CONTENT_TYPE, Counter, Histogram } from "./exposition.ts";
import { METRICS, TOTALS_HELP, totalMetric } from "./names.ts";

export type { SessionsStats } from "../sessions/diagnostics.ts";
export { SESSION_EVENTS, type SessionEvent } from "../sessions/telemetry.ts";
export type {
  ExpiredEvent,
  LinkEvent,
  LinkFailure,
  LinkRoundTrip,
  StoreOperation,
  StoreOperationName,
  StoreOutcome,
} from "../store/channels.ts";

/** From a memory store's microseconds to the longest that a request waits. */
const SECONDS_BOUNDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
] as const;

/** What is needed of `Sessions`. */
export interface CountedSessions {
  readonly name: string;
  stats(): SessionsStats;
}

export interface SessionMetricsOptions {
  /** Whose totals to show. Give each a `name` of its own; those of one name are added up. */
  readonly sessions: readonly CountedSessions[];
}

export interface SessionMetrics {
  /** For the `Content-Type` header. */
  readonly contentType: string;
  /** The whole page, in Prometheus' text format. To put it behind others' metrics, append it: it ends with a line break. */
  text(): string;
  /** Stops listening. */
  close(): void;
}

export function sessionMetrics({ sessions }: SessionMetricsOptions): SessionMetrics {
  const operationSeconds = new Histogram(METRICS.operationSeconds, SECONDS_BOUNDS);
  const roundTripSeconds = new Histogram(METRICS.roundTripSeconds, SECONDS_BOUNDS);
  const counters = {
    operationErrors: new Counter(METRICS.operationErrors),
    bytesRead: new Counter(METRICS.bytesRead),
    bytesWritten: new Counter(METRICS.bytesWritten),
    expired: new Counter(METRICS.expired),
    sentBytes: new Counter(METRICS.sentBytes),
    receivedBytes: new Counter(METRICS.receivedBytes),
    connects: new Counter(METRICS.connects),
    losses: new Counter(METRICS.losses),
    connectFailures: new Counter(METRICS.connectFailures),
  };

  const listeners: Readonly<Record<string, (event: never) => void>> = {
    "tracing:sojourn:store:asyncEnd": (event: StoreOperation) => {
      const { sessions: name, store, operation, outcome = "ok", code, seconds = 0, bytesRead = 0 } = event;
      const whose = { name, store };
      operationSeconds.observe({ ...whose, operation, outcome }, seconds);
      if (code !== undefined) counters.operationErrors.add({ ...whose, operation, code }, 1);
      counters.bytesRead.add(whose, bytesRead);
      counters.bytesWritten.add(whose, event.bytesWritten);
    },
    "sojourn:session:expired": ({ store, count }: ExpiredEvent) => counters.expired.add({ store }, count),
    "sojourn:link:answered": (event: LinkRoundTrip) => {
      const { store, remote } = event;
      roundTripSeconds.observe({ store, remote }, event.seconds);
      counters.sentBytes.add({ store, remote }, event.bytesSent);
      counters.receivedBytes.add({ store, remote }, event.bytesReceived);
    },
    "sojourn:link:connected": ({ store, remote }: LinkEvent) => counters.connects.add({ store, remote }, 1),
    "sojourn:link:lost": ({ store, remote, code }: LinkFailure) =>
      counters.losses.add({ store, remote, code }, 1),
    "sojourn:link:failed": ({ store, remote, code }: LinkFailure) =>
      counters.connectFailures.add({ store, remote, code }, 1),
  };
  const subscriptions = Object.entries(listeners).map(
    ([channel, listener]) => [channel, (event: unknown) => listener(event as never)] as const,
  );
  for (const [channel, listener] of subscriptions) subscribe(channel, listener);

  return {
    contentType: CONTENT_TYPE,
    text: () =>
      [
        ...totals(sessions),
        operationSeconds.text(),
        ...Object.values(counters).map((counter) => counter.text()),
        roundTripSeconds.text(),
      ].join(""),
    close() {
      for (const [channel, listener] of subscriptions) unsubscribe(channel, listener);
    },
  };
}

/** Every total, also those at zero: a rate needs the point before the first event. */
function totals(sessions: readonly CountedSessions[]): string[] {
  const stats = sessions.map((each) => ({ name: each.name, totals: each.stats() }));
  return (Object.keys(SESSION_EVENTS) as (keyof SessionsStats)[]).map((total) => {
    const counter = new Counter({ name: totalMetric(total), help: TOTALS_HELP[total] });
    for (const { name, totals: counted } of stats) counter.add({ name }, counted[total]);
    return counter.text();
  });
}
