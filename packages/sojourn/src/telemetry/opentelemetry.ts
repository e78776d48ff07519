/**
 * `sojourn/opentelemetry`: a span for every store operation of sessions, as a child of whatever span is active where the
 * session is asked for or committed. Needs `@opentelemetry/api`; spans go where the program's tracer provider sends them.
 *
 *   const stop = traceSessions();
 *
 * A span says which operation, which store, how it ended and how many bytes; never an id, a name, a value or a principal.
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { type Span, SpanKind, SpanStatusCode, type Tracer, trace } from "@opentelemetry/api";
import type { StoreOperation } from "../store/channels.ts";
import { SPAN_NAMES } from "./names.ts";

export interface TraceSessionsOptions {
  /** Default: the global provider's tracer "sojourn". */
  readonly tracer?: Tracer;
}

/** @returns a function that stops it; spans under way still end */
export function traceSessions({
  tracer = trace.getTracer("sojourn"),
}: TraceSessionsOptions = {}): () => void {
  const underWay = new Map<StoreOperation, Span>();
  const start = (event: StoreOperation) => {
    if (isStopped) return;
    const { operation, store, sessions } = event;
    // Published in the caller's own context, so the span that is active here is the right parent.
    const span = tracer.startSpan(SPAN_NAMES[operation], {
      kind: store === "memory" ? SpanKind.INTERNAL : SpanKind.CLIENT,
      attributes: { "sojourn.sessions": sessions, "sojourn.store": store, "sojourn.operation": operation },
    });
    underWay.set(event, span);
  };
  const asyncEnd = (event: StoreOperation) => {
    const span = underWay.get(event);
    if (!span) return;
    underWay.delete(event);
    finish(span, event);
    unsubscribeWhenOver();
  };
  let isStopped = false;
  const unsubscribeWhenOver = () => {
    if (!isStopped || underWay.size > 0) return;
    for (const [name, listener] of listeners) unsubscribe(name, listener);
  };
  const listeners = [
    ["tracing:sojourn:store:start", (event: unknown) => start(event as StoreOperation)],
    ["tracing:sojourn:store:asyncEnd", (event: unknown) => asyncEnd(event as StoreOperation)],
  ] as const;
  for (const [name, listener] of listeners) subscribe(name, listener);
  return () => {
    isStopped = true;
    unsubscribeWhenOver();
  };
}

function finish(span: Span, { outcome = "ok", code, bytesRead = 0, bytesWritten }: StoreOperation): void {
  span.setAttributes({
    "sojourn.outcome": outcome,
    "sojourn.bytes_read": bytesRead,
    "sojourn.bytes_written": bytesWritten,
  });
  if (code !== undefined) {
    span.setAttribute("error.type", code);
    span.setStatus({ code: SpanStatusCode.ERROR, message: code });
  }
  span.end();
}
