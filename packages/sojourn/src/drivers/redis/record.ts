/** What the scripts answer, as records and results; and what they are given. */
import { SessionError } from "../../core/errors.ts";
import type { SessionKey } from "../../core/ids.ts";
import type { Attribute, SessionDelta, SessionRecord } from "../../core/record.ts";
import type { Stamp } from "../../core/stamp.ts";
import { type Epoch, LINEAGE_EPOCHS_MAX, type Version } from "../../core/version.ts";
import type { ApplyResult, SessionSummary } from "../../store/store.ts";
import type { Argument } from "./port.ts";
import { ATTRIBUTE_HEAD_LENGTH } from "./scripts.ts";

/** A reply's parts: bulk strings are Buffers, whatever the client. */
export type Fields = readonly unknown[];

/** Server times to times of this process. */
export type ToLocal = (serverMs: number) => number;

const META = /^1 ([0-9a-f]{16}) (-?\d+) (\d+) (\d+) (\d+) ([01]) (\d+) (\d+) ((?:[0-9a-f]{16}\.\d+ ?)+)$/;

export interface Meta {
  readonly birth: string;
  readonly createdAtMs: number;
  readonly absoluteExpiresAtMs: number;
  readonly touchedAtMs: number;
  readonly expiresAtMs: number;
  readonly stamp: Stamp;
  readonly version: Version;
  readonly lineage: Map<Epoch, number>;
}

/** All times the server's. */
export function parseMeta(text: string): Meta {
  const found = META.exec(text);
  if (!found) throw unreadable("its head is none this release knows");
  const lineage = new Map<Epoch, number>();
  let version: Version | undefined;
  const commits = (found[9] as string).split(" ");
  for (const commit of commits.slice(-LINEAGE_EPOCHS_MAX)) {
    version = { epoch: commit.slice(0, 16) as Epoch, counter: Number(commit.slice(17)) };
    lineage.set(version.epoch, version.counter);
  }
  const last = version as Version;
  return {
    birth: found[1] as string,
    createdAtMs: Number(found[2]),
    absoluteExpiresAtMs: Number(found[3]),
    touchedAtMs: Number(found[4]),
    expiresAtMs: Number(found[5]),
    // One authority stamps a session at a time: its epoch is its name.
    stamp: { physicalMs: Number(found[7]), logical: Number(found[8]), member: last.epoch },
    version: last,
    lineage,
  };
}

/** A record of fields and values in turn, `count` of them together. */
export function recordOf(
  key: SessionKey,
  fields: Fields,
  count: number,
  toLocal: ToLocal,
  superseded?: { readonly untilMs?: number },
): SessionRecord {
  let meta: Meta | undefined;
  let principal: string | null = null;
  const attributes = new Map<string, Attribute>();
  // Attributes of one commit share their version and stamp.
  let head = "";
  let version: Version | undefined;
  let stamp: Stamp | undefined;
  for (let index = 0; index + 1 < count; index += 2) {
    const field = fields[index] as Buffer;
    const value = fields[index + 1] as Buffer;
    if (field[0] === 0x61) {
      const own = value.toString("latin1", 0, ATTRIBUTE_HEAD_LENGTH);
      if (own !== head) {
        head = own;
        version = versionOf(own);
        stamp = stampOf(own, version.epoch);
      }
      attributes.set(field.toString("utf8", 1), {
        value: value.subarray(ATTRIBUTE_HEAD_LENGTH),
        version: version as Version,
        stamp: stamp as Stamp,
      });
    } else if (field[0] === 0x3a) {
      if (field[1] === 0x6d) meta = parseMeta(value.toString("latin1"));
      else if (field[1] === 0x70) principal = value.toString();
    }
  }
  if (!meta) throw unreadable("it has no head");
  return {
    key,
    birth: meta.birth,
    createdAtMs: toLocal(meta.createdAtMs),
    touchedAtMs: toLocal(meta.touchedAtMs),
    expiresAtMs: toLocal(superseded?.untilMs ?? meta.expiresAtMs),
    absoluteExpiresAtMs: toLocal(meta.absoluteExpiresAtMs),
    principal,
    state: superseded ? "superseded" : "live",
    version: meta.version,
    lineage: meta.lineage,
    stamp: meta.stamp,
    attributes,
  };
}

/** As an attribute's head begins: what an expectation compares. */
function versionText({ epoch, counter }: Version): string {
  return `${epoch}.${counter.toString(16).padStart(8, "0")}`;
}

export function bytesOf(value: Uint8Array): Buffer {
  return Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

function versionOf(head: string): Version {
  const counter = Number.parseInt(head.slice(17, 25), 16);
  if (head.length !== ATTRIBUTE_HEAD_LENGTH || !(counter > 0)) {
    throw unreadable("an attribute has no head this release knows");
  }
  return { epoch: head.slice(0, 16) as Epoch, counter };
}

function stampOf(head: string, member: string): Stamp {
  return {
    physicalMs: Number.parseInt(head.slice(26, 37), 16),
    logical: Number.parseInt(head.slice(38, 42), 16),
    member,
  };
}

export function unreadable(found: string): SessionError {
  return new SessionError("STORED_DATA_UNREADABLE", `Cannot read a session from Redis: ${found}`);
}

/** A simple part of a reply: ASCII. */
export function textOf(part: unknown): string {
  return Buffer.isBuffer(part) ? part.toString("latin1") : String(part);
}

/** Of "c<epoch> <counter>" and what may follow. */
export function answeredVersion(answer: string): Version {
  return { epoch: answer.slice(1, 17) as Epoch, counter: Number.parseInt(answer.slice(18), 10) };
}

/** What no authority ever wrote is in no lineage, whatever it looks like. */
export function seenText({ epoch, counter }: Version): string {
  return /^[0-9a-f]{16}$/.test(epoch) && Number.isSafeInteger(counter)
    ? `${epoch} ${counter}`
    : `${"0".repeat(16)} 1`;
}

/** Of the answer to an apply: m(eta) when it was just made, a(pplied) when it is remembered, (k) conflict, b(ehind), g(one). */
export function applyResult(key: SessionKey, reply: Fields, toLocal: ToLocal): ApplyResult {
  const answer = textOf(reply[1]);
  switch (answer[0]) {
    case "m": {
      const { version, expiresAtMs } = parseMeta(answer.slice(1));
      return { status: "applied", version, expiresAtMs: toLocal(expiresAtMs) };
    }
    case "a": {
      const expiresAtMs = Number(answer.slice(answer.lastIndexOf(" ") + 1));
      return { status: "applied", version: answeredVersion(answer), expiresAtMs: toLocal(expiresAtMs) };
    }
    case "k": {
      const fields = reply[2] as Fields;
      return { status: "conflict", current: recordOf(key, fields, fields.length, toLocal) };
    }
    case "b":
      return { status: "behind" };
    default:
      return { status: "gone" };
  }
}

/** The last word of a script's head; it may hold anything. */
export function principalText(principal: string | null): string {
  return principal === null ? "-" : `+${principal}`;
}

/** Sets, deletes, expectations: the order of the script. */
export function deltaArguments(delta: SessionDelta, deletes: readonly string[]): Argument[] {
  const more: Argument[] = [];
  for (const [name, value] of delta.set ?? []) more.push(name, bytesOf(value));
  more.push(...deletes);
  for (const [name, version] of delta.expect ?? []) more.push(name, version ? versionText(version) : "");
  return more;
}

/** @returns null when it is no longer there */
export function summaryOf(key: SessionKey, reply: Fields, toLocal: ToLocal): SessionSummary | null {
  const [, head, principal, attributeCount, attributeBytes] = reply;
  if (head === undefined) return null;
  const meta = parseMeta(textOf(head));
  const owner = Buffer.isBuffer(principal) ? principal.toString() : String(principal);
  return {
    key,
    principal: owner[0] === "+" ? owner.slice(1) : null,
    createdAtMs: toLocal(meta.createdAtMs),
    touchedAtMs: toLocal(meta.touchedAtMs),
    expiresAtMs: toLocal(meta.expiresAtMs),
    absoluteExpiresAtMs: toLocal(meta.absoluteExpiresAtMs),
    attributeCount: Number(attributeCount),
    attributeBytes: Number(attributeBytes),
  };
}
