/**
 * The first frame of each side. Magic and version range come first and never move, so that any two releases can at least
 * tell each other why they cannot talk; what follows may grow at its end.
 */
import { ERROR_CODES, type ErrorCode, isSessionError, SessionError } from "../../core/errors.ts";
import { invalidFrame, Reader, Writer } from "./bytes.ts";
import { MESSAGE, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN } from "./protocol.ts";

/** "SJRN" */
const MAGIC = 0x534a524e;
const NAME_BYTES_MAX = 64;
const MESSAGE_BYTES_MAX = 1024;

export interface ProtocolRange {
  readonly min: number;
  readonly max: number;
}

export const OUR_PROTOCOLS: ProtocolRange = { min: PROTOCOL_VERSION_MIN, max: PROTOCOL_VERSION };

/** A client holds no copies; otherwise it is a member like any other. */
export type Role = "client" | "member";

export interface Hello {
  readonly protocols: ProtocolRange;
  readonly role: Role;
  /** Bits both sides must set before a feature is used. None yet. */
  readonly features: number;
  readonly domain: string;
  /** Unique among the processes of a domain, ≤ 64 ASCII characters. */
  readonly member: string;
  /** New at each start, 16 hex characters: tells a restarted member from one that was only away. */
  readonly incarnation: string;
  /** For logs and the status page only. */
  readonly software: string;
}

export interface Welcome extends Hello {
  /** What this connection speaks from here on. */
  readonly protocol: number;
  /** The authority's monotonic clock at the moment of writing. */
  readonly authorityMs: number;
}

export interface Refusal {
  readonly protocols: ProtocolRange;
  readonly code: ErrorCode;
  readonly domain: string;
  readonly message: string;
}

export function encodeHello(hello: Hello): Buffer {
  return helloFields(head(MESSAGE.hello, hello.protocols), hello).finish();
}

export function encodeWelcome(welcome: Welcome): Buffer {
  const writer = head(MESSAGE.welcome, welcome.protocols).u16(welcome.protocol).f64(welcome.authorityMs);
  return helloFields(writer, welcome).finish();
}

export function encodeRefusal(refusal: Refusal): Buffer {
  return head(MESSAGE.refusal, refusal.protocols)
    .text(refusal.code)
    .text(refusal.domain)
    .text(refusal.message)
    .finish();
}

/**
 * What a server makes of a first frame. The range is read alone first: a newer hello may continue in a way we do not know.
 *
 * @throws {SessionError} INVALID_FRAME when it is no hello at all
 */
export function decodeHello(
  frame: Uint8Array,
): Hello | { readonly protocols: ProtocolRange; readonly role: null } {
  const reader = new Reader(frame);
  if (reader.u8() !== MESSAGE.hello) throw invalidFrame("the first one is not a hello");
  const protocols = readHead(reader);
  if (agreedProtocol(protocols) === null) return { protocols, role: null };
  return { protocols, ...readHello(reader) };
}

/** @throws {SessionError} INVALID_FRAME */
export function decodeWelcome(frame: Uint8Array): Welcome | Refusal {
  const reader = new Reader(frame);
  const type = reader.u8();
  if (type !== MESSAGE.welcome && type !== MESSAGE.refusal)
    throw invalidFrame("the first one is not a welcome");
  const protocols = readHead(reader);
  if (type === MESSAGE.refusal) {
    const code = reader.text(NAME_BYTES_MAX);
    const domain = reader.text(NAME_BYTES_MAX);
    const message = reader.text(MESSAGE_BYTES_MAX);
    return { protocols, code: knownCode(code), domain, message };
  }
  const protocol = reader.u16();
  const authorityMs = reader.f64();
  return { protocols, protocol, authorityMs, ...readHello(reader) };
}

/** The newest version both speak, or null. */
export function agreedProtocol(theirs: ProtocolRange, ours: ProtocolRange = OUR_PROTOCOLS): number | null {
  const newest = Math.min(theirs.max, ours.max);
  return newest >= Math.max(theirs.min, ours.min) ? newest : null;
}

/** `3`, or `1..2`. */
export function protocolText({ min, max }: ProtocolRange): string {
  return min === max ? `${max}` : `${min}..${max}`;
}

export function isWelcome(answer: Welcome | Refusal): answer is Welcome {
  return "member" in answer;
}

/** An error code by its text, for errors that crossed the wire. An unknown one is a fault of the store. */
export function knownCode(code: string): ErrorCode {
  return Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : "STORE_UNAVAILABLE";
}

const DOMAIN_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** @throws {SessionError} INVALID_OPTION */
export function checkDomain(domain: string): string {
  if (!DOMAIN_PATTERN.test(domain)) {
    throw new SessionError(
      "INVALID_OPTION",
      `Cannot use "${domain.slice(0, 80)}" as a session domain: expected 1 to 63 of A-Z a-z 0-9 . _ -, a letter or digit first`,
    );
  }
  return domain;
}

/** True for the errors that no amount of retrying with the same options will cure. */
export function isRefusal(error: unknown): error is SessionError {
  return (
    isSessionError(error) &&
    (error.code === "WRONG_SECRET" ||
      error.code === "WRONG_DOMAIN" ||
      error.code === "WRONG_PROTOCOL_VERSION")
  );
}

function head(type: number, protocols: ProtocolRange): Writer {
  return new Writer().u8(type).u32(MAGIC).u16(protocols.min).u16(protocols.max);
}

function readHead(reader: Reader): ProtocolRange {
  if (reader.u32() !== MAGIC) throw invalidFrame("the first one does not begin with SJRN");
  const range = { min: reader.u16(), max: reader.u16() };
  if (range.min > range.max) throw invalidFrame("its protocol range is empty");
  return range;
}

function helloFields(writer: Writer, hello: Hello): Writer {
  return writer
    .u8(hello.role === "member" ? 2 : 1)
    .u32(hello.features)
    .raw(Buffer.from(hello.incarnation, "hex"))
    .text(hello.domain)
    .text(hello.member)
    .text(hello.software);
}

function readHello(reader: Reader): Omit<Hello, "protocols"> {
  const role = reader.u8();
  if (role !== 1 && role !== 2) throw invalidFrame(`its role is ${role}`);
  return {
    role: role === 2 ? "member" : "client",
    features: reader.u32(),
    incarnation: reader.raw(8).toString("hex"),
    domain: reader.text(NAME_BYTES_MAX),
    member: reader.text(NAME_BYTES_MAX),
    software: reader.text(NAME_BYTES_MAX),
  };
}
