/** What a commit writes and when: the options, checked. docs/policies.md has the price of each, with what is lost when. */
import { requireMs, requireOneOf } from "./check-options.ts";

/**
 * "GET_AND_SET_ATTRIBUTES": what was set, and changes inside objects that `get` gave. "ONLY_SET_ATTRIBUTES": what was set.
 * "ALL_SESSION_ATTRIBUTES": with any change, every attribute.
 */
export type WriteContents = "ONLY_SET_ATTRIBUTES" | "GET_AND_SET_ATTRIBUTES" | "ALL_SESSION_ATTRIBUTES";

export type WriteFrequency = "END_OF_REQUEST" | "MANUAL_UPDATE" | "TIME_BASED_WRITE";

export interface WritePolicyOptions {
  /**
   * What a commit writes. Default "GET_AND_SET_ATTRIBUTES": nothing that a handler changed is forgotten, and nothing that
   * it only read is written. The others save an encoding, or overwrite on purpose.
   */
  readonly writeContents?: WriteContents;
  /**
   * When changes are written. Default "END_OF_REQUEST": before the headers leave, so what the browser was told is stored.
   * "MANUAL_UPDATE": only by `commit()` and by what writes at once (`update`, `start`, `renew`, `destroy`); other changes
   * are dropped. "TIME_BASED_WRITE": kept in this process and written every `writeIntervalMs`, by those and at `close()`;
   * other servers see them late, and a process that is killed loses them.
   */
  readonly writeFrequency?: WriteFrequency;
  /** How old a change may be when TIME_BASED_WRITE writes it. Longer writes less and loses more. Default 120_000. */
  readonly writeIntervalMs?: number;
}

export type WritePolicy = Required<WritePolicyOptions>;

const WRITE_CONTENTS: readonly WriteContents[] = [
  "ONLY_SET_ATTRIBUTES",
  "GET_AND_SET_ATTRIBUTES",
  "ALL_SESSION_ATTRIBUTES",
];
const WRITE_FREQUENCIES: readonly WriteFrequency[] = ["END_OF_REQUEST", "MANUAL_UPDATE", "TIME_BASED_WRITE"];
const WRITE_INTERVAL_MS_DEFAULT = 120_000;
/** Longer than most idle timeouts: such a change would be written to nobody. */
const WRITE_INTERVAL_MS_MAX = 3_600_000;
export const WRITE_OPTION_NAMES: readonly (keyof WritePolicyOptions)[] = [
  "writeContents",
  "writeFrequency",
  "writeIntervalMs",
];

/** @throws {SessionError} INVALID_OPTION */
export function resolveWriteOptions(options: WritePolicyOptions): WritePolicy {
  const { writeContents = "GET_AND_SET_ATTRIBUTES", writeFrequency = "END_OF_REQUEST" } = options;
  requireOneOf(writeContents, WRITE_CONTENTS, "writeContents");
  requireOneOf(writeFrequency, WRITE_FREQUENCIES, "writeFrequency");
  const { writeIntervalMs = WRITE_INTERVAL_MS_DEFAULT } = options;
  requireMs(writeIntervalMs, "writeIntervalMs", WRITE_INTERVAL_MS_MAX);
  return { writeContents, writeFrequency, writeIntervalMs };
}
