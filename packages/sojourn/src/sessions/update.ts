/**
 * The read-compute-write loop behind `session.update`. The first attempt trusts the request's own copy, so without a
 * race an update is one round trip; a conflict brings the newer value along, so a lost race is one more.
 */
import { SessionError } from "../core/errors.ts";
import type { SessionKey } from "../core/ids.ts";
import type { SessionDelta } from "../core/record.ts";
import type { Version } from "../core/version.ts";
import { type Attributes, type StoredAttribute, sameBytes } from "./attributes.ts";
import type { Visit } from "./visit.ts";

export const UPDATE_RACES_MAX = 10;
/** Pause after the second lost race; doubles from there. Only other processes race us, and few. */
const PAUSE_MS_MIN = 1;
const PAUSE_MS_MAX = 32;

export interface AttributeUpdate {
  readonly name: string;
  readonly change: (current: unknown) => unknown;
  /** What goes with every attempt: the new idle deadline. */
  readonly delta: SessionDelta;
}

export interface Updated {
  readonly value: unknown;
  readonly version: Version;
  readonly expiresAtMs: number;
}

/** @throws {SessionError} UPDATE_CONFLICT, SESSION_ENDED, and what `set` throws; whatever `change` throws */
export async function updateAttribute(
  visit: Visit,
  key: SessionKey,
  attributes: Attributes,
  { name, change, delta }: AttributeUpdate,
): Promise<Updated> {
  const { policy, stats, lanes } = visit.context;
  const turn = lanes.take(key);
  try {
    await visit.budget.wait("update an attribute", () => turn.begins);
    const origin = attributes.origin(name);
    const local = attributes.current(name);
    // Set by this request and not stored yet: whatever others store meanwhile, this is what the change begins with.
    const isPending = !sameBytes(local, origin?.value);
    let stored: StoredAttribute | null = turn.known.get(name) ?? (turn.known.has(name) ? null : origin);
    for (let races = 0; ; ) {
      const bytes = isPending ? local : stored?.value;
      // Decoded for each attempt: a change that alters its argument must not see its own traces.
      const value = change(bytes && policy.codec.decode(bytes));
      const next = value === undefined ? undefined : attributes.encode(name, value);
      if (next) attributes.requireRoom(name, next);
      const result = await visit.apply(key, {
        ...delta,
        expect: new Map([[name, stored?.version ?? null]]),
        // Without a difference the expectation alone travels: "still so" must be as true as "now so".
        ...(sameBytes(next, stored?.value)
          ? {}
          : next
            ? { set: new Map([[name, next]]) }
            : { delete: [name] }),
      });
      if (result.status === "applied") {
        const { version, expiresAtMs } = result;
        const writer = sameBytes(next, stored?.value) ? (stored?.version ?? null) : version;
        attributes.adopt(name, value, next, writer);
        turn.known.set(name, next && writer ? { value: next, version: writer } : null);
        return { value, version, expiresAtMs };
      }
      stats.conflicts++;
      stored = result.current.attributes.get(name) ?? null;
      turn.known.set(name, stored);
      races++;
      const pauseMs = races < 2 ? 0 : Math.min(PAUSE_MS_MIN * 2 ** (races - 2), PAUSE_MS_MAX);
      if (races >= UPDATE_RACES_MAX || visit.budget.remainingMs() <= pauseMs) throw lost(name, races);
      if (pauseMs > 0) await visit.pause(pauseMs);
    }
  } finally {
    turn.done();
  }
}

function lost(name: string, races: number): SessionError {
  return new SessionError(
    "UPDATE_CONFLICT",
    `Cannot update attribute ${JSON.stringify(name.slice(0, 64))}: others wrote it first, ${races} times in a row`,
  );
}
