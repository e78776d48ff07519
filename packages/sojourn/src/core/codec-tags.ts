/** The words of the tagged JSON of core/codec.ts: what its two directions must agree on. */

/**
 * Levels of containers in one value. Deep enough for data, shallow enough that nobody's recursion overflows
 * on it.
 */
export const VALUE_DEPTH_MAX = 32;

/**
 * Encoded bytes of one value. The codec's own ceiling; what a session may hold is limited far below
 * (`limits`).
 */
export const VALUE_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Decimal digits of a BigInt: reading decimal text takes more than linear time, so its length is bounded on
 * its own.
 */
export const BIGINT_DIGITS_MAX = 10_000;

/** First key of every tagged value; a caller's own key that begins with `$` is written with one `$` more. */
export const TAG = "$t";
export const TAGGED = "v";

/** Numbers that JSON has no words for, by the name they are stored under. */
export const SPECIAL_NUMBERS: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
  "-0": -0,
};
