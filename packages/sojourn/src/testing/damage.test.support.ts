/** What the fuzz tests of parsers share: damage done to valid input, and a look at the prototypes. */

/** Of so many parts of the length. Whole numbers, because generators of fractions nearly all draw near zero. */
export const PLACES = 10_000;

/** Damage to valid bytes. `at` is 0..PLACES - 1, so that it falls inside whatever it is done to. */
export interface Damage {
  readonly kind: "set" | "insert" | "remove" | "repeat" | "cut";
  readonly at: number;
  readonly byte: number;
}

export const DAMAGE_KINDS: readonly Damage["kind"][] = ["set", "insert", "remove", "repeat", "cut"];

/** `bytes` after all of `damages`, one after the other. `bytes` itself is unchanged. */
export function damaged(bytes: Uint8Array, damages: readonly Damage[]): Buffer {
  let result: Buffer = Buffer.from(bytes);
  for (const { kind, at, byte } of damages) {
    const place = Math.floor((at / PLACES) * (result.length + 1));
    const head = result.subarray(0, place);
    const tail = result.subarray(place);
    const count = 1 + (byte % 8);
    if (kind === "set") {
      result = Buffer.from(result);
      if (place < result.length) result[place] = byte;
    } else if (kind === "insert") result = Buffer.concat([head, Buffer.of(byte), tail]);
    else if (kind === "remove") result = Buffer.concat([head, tail.subarray(count)]);
    else if (kind === "repeat") result = Buffer.concat([head, tail.subarray(0, count), tail]);
    else result = Buffer.from(head);
  }
  return result;
}

const BUILT_INS = [Object, Array, Map, Set, Date, String, Number, BigInt, Function, Uint8Array, Buffer];

/** Equal before and after a parser ran: it touched no prototype that everything shares. */
export function prototypeKeys(): string {
  return BUILT_INS.map(({ prototype }) => Reflect.ownKeys(prototype).map(String).join()).join("\n");
}
