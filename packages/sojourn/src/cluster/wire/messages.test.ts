import fc from "fast-check";
import { expect, test } from "vitest";
import type { OperationId, SessionKey } from "../../core/ids.ts";
import type { NewSession, SessionDelta, SessionRecord } from "../../core/record.ts";
import type { Epoch, Version } from "../../core/version.ts";
import { FUZZ_RUNS, FUZZ_TIMEOUT_MS } from "../../testing/fuzz-runs.test.support.ts";
import { decodeFromServer, encodePush, encodeReply, type Push, type Reply } from "./replies.ts";
import { decodeRequest, encodeRequest, type Request } from "./requests.ts";

/** Both processes' clocks at the same true moment: neither wall nor monotonic clocks agree. */
const CLIENT = { wallMs: 1_700_000_000_000, authorityMs: 5_000 };
const SERVER = { wallMs: 1_600_000_000_000, authorityMs: 5_000 };
const SKEW_MS = SERVER.wallMs - CLIENT.wallMs;

const bytes = (count: number) => fc.uint8Array({ minLength: count, maxLength: count });
const key = bytes(32).map((raw) => Buffer.from(raw).toString("base64url") as SessionKey);
const operationId = bytes(18).map((raw) => Buffer.from(raw).toString("base64url") as OperationId);
const epoch = bytes(8).map((raw) => Buffer.from(raw).toString("hex") as Epoch);
const version: fc.Arbitrary<Version> = fc.record({
  epoch,
  counter: fc.integer({ min: 1, max: 2 ** 48 - 1 }),
});
/** Any well-formed text; lone surrogates are refused by the encoder and tested apart. */
const text = fc.string({ unit: "binary", maxLength: 12 });
const time = fc.integer({ min: 1_500_000_000_000, max: 1_900_000_000_000 });
const age = fc.integer({ min: 0, max: 100_000 });
const values = fc
  .array(fc.tuple(text, fc.uint8Array({ maxLength: 24 })), { maxLength: 5 })
  .map((entries) => new Map<string, Uint8Array>(entries.map(([name, value]) => [name, Buffer.from(value)])));
const principal = fc.record({ principal: fc.option(text), ageMs: age });

const session: fc.Arbitrary<NewSession> = fc.record(
  {
    key,
    attributes: values,
    principal,
    createdAtMs: time,
    expiresAtMs: time,
    absoluteExpiresAtMs: time,
  },
  { requiredKeys: ["key", "attributes", "expiresAtMs", "absoluteExpiresAtMs"] },
);
const delta: fc.Arbitrary<SessionDelta> = fc.record(
  {
    set: values.filter((set) => set.size > 0),
    delete: fc.array(text, { minLength: 1, maxLength: 3 }),
    expect: fc
      .array(fc.tuple(text, fc.option(version)), { minLength: 1, maxLength: 3 })
      .map((entries) => new Map(entries)),
    principal,
    expiresAtMs: time,
  },
  { requiredKeys: [] },
);
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const request: fc.Arbitrary<Request> = fc.oneof(
  fc.record({ op: fc.constant("read" as const), key }),
  fc.record({ op: fc.constant("create" as const), operationId, session }),
  fc.record({ op: fc.constant("apply" as const), key, operationId, delta, atLeast: optional(version) }),
  fc.record({ op: fc.constant("touch" as const), key, operationId, expiresAtMs: time }),
  fc.record({ op: fc.constant("supersede" as const), key, operationId, successor: key, graceMs: age }),
  fc.record({ op: fc.constant("destroy" as const), key, operationId }),
  fc.record({
    op: fc.constant("list" as const),
    principal: optional(text),
    cursor: optional(text),
    limit: optional(fc.integer({ min: 1, max: 1000 })),
  }),
  fc.record({ op: fc.constant("count" as const), principal: optional(text) }),
  fc.record({ op: fc.constant("endAll" as const), operationId, principal: text, except: optional(key) }),
  fc.constantFrom<Request[]>({ op: "watch" }, { op: "heartbeat" }, { op: "status" }),
);

const stamp = fc.record({ physicalMs: time, logical: fc.nat(1000), member: fc.constantFrom("a", "b") });
const record: fc.Arbitrary<SessionRecord> = fc
  .record({
    key,
    birth: epoch,
    createdAtMs: time,
    touchedAtMs: time,
    expiresAtMs: time,
    absoluteExpiresAtMs: time,
    principal: fc.option(text),
    state: fc.constantFrom("live" as const, "superseded" as const),
    version,
    stamp,
    values,
  })
  .map(({ values: map, ...rest }) => ({
    ...rest,
    lineage: new Map([[rest.version.epoch, rest.version.counter]]),
    attributes: new Map(
      [...map].map(([name, value]) => [name, { value, version: rest.version, stamp: rest.stamp }]),
    ),
  }));
const summary = fc.record({
  key,
  principal: fc.option(text),
  createdAtMs: time,
  touchedAtMs: time,
  expiresAtMs: time,
  absoluteExpiresAtMs: time,
  attributeCount: fc.nat(1000),
  attributeBytes: fc.nat(1_000_000),
});
const reply: fc.Arbitrary<Reply> = fc.oneof(
  fc.record({ key, record: fc.option(record) }).map(
    ({ key: asked, record: found }): Reply => ({
      op: "read",
      key: asked,
      record: found && { ...found, key: asked },
    }),
  ),
  fc.record({
    op: fc.constant("create" as const),
    key,
    result: fc.oneof(
      fc.record({ status: fc.constant("created" as const), version }),
      fc.record({ status: fc.constantFrom("taken" as const, "gone" as const) }),
    ),
  }),
  fc.record({
    op: fc.constant("apply" as const),
    key,
    result: fc.oneof(
      fc.record({ status: fc.constant("applied" as const), version, expiresAtMs: time }),
      fc.record({ status: fc.constantFrom("behind" as const, "gone" as const) }),
    ),
  }),
  record.map(
    (current): Reply => ({ op: "apply", key: current.key, result: { status: "conflict", current } }),
  ),
  record.map(
    (final): Reply => ({ op: "supersede", key: final.key, result: { status: "superseded", final } }),
  ),
  key.map((asked): Reply => ({ op: "supersede", key: asked, result: { status: "gone" } })),
  fc.record({ op: fc.constant("touch" as const), key, live: fc.boolean() }),
  fc.record({ op: fc.constant("destroy" as const), key, ended: fc.boolean() }),
  fc.record({
    op: fc.constant("list" as const),
    page: fc.record(
      { sessions: fc.array(summary, { maxLength: 4 }), next: text },
      { requiredKeys: ["sessions"] },
    ),
  }),
  fc.record({ op: fc.constantFrom("count" as const, "endAll" as const), count: fc.nat(1_000_000) }),
  fc.constant<Reply>({ op: "watch" }),
  fc.record({ op: fc.constant("heartbeat" as const), authorityMs: fc.double({ noNaN: true }) }),
  fc.record({ op: fc.constant("status" as const), json: text }),
  fc.record({
    op: fc.constant("error" as const),
    code: fc.constantFrom("STORE_FULL" as const, "STORE_UNAVAILABLE" as const),
    message: text,
  }),
);
const push: fc.Arbitrary<Push> = fc.oneof(
  fc.constant<Push>({ push: "leaving" }),
  fc.array(key, { maxLength: 5 }).map((keys): Push => ({ push: "invalidated", keys })),
  fc.constant<Push>({ push: "invalidated", keys: "all" }),
);

const id = fc.nat(0xffff_ffff);
const deadlineMs = fc.integer({ min: 0, max: 100_000 });

/** Every wall time inside, `byMs` later. */
function shifted<T>(value: T, byMs: number): T {
  if (value instanceof Map) return new Map([...value].map(([name, each]) => [name, each])) as T;
  if (Array.isArray(value)) return value.map((each) => shifted(each, byMs)) as T;
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) =>
      name.endsWith("AtMs") && typeof each === "number" ? [name, each + byMs] : [name, shifted(each, byMs)],
    ),
  ) as T;
}

test(
  "a request arrives as it was sent, its times translated into the other side's clock",
  () => {
    fc.assert(
      fc.property(id, deadlineMs, request, (number, deadline, sent) => {
        const frame = encodeRequest({ id: number, deadlineMs: deadline, request: sent }, CLIENT);
        const received = decodeRequest(frame, SERVER);
        expect(received.id).toBe(number);
        expect(received.deadlineMs).toBe(deadline);
        expect(received.request).toEqual(shifted(sent, SKEW_MS));
      }),
      { numRuns: FUZZ_RUNS / 10 },
    );
  },
  FUZZ_TIMEOUT_MS,
);

test("a login ages while its request waits on the line", () => {
  const login: Request = {
    op: "apply",
    key: "A".repeat(43) as SessionKey,
    operationId: "A".repeat(24) as OperationId,
    delta: { principal: { principal: "ada", ageMs: 10 } },
  };
  const frame = encodeRequest({ id: 1, deadlineMs: 6_000, request: login }, CLIENT);
  const later = { wallMs: SERVER.wallMs + 300, authorityMs: SERVER.authorityMs + 300 };
  expect(decodeRequest(frame, later).request).toMatchObject({ delta: { principal: { ageMs: 310 } } });
});

test("a reply and a push arrive as they were sent", () => {
  fc.assert(
    fc.property(id, reply, (number, sent) => {
      const received = decodeFromServer(encodeReply(number, sent, SERVER.wallMs), CLIENT.wallMs);
      expect(received).toEqual({ id: number, reply: shifted(sent, -SKEW_MS) });
    }),
    { numRuns: FUZZ_RUNS / 10 },
  );
  fc.assert(
    fc.property(push, (sent) => {
      expect(decodeFromServer(encodePush(sent), 0)).toEqual(sent);
    }),
  );
});

/** Valid frames with bytes changed, cut off, or added: random bytes alone would die at the first check. */
function damaged(frame: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  return fc
    .tuple(
      frame,
      fc.array(fc.tuple(fc.nat(), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)), { maxLength: 5 }),
      fc.option(fc.nat(), { freq: 3 }),
      fc.uint8Array({ maxLength: 3 }),
    )
    .map(([valid, changes, end, tail]) => {
      const copy = Buffer.from(valid);
      for (const [place, value] of changes) copy[place % copy.length] = value;
      return Buffer.concat([end === null ? copy : copy.subarray(0, end % (copy.length + 1)), tail]);
    });
}

const FRAME_FAULTS = ["INVALID_FRAME", "STORED_DATA_UNREADABLE"];

test(
  "no frame makes a server's parser throw anything but INVALID_FRAME",
  () => {
    const frame = fc
      .tuple(id, deadlineMs, request)
      .map(([number, deadline, sent]) =>
        encodeRequest({ id: number, deadlineMs: deadline, request: sent }, CLIENT),
      );
    fc.assert(
      fc.property(fc.oneof(damaged(frame), fc.uint8Array({ minLength: 1, maxLength: 80 })), (input) => {
        try {
          decodeRequest(input, SERVER);
        } catch (error) {
          if ((error as { code?: string }).code !== "INVALID_FRAME") throw error;
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
  },
  FUZZ_TIMEOUT_MS,
);

test(
  "no frame makes a client's parser throw anything but an error of the frame",
  () => {
    const frame = fc.oneof(
      fc.tuple(id, reply).map(([number, sent]) => encodeReply(number, sent, SERVER.wallMs)),
      push.map(encodePush),
    );
    fc.assert(
      fc.property(fc.oneof(damaged(frame), fc.uint8Array({ minLength: 1, maxLength: 80 })), (input) => {
        try {
          decodeFromServer(input, CLIENT.wallMs);
        } catch (error) {
          if (!FRAME_FAULTS.includes((error as { code: string }).code)) throw error;
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
  },
  FUZZ_TIMEOUT_MS,
);

test("a count that its frame cannot hold is refused before anything is allocated for it", () => {
  const frame = encodeRequest(
    {
      id: 1,
      deadlineMs: 1,
      request: {
        op: "apply",
        key: "A".repeat(43) as SessionKey,
        operationId: "A".repeat(24) as OperationId,
        delta: {},
      },
    },
    CLIENT,
  );
  // The number of values set: after type, id, deadline, key, operation id and three presence bytes.
  frame.writeUInt32BE(0xffff_ffff, 1 + 4 + 8 + 32 + 18 + 3);
  expect(() => decodeRequest(frame, SERVER)).toThrow("4294967295 items announced in 8 bytes");
});

test("what UTF-8 cannot carry is refused where it is sent, not changed on the way", () => {
  const send = (sent: Request) => encodeRequest({ id: 1, deadlineMs: 1, request: sent }, CLIENT);
  const ids = { key: "A".repeat(43) as SessionKey, operationId: "A".repeat(24) as OperationId };
  expect(() => send({ op: "apply", ...ids, delta: { set: new Map([["\ud800", Buffer.alloc(1)]]) } })).toThrow(
    expect.objectContaining({ code: "INVALID_ATTRIBUTE_NAME" }),
  );
  expect(() => send({ op: "endAll", operationId: ids.operationId, principal: "\udfff" })).toThrow(
    expect.objectContaining({ code: "INVALID_OPTION" }),
  );
  expect(() => send({ op: "read", key: "short" as SessionKey })).toThrow(
    expect.objectContaining({ code: "INVALID_OPTION" }),
  );
});
