/** What a commit writes and when: the options, checked. docs/policies.md has the price of each, with what is lost when. */
import { requireOneOf } from "./check-options.ts";

/**
 * "GET_AND_SET_ATTRIBUTES": what was set, and changes inside objects that `get` gave. "ONLY_SET_ATTRIBUTES": what was set.
 * "ALL_SESSION_ATTRIBUTES": with any change, every attribute.
 */
export type WriteContents = "ONLY_SET_ATTRIBUTES" | "GET_AND_SET_ATTRIBUTES" | "ALL_SESSION_ATTRIBUTES";

export type WriteFrequency = "END_OF_REQUEST" | "MANUAL_UPDATE";

export interface WriteOptions {
  /**
   * What a commit writes. Default "GET_AND_SET_ATTRIBUTES": nothing that a handler changed is forgotten, and nothing that
   * it only read is written. The others save an encoding, or overwrite on purpose.
   */
  readonly writeContents?: WriteContents;
  /**
   * When changes are written. Default "END_OF_REQUEST": before the headers leave, so what the browser was told is stored.
   * "MANUAL_UPDATE": only by `commit()` and by what writes at once (`update`, `start`, `renew`, `destroy`); other changes
   * are dropped.
   */
  readonly writeFrequency?: WriteFrequency;
}

export type WritePolicy = Required<WriteOptions>;

const WRITE_CONTENTS: readonly WriteContents[] = [
  "ONLY_SET_ATTRIBUTES",
  "GET_AND_SET_ATTRIBUTES",
  "ALL_SESSION_ATTRIBUTES",
];
const WRITE_FREQUENCIES: readonly WriteFrequency[] = ["END_OF_REQUEST", "MANUAL_UPDATE"];
export const WRITE_OPTION_NAMES: readonly (keyof WriteOptions)[] = ["writeContents", "writeFrequency"];

/** @throws {SessionError} INVALID_OPTION */
export function resolveWriteOptions(options: WriteOptions): WritePolicy {
  const { writeContents = "GET_AND_SET_ATTRIBUTES", writeFrequency = "END_OF_REQUEST" } = options;
  requireOneOf(writeContents, WRITE_CONTENTS, "writeContents");
  requireOneOf(writeFrequency, WRITE_FREQUENCIES, "writeFrequency");
  return { writeContents, writeFrequency };
}
