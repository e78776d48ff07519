/** One merge into a stored session, waiting for an authority that has not caught up with what the browser was told. */
import { delay } from "../core/clock.ts";
import { SessionError } from "../core/errors.ts";
import { newOperationId, type SessionKey } from "../core/ids.ts";
import type { SessionDelta } from "../core/record.ts";
import type { ApplyResult } from "../store/store.ts";
import type { StoreBudget } from "./budget.ts";
import type { Policy } from "./options.ts";
import type { Telemetry } from "./telemetry.ts";
import type { Touches } from "./touches.ts";

/** An authority that is behind gets this long. */
const BEHIND_WAIT_MS = 250;
const BEHIND_PAUSE_MS = 10;

export interface ApplyContext {
  readonly policy: Policy;
  readonly telemetry: Telemetry;
  readonly touches: Touches;
}

export type Answered = Extract<ApplyResult, { status: "applied" | "conflict" }>;

/** @throws {SessionError} SESSION_ENDED, STORE_BEHIND, and what the store throws */
export async function applyDelta(
  { policy, telemetry, touches }: ApplyContext,
  budget: StoreBudget,
  key: SessionKey,
  delta: SessionDelta,
): Promise<Answered> {
  const { clock, store } = policy;
  const behindUntilMs = clock.monotonicMs() + BEHIND_WAIT_MS;
  for (;;) {
    // A fresh operation id each time: the old one would be answered with the old answer.
    const operationId = newOperationId(clock);
    const result = await budget.wait("change a session", (timeoutMs) =>
      store.apply(key, delta, { timeoutMs, operationId }),
    );
    if (result.status === "gone") throw sessionEnded(telemetry, "change a session");
    if (result.status === "applied") {
      telemetry.count("commits");
      touches.moved(key, result.expiresAtMs);
    }
    if (result.status !== "behind") return result;
    if (clock.monotonicMs() + BEHIND_PAUSE_MS > behindUntilMs) {
      throw new SessionError(
        "STORE_BEHIND",
        `Cannot change a session: store "${store.name}" has not seen this browser's newest write`,
      );
    }
    await budget.wait("change a session", () => delay(clock, BEHIND_PAUSE_MS));
  }
}

export function sessionEnded(telemetry: Telemetry, action: string): SessionError {
  telemetry.count("gone");
  return new SessionError("SESSION_ENDED", `Cannot ${action}: it was ended, renewed or has expired`);
}
