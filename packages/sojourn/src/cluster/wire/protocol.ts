/**
 * The numbers both ends must agree on. `docs/wire.md` is this folder in words.
 */

/**
 * What changed on the wire, and what an older process makes of it:
 * 1: the first. Hello, requests and replies with ids, invalidation pushes, heartbeats that carry the server's clock.
 */
export const PROTOCOL_VERSION = 1;
/** The oldest version this release still speaks. A rolling upgrade needs the one before; there is none yet. */
export const PROTOCOL_VERSION_MIN = 1;

export const SESSION_SERVER_PORT = 5701;

/** Larger sessions are no longer sessions. Checked on the length, before a byte of the frame is kept. */
export const FRAME_BYTES_MAX = 16 * 1024 * 1024;
/** Until the other side has said who it is, this is all it may make us remember. */
export const HELLO_BYTES_MAX = 4 * 1024;
/** From accept to finished hello, TLS handshake included. */
export const HELLO_TIMEOUT_MS = 5_000;

/** Sent by clients; its answer carries the authority's clock and feeds the lease. */
export const HEARTBEAT_INTERVAL_MS = 500;
/** No change can be older than its invalidation for this long after *sending* a heartbeat that was answered. */
export const LEASE_MS = 2_000;

/** One byte, the first of every frame. Numbers are never reused. */
export const MESSAGE = {
  hello: 0x01,
  welcome: 0x02,
  refusal: 0x03,
  read: 0x10,
  create: 0x11,
  apply: 0x12,
  touch: 0x13,
  supersede: 0x14,
  destroy: 0x15,
  list: 0x18,
  count: 0x19,
  endAll: 0x1a,
  watch: 0x20,
  heartbeat: 0x21,
  status: 0x22,
  /** A reply is its request's number with this bit set. */
  replyBit: 0x80,
  invalidated: 0x40,
  leaving: 0x41,
  error: 0xff,
} as const;

/** What a client asks for, each with a request and a reply of that name. */
export const OPERATIONS = [
  "read",
  "create",
  "apply",
  "touch",
  "supersede",
  "destroy",
  "list",
  "count",
  "endAll",
  "watch",
  "heartbeat",
  "status",
] as const;
