/** What Redis and its clients reject with, as errors of ours: what to do about each is said in the message. */
import { SessionError, StoreUnavailableError } from "../../core/errors.ts";
import { unreadable } from "./record.ts";

export const STORE_NAME = "redis";

/** `refused`: nothing was executed, so the same may be sent again. `lost`: it may have been. */
export type Fault = "refused" | "lost" | "final";

/** Refusals that pass by themselves: a fail-over, a start, a slot on its way. */
const PASSING = new Set(["CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "READONLY", "LOADING", "MASTERDOWN"]);

const MEANINGS: Readonly<Record<string, string>> = {
  CLUSTERDOWN: "a part of the cluster has no primary",
  TRYAGAIN: "the slot is moving between nodes",
  MOVED: "the slot has moved; a client for Redis Cluster is needed (`cluster: [...]`)",
  ASK: "the slot is moving; a client for Redis Cluster is needed (`cluster: [...]`)",
  READONLY: "the server is a replica; sessions need the primary",
  LOADING: "the server is still reading its data set",
  MASTERDOWN: "the server is a replica whose primary is away",
  NOREPLICAS: "fewer replicas follow than min-replicas-to-write asks for",
  MISCONF: "the server cannot write its snapshots and therefore takes no writes; see its log",
  BUSY: "a script of somebody else blocks the server",
  NOAUTH: "the server wants a password: redis://user:password@host",
  WRONGPASS: "user or password are wrong",
  NOPERM: "the user may not run what sessions need; docs/redis.md lists it",
  EXECABORT: "the server refused the transaction",
};

/** The operation reached the server after its deadline and was refused. */
export class LateError extends Error {
  override readonly name = "LateError";
}

/** How a rejection of the client is to be taken. */
export function faultOf(error: unknown): Fault {
  const code = replyCode(error);
  if (code === undefined) return "lost";
  return PASSING.has(code) ? "refused" : "final";
}

export function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("NOSCRIPT");
}

export function isFull(error: unknown): boolean {
  return error instanceof SessionError && error.code === "STORE_FULL";
}

export function isClosed(error: unknown): boolean {
  return error instanceof SessionError && error.code === "STORE_CLOSED";
}

/** The caller's error. `action` in words: "read the session". */
export function asSessionError(error: unknown, action: string): SessionError {
  const code = replyCode(error);
  if (error instanceof LateError)
    return new StoreUnavailableError(STORE_NAME, action, "was reached too late");
  if (code === undefined) {
    return new StoreUnavailableError(STORE_NAME, action, `is not reachable: ${textOf(error)}`, {
      cause: error,
    });
  }
  if (code === "OOM") {
    return new SessionError(
      "STORE_FULL",
      `Cannot ${action}: Redis is at its maxmemory, and its maxmemory-policy found nothing to evict`,
      { cause: error },
    );
  }
  if (code === "WRONGTYPE" || code === "UNREADABLE") {
    return unreadable("something else wrote to its key, or a newer release did");
  }
  const meaning = MEANINGS[code] ?? textOf(error);
  return new StoreUnavailableError(STORE_NAME, action, `answered ${code}: ${meaning}`, { cause: error });
}

/** The first word of an error *reply*; undefined when the client failed, not the server. */
function replyCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || "syscall" in error) return undefined;
  return /^[A-Z]{2,}(?= |$)/.exec(error.message)?.[0];
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error).slice(0, 200);
  const code = (error as { code?: unknown }).code;
  const text = error.message || (typeof code === "string" ? code : error.constructor.name);
  return text.split("\n", 1)[0]?.slice(0, 200) ?? "";
}
