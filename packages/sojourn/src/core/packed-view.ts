/**
 * A packed record (core/pack.ts) read without unpacking it: what every request looks at is found at once, an attribute
 * when it is asked for, everything else by unpacking after all. A page that reads two of twenty attributes pays for two.
 *
 * A view is for looking, not for keeping: its values are the packed bytes themselves, which nobody may change, and
 * `birth`, `lineage`, `stamp` and `unknownFields` are getters, which `{ ...view }` leaves behind.
 */
import type { SessionKey } from "./ids.ts";
import { EPOCH_BYTES, FIELD, FORMAT, type RecordTimes, unpackRecord } from "./pack.ts";
import { PackReader, unreadableRecord } from "./pack-bytes.ts";
import type { Attribute, SessionRecord } from "./record.ts";
import type { Stamp } from "./stamp.ts";
import type { Epoch, Lineage, Version } from "./version.ts";

export class PackedView implements SessionRecord {
  readonly key: SessionKey;
  readonly createdAtMs: number;
  readonly touchedAtMs: number;
  readonly expiresAtMs: number;
  readonly absoluteExpiresAtMs: number;
  readonly principal: string | null;
  readonly state: SessionRecord["state"];
  readonly version: Version;
  readonly attributes: PackedAttributes;
  readonly #bytes: Buffer;
  #whole: SessionRecord | undefined;

  /**
   * @param times    as the holder of the bytes keeps them, `sinceMs` before wall time
   * @param bytes    as `packRecord` made them
   * @throws {SessionError} STORED_DATA_UNREADABLE, here or when what is damaged is asked for
   */
  constructor(
    key: SessionKey,
    times: RecordTimes,
    sinceMs: number,
    principal: string | null,
    state: SessionRecord["state"],
    bytes: Buffer,
  ) {
    this.key = key;
    this.createdAtMs = times.createdAtMs + sinceMs;
    this.touchedAtMs = times.touchedAtMs + sinceMs;
    this.expiresAtMs = times.expiresAtMs + sinceMs;
    this.absoluteExpiresAtMs = times.absoluteExpiresAtMs + sinceMs;
    this.principal = principal;
    this.state = state;
    this.#bytes = bytes;
    if (bytes[0] !== FORMAT) throw unreadableRecord("it is in a format this release does not know");
    const reader = new PackReader(bytes, 1, bytes.length);
    let epochsAt = 0;
    let commitsAt = 0;
    let attributesAt = 0;
    let attributesEnd = 0;
    while (reader.left > 0 && attributesAt === 0) {
      const tag = bytes[reader.skip(1)];
      const at = reader.skip(reader.number());
      if (tag === FIELD.epochs) epochsAt = at;
      else if (tag === FIELD.commits) commitsAt = at;
      else if (tag === FIELD.attributes) {
        attributesAt = at;
        attributesEnd = reader.at;
      }
    }
    if (commitsAt === 0) throw unreadableRecord("it has no commit");
    reader.at = commitsAt;
    const epoch = epochAt(bytes, epochsAt + EPOCH_BYTES * reader.number());
    this.version = { epoch, counter: reader.number() };
    this.attributes = new PackedAttributes(this, bytes, attributesAt, attributesEnd);
  }

  get birth(): string {
    return this.whole().birth;
  }

  get lineage(): Lineage {
    return this.whole().lineage;
  }

  get stamp(): Stamp {
    return this.whole().stamp;
  }

  get unknownFields(): Uint8Array {
    return this.whole().unknownFields ?? NO_BYTES;
  }

  whole(): SessionRecord {
    this.#whole ??= unpackRecord(this.key, this, this.#bytes);
    return this.#whole;
  }
}

const NO_BYTES = new Uint8Array(0);

class PackedAttributes implements ReadonlyMap<string, Attribute> {
  readonly #view: PackedView;
  readonly #bytes: Buffer;
  readonly #at: number;
  readonly #end: number;

  constructor(view: PackedView, bytes: Buffer, at: number, end: number) {
    this.#view = view;
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  get(name: string): Attribute | undefined {
    if (!isAscii(name)) return this.#whole().get(name);
    const bytes = this.#bytes;
    const reader = new PackReader(bytes, this.#at, this.#end);
    // A text begins with twice its length in bytes, odd when it is UTF-16 (core/pack-bytes.ts).
    const header = name.length * 2;
    while (reader.left > 0) {
      const found = reader.number();
      const at = reader.skip(Math.floor(found / 2));
      const isIt = found === header && isAt(bytes, at, name);
      reader.number();
      const length = reader.number();
      if (isIt) return new PackedAttribute(this.#view, name, reader.take(length));
      reader.skip(length);
    }
    return undefined;
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  get size(): number {
    return this.#whole().size;
  }

  forEach(each: (value: Attribute, name: string, map: ReadonlyMap<string, Attribute>) => void): void {
    for (const [name, attribute] of this.#whole()) each(attribute, name, this);
  }

  entries(): MapIterator<[string, Attribute]> {
    return this.#whole().entries();
  }

  keys(): MapIterator<string> {
    return this.#whole().keys();
  }

  values(): MapIterator<Attribute> {
    return this.#whole().values();
  }

  [Symbol.iterator](): MapIterator<[string, Attribute]> {
    return this.#whole()[Symbol.iterator]();
  }

  #whole(): ReadonlyMap<string, Attribute> {
    return this.#view.whole().attributes;
  }
}

/** Which commit wrote it, few ask. */
class PackedAttribute implements Attribute {
  readonly value: Uint8Array;
  readonly #view: PackedView;
  readonly #name: string;

  constructor(view: PackedView, name: string, value: Uint8Array) {
    this.#view = view;
    this.#name = name;
    this.value = value;
  }

  get version(): Version {
    return this.#whole().version;
  }

  get stamp(): Stamp {
    return this.#whole().stamp;
  }

  #whole(): Attribute {
    return this.#view.whole().attributes.get(this.#name)!;
  }
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7f) return false;
  return true;
}

function isAt(bytes: Buffer, at: number, ascii: string): boolean {
  for (let offset = 0; offset < ascii.length; offset++) {
    if (bytes[at + offset] !== ascii.charCodeAt(offset)) return false;
  }
  return true;
}

// Nearly all records of a store carry the same epoch: one comparison instead of one more string for each read.
let lastEpoch = "" as Epoch;
let lastEpochBytes: Uint8Array = new Uint8Array(0);

function epochAt(bytes: Buffer, at: number): Epoch {
  if (at + EPOCH_BYTES > bytes.length) throw unreadableRecord("a reference points at nothing");
  for (let offset = 0; offset < EPOCH_BYTES; offset++) {
    if (bytes[at + offset] === lastEpochBytes[offset]) continue;
    lastEpochBytes = Uint8Array.prototype.slice.call(bytes, at, at + EPOCH_BYTES);
    lastEpoch = bytes.toString("hex", at, at + EPOCH_BYTES) as Epoch;
    break;
  }
  return lastEpoch;
}
