/**
 * What this library tells a program about itself while it runs, through `node:diagnostics_channel`: store operations and
 * the links they travel on. What happens to sessions stands in sessions/telemetry.ts. docs/metrics.md lists all of it.
 *
 * Nothing here ever holds a session id, a store key, a principal, an attribute's name or its value; and nothing is made
 * while nobody listens.
 */
import { AsyncResource } from "node:async_hooks";
import { channel, tracingChannel } from "node:diagnostics_channel";
import type { ErrorCode } from "../core/errors.ts";

export type StoreOperationName =
  | "read"
  | "create"
  | "apply"
  | "touch"
  | "supersede"
  | "destroy"
  | "list"
  | "count"
  | "endAll";

export type StoreOutcome =
  /** Done; of a read: the session was there. */
  | "ok"
  /** Read, touch, destroy: no such session. Supersede, apply, create: it, or this login, has ended. */
  | "gone"
  | "conflict"
  | "behind"
  /** Create: another id must be drawn. */
  | "taken"
  | "error";

/** One call of a store, from its start to its answer: the same object in all events of the call. */
export interface StoreOperation {
  /** The option `name` of `createSessions`. */
  readonly sessions: string;
  readonly store: string;
  readonly operation: StoreOperationName;
  /** Names and encoded values that went to the store. */
  readonly bytesWritten: number;
  /** From here on: at `asyncEnd`. Names and encoded values that came back. */
  bytesRead?: number;
  outcome?: StoreOutcome;
  /** With the outcome "error": a code of docs/errors.md. */
  code?: ErrorCode;
  seconds?: number;
}

/**
 * A tracing channel: `tracing:sojourn:store:start` in the caller's own asynchronous context, `end` when the call has
 * returned its promise, `error` when it failed, `asyncStart` and `asyncEnd` when it is over.
 */
export const storeChannel = tracingChannel<StoreOperation, StoreOperation>("sojourn:store");

/** A connection of a store's client. `remote`: `host:port`, or "client" for a Redis client that the user brought. */
export interface LinkEvent {
  readonly store: string;
  readonly remote: string;
}

/** A link that stood, or one that could not be made. */
export interface LinkFailure extends LinkEvent {
  readonly code: ErrorCode;
}

export interface LinkRoundTrip extends LinkEvent {
  /** What was asked, in the link's own words: "apply", "heartbeat"; "change a session". */
  readonly operation: string;
  readonly seconds: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/** How many sessions a store in this process has found to be over. Other stores do not tell. */
export interface ExpiredEvent {
  readonly store: string;
  readonly count: number;
}

export const linkChannels = {
  /** A link stands: at the start, and after each loss. */
  connected: channel("sojourn:link:connected"),
  lost: channel("sojourn:link:lost"),
  /** A link could not be made. */
  failed: channel("sojourn:link:failed"),
  /** One request was answered. */
  answered: channel("sojourn:link:answered"),
} as const;

export const expiredChannel = channel("sojourn:session:expired");

/**
 * A function that will run in the context of whoever asked for it: where several requests wait for one call, its span
 * belongs to the one that wanted it first, and not to the request that happened to be on the way before.
 */
export function inThisContext<Args extends unknown[], Result>(
  run: (...args: Args) => Result,
): (...args: Args) => Result {
  return storeChannel.hasSubscribers ? AsyncResource.bind(run) : run;
}
