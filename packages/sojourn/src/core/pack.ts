/**
 * A session record as one block of bytes: what a store keeps in memory and what travels between members. A
 * packed session takes about half the memory of the same as objects, and the garbage collector sees one thing
 * instead of thirty.
 *
 * A format byte, then fields: tag byte, length, content. Fields that this release does not know are kept byte
 * for byte and written back last, so a session survives a domain of two releases. Attributes written by one
 * commit share one row of the commit table, in which epochs and members are numbers.
 *
 *   1 birth      8 bytes                         5 members     texts
 *   2 principal  text; absent: null              6 lineage     (epoch, counter)…, in write order
 *   3 state      1: superseded; absent: live     7 commits     (epoch, counter, physical ms, logical, member)…
 *   4 epochs     8 bytes each                    8 attributes  (name, commit, length, value)…, in order
 *
 * The first commit is the record's own; the others count physical ms from it. Key and times are not in here:
 * they are the store's index, and a touch moves them without the content.
 *
 * Reading never allocates for what a length claims, only for what is there, whoever wrote the bytes.
 */
import type { SessionKey } from "./ids.ts";
import {
  numberSize,
  type PackedText,
  PackReader,
  packedText,
  textSize,
  unreadableRecord,
  unzigzag,
  type WriteCursor,
  writeNumber,
  writeText,
  zigzag,
} from "./pack-bytes.ts";
import type { Attribute, SessionRecord } from "./record.ts";
import { compareStamps, type Stamp } from "./stamp.ts";
import { type Epoch, sameVersion, type Version } from "./version.ts";

/** What is kept beside the bytes. */
export type RecordTimes = Pick<
  SessionRecord,
  "createdAtMs" | "touchedAtMs" | "expiresAtMs" | "absoluteExpiresAtMs"
>;

// 1: the first.
export const FORMAT = 1;
export const FIELD = {
  birth: 1,
  principal: 2,
  state: 3,
  epochs: 4,
  members: 5,
  lineage: 6,
  commits: 7,
  attributes: 8,
} as const;
const FIELD_LAST = 8;
const STATE_SUPERSEDED = 1;
export const EPOCH_BYTES = 8;
const EPOCH_PATTERN = /^[0-9a-f]{16}$/;

/**
 * Everything of `record` except its key and its four times, in a Buffer of exactly its own size.
 *
 * @throws {RangeError} for a record that no authority makes: an epoch or birth that is not 16 hex characters,
 *         a number that is not a safe integer ≥ 0
 */
export function packRecord(record: SessionRecord): Buffer {
  const tables = new Tables(record);
  const principal = record.principal === null ? null : packedText(record.principal);
  const unknown = record.unknownFields;
  const sizes = [
    EPOCH_BYTES,
    principal ? textSize(principal) : 0,
    record.state === "superseded" ? 1 : 0,
    tables.epochs.size * EPOCH_BYTES,
    tables.membersSize,
    tables.lineageSize,
    tables.commitsSize,
    tables.attributesSize,
  ];
  let total = 1 + (unknown?.byteLength ?? 0);
  for (const size of sizes) if (size > 0) total += 1 + numberSize(size) + size;

  const to: WriteCursor = { bytes: Buffer.allocUnsafeSlow(total), at: 0 };
  to.bytes[to.at++] = FORMAT;
  const begin = (field: number): boolean => {
    const size = sizes[field - 1] as number;
    if (size === 0) return false;
    to.bytes[to.at++] = field;
    writeNumber(to, size);
    return true;
  };
  if (begin(FIELD.birth)) writeHex(to, record.birth, "birth");
  if (begin(FIELD.principal) && principal) writeText(to, principal);
  if (begin(FIELD.state)) to.bytes[to.at++] = STATE_SUPERSEDED;
  if (begin(FIELD.epochs)) for (const epoch of tables.epochs.keys()) writeHex(to, epoch, "epoch");
  if (begin(FIELD.members)) for (const member of tables.memberTexts) writeText(to, member);
  if (begin(FIELD.lineage)) for (const number of tables.lineage) writeNumber(to, number);
  if (begin(FIELD.commits)) for (const number of tables.commits) writeNumber(to, number);
  if (begin(FIELD.attributes)) {
    for (const { name, commit, value } of tables.attributes) {
      writeText(to, name);
      writeNumber(to, commit);
      writeNumber(to, value.byteLength);
      to.bytes.set(value, to.at);
      to.at += value.byteLength;
    }
  }
  if (unknown) to.bytes.set(unknown, to.at);
  return to.bytes;
}

/**
 * The record that was packed. Attribute values are views of `bytes`: they live as long, and nobody may change
 * either.
 *
 * @throws {SessionError} STORED_DATA_UNREADABLE for anything `packRecord` of this or a newer release did not
 *           write
 */
export function unpackRecord(key: SessionKey, times: RecordTimes, bytes: Uint8Array): SessionRecord {
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer[0] !== FORMAT) throw unreadableRecord("it is in a format this release does not know");
  const { fields, unknown } = fieldsOf(buffer);
  const field = (tag: number): PackReader => fields[tag] ?? new PackReader(buffer, 0, 0);

  const birth = field(FIELD.birth);
  if (birth.left !== EPOCH_BYTES) throw unreadableRecord("its birth is not 8 bytes");
  const epochs = readEpochs(field(FIELD.epochs));
  const members = readTexts(field(FIELD.members));
  const commits = readCommits(field(FIELD.commits), epochs, members);
  const own = commits[0];
  if (!own) throw unreadableRecord("it has no commit");
  const record = {
    key,
    birth: buffer.toString("hex", birth.at, birth.end),
    createdAtMs: times.createdAtMs,
    touchedAtMs: times.touchedAtMs,
    expiresAtMs: times.expiresAtMs,
    absoluteExpiresAtMs: times.absoluteExpiresAtMs,
    principal: readPrincipal(fields[FIELD.principal]),
    state: readState(fields[FIELD.state]),
    version: own.version,
    lineage: readLineage(field(FIELD.lineage), epochs),
    stamp: own.stamp,
    attributes: readAttributes(field(FIELD.attributes), commits),
  };
  return unknown ? { ...record, unknownFields: unknown } : record;
}

interface PackedCommit {
  readonly version: Version;
  readonly stamp: Stamp;
}

interface CommitRow extends PackedCommit {
  readonly index: number;
  readonly next: CommitRow | undefined;
}

/** Attributes of one commit usually share the objects, too. */
function sameCommit(row: CommitRow, version: Version, stamp: Stamp): boolean {
  return (
    (row.version === version || sameVersion(row.version, version)) &&
    (row.stamp === stamp || compareStamps(row.stamp, stamp) === 0)
  );
}

/** What attributes share, numbered, with the sizes all of it will take. */
class Tables {
  readonly epochs = new Map<Epoch, number>();
  readonly memberTexts: PackedText[] = [];
  membersSize = 0;
  /** Rows one after the other, as they are written. */
  readonly lineage: number[] = [];
  lineageSize = 0;
  readonly commits: number[] = [];
  commitsSize = 0;
  readonly attributes: { readonly name: PackedText; readonly commit: number; readonly value: Uint8Array }[] =
    [];
  attributesSize = 0;

  readonly #members = new Map<string, number>();
  readonly #basePhysicalMs: number;
  #commitCount = 0;
  /** Rows by counter, the rare second one of a counter behind the first: epochs count on their own. */
  readonly #rows = new Map<number, CommitRow>();

  constructor(record: SessionRecord) {
    this.#basePhysicalMs = record.stamp.physicalMs;
    this.#commit(record);
    for (const [epoch, counter] of record.lineage) {
      this.lineage.push(this.#epoch(epoch), whole(counter, "counter"));
    }
    for (const number of this.lineage) this.lineageSize += numberSize(number);
    for (const [attributeName, attribute] of record.attributes) {
      const name = packedText(attributeName);
      const commit = this.#commit(attribute);
      const { value } = attribute;
      this.attributes.push({ name, commit, value });
      this.attributesSize +=
        textSize(name) + numberSize(commit) + numberSize(value.byteLength) + value.byteLength;
    }
    for (const number of this.commits) this.commitsSize += numberSize(number);
  }

  #commit({ version, stamp }: PackedCommit): number {
    const first = this.#rows.get(version.counter);
    for (let row = first; row; row = row.next) {
      if (sameCommit(row, version, stamp)) return row.index;
    }
    const index = this.#commitCount++;
    this.#rows.set(version.counter, { version, stamp, index, next: first });
    const sincePhysicalMs = whole(stamp.physicalMs, "physicalMs") - this.#basePhysicalMs;
    this.commits.push(
      this.#epoch(version.epoch),
      whole(version.counter, "counter"),
      index === 0 ? stamp.physicalMs : whole(zigzag(sincePhysicalMs), "physicalMs"),
      whole(stamp.logical, "logical"),
      this.#member(stamp.member),
    );
    return index;
  }

  #epoch(epoch: Epoch): number {
    const known = this.epochs.get(epoch);
    if (known !== undefined) return known;
    const index = this.epochs.size;
    this.epochs.set(epoch, index);
    return index;
  }

  #member(member: string): number {
    const known = this.#members.get(member);
    if (known !== undefined) return known;
    const index = this.#members.size;
    this.#members.set(member, index);
    const text = packedText(member);
    this.memberTexts.push(text);
    this.membersSize += textSize(text);
    return index;
  }
}

function writeHex(to: WriteCursor, hex: string, what: string): void {
  if (!EPOCH_PATTERN.test(hex)) {
    throw new RangeError(`Cannot pack a session: its ${what} is not 16 lower-case hex characters`);
  }
  to.bytes.write(hex, to.at, "hex");
  to.at += EPOCH_BYTES;
}

function whole(value: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`Cannot pack a session: ${what} is ${value}, expected a whole number below 2^53`);
  }
  return value;
}

/** Finds where each field is; those of newer releases together, in their order. */
function fieldsOf(buffer: Buffer): { fields: (PackReader | undefined)[]; unknown: Buffer | undefined } {
  const fields: (PackReader | undefined)[] = new Array(FIELD_LAST + 1).fill(undefined);
  const unknown: Buffer[] = [];
  const reader = new PackReader(buffer, 1, buffer.length);
  while (reader.left > 0) {
    const begin = reader.skip(1);
    const tag = buffer[begin] as number;
    const contentAt = reader.skip(reader.number());
    if (tag === 0) throw unreadableRecord("a field has the tag 0");
    if (tag > FIELD_LAST) unknown.push(buffer.subarray(begin, reader.at));
    else if (fields[tag]) throw unreadableRecord("a field is there twice");
    else fields[tag] = new PackReader(buffer, contentAt, reader.at);
  }
  return { fields, unknown: unknown.length > 1 ? Buffer.concat(unknown) : unknown[0] };
}

function readEpochs(reader: PackReader): Epoch[] {
  const epochs: Epoch[] = [];
  while (reader.left > 0) {
    const begin = reader.skip(EPOCH_BYTES);
    epochs.push(reader.bytes.toString("hex", begin, reader.at) as Epoch);
  }
  return epochs;
}

function readTexts(reader: PackReader): string[] {
  const texts: string[] = [];
  while (reader.left > 0) texts.push(reader.text());
  return texts;
}

function readCommits(
  reader: PackReader,
  epochs: readonly Epoch[],
  members: readonly string[],
): PackedCommit[] {
  const commits: PackedCommit[] = [];
  let basePhysicalMs = 0;
  while (reader.left > 0) {
    const epoch = epochs[reader.index(epochs.length)] as Epoch;
    const counter = reader.number();
    const physicalMs = commits.length === 0 ? reader.number() : basePhysicalMs + unzigzag(reader.number());
    const logical = reader.number();
    const member = members[reader.index(members.length)] as string;
    if (!Number.isSafeInteger(physicalMs) || physicalMs < 0)
      throw unreadableRecord("a stamp is out of range");
    if (commits.length === 0) basePhysicalMs = physicalMs;
    commits.push({ version: { epoch, counter }, stamp: { physicalMs, logical, member } });
  }
  return commits;
}

function readLineage(reader: PackReader, epochs: readonly Epoch[]): Map<Epoch, number> {
  const lineage = new Map<Epoch, number>();
  let count = 0;
  for (; reader.left > 0; count++) {
    const epoch = epochs[reader.index(epochs.length)] as Epoch;
    lineage.set(epoch, reader.number());
  }
  if (lineage.size !== count) throw unreadableRecord("its lineage names an epoch twice");
  return lineage;
}

function readPrincipal(reader: PackReader | undefined): string | null {
  if (!reader) return null;
  const principal = reader.text();
  if (reader.left > 0) throw unreadableRecord("bytes follow its principal");
  return principal;
}

function readState(reader: PackReader | undefined): SessionRecord["state"] {
  if (!reader) return "live";
  if (reader.left === 1 && reader.bytes[reader.at] === STATE_SUPERSEDED) return "superseded";
  throw unreadableRecord("it is in a state this release does not know");
}

function readAttributes(reader: PackReader, commits: readonly PackedCommit[]): Map<string, Attribute> {
  const attributes = new Map<string, Attribute>();
  let count = 0;
  for (; reader.left > 0; count++) {
    const name = reader.text();
    const { version, stamp } = commits[reader.index(commits.length)] as PackedCommit;
    const value = reader.take(reader.number());
    attributes.set(name, { value, version, stamp });
  }
  if (attributes.size !== count) throw unreadableRecord("an attribute is there twice");
  return attributes;
}
