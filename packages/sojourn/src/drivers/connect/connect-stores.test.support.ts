/** For tests: a plain store of express-session's contract, the driver over it by a clock that a test moves, and harnesses. */
import type { Clock } from "../../core/clock.ts";
import { jsonCodec } from "../../core/codec.ts";
import type { SessionKey } from "../../core/ids.ts";
import type { NewSession, SessionRecord } from "../../core/record.ts";
import { OPERATION_ID_KEPT_MS } from "../../store/store.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import type { Capability, ConformanceHarness, OpenedStore } from "../../testing/store-conformance.ts";
import type {
  AnyConnectStore,
  ConnectCookie,
  ConnectSession,
  ListingConnectStore,
} from "./connect-contract.ts";
import type { ConnectDiagnostic } from "./limits.ts";
import { connectKey, connectStore, type ListingStore } from "./listing-connect-store.ts";

type Done = (error?: unknown, value?: unknown) => void;

/** What express-session's MemoryStore is: JSON text by id, answered a little later. Past their cookie, sessions are gone. */
export class PlainConnectStore {
  readonly texts = new Map<string, string>();
  readonly #clock: Pick<Clock, "nowMs">;

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  get(id: string, done: Done): void {
    queueMicrotask(() => done(null, this.#session(id)));
  }

  set(id: string, session: object, done: Done = () => undefined): void {
    this.texts.set(id, JSON.stringify(session));
    queueMicrotask(() => done());
  }

  destroy(id: string, done: Done = () => undefined): void {
    this.texts.delete(id);
    queueMicrotask(() => done());
  }

  all(done: Done): void {
    const all = [...this.texts.keys()].map((id) => [id, this.#session(id)] as const);
    queueMicrotask(() => done(null, Object.fromEntries(all.filter(([, session]) => session !== undefined))));
  }

  #session(id: string): unknown {
    const text = this.texts.get(id);
    if (text === undefined) return undefined;
    const session = JSON.parse(text) as { cookie: ConnectCookie };
    const { expires } = session.cookie;
    return expires && new Date(expires).getTime() <= this.#clock.nowMs() ? undefined : session;
  }
}

/** One process: what the driver promises without restriction. */
export function fakeTimeHarness(
  make: (clock: FakeClock) => AnyConnectStore,
  processes: 1 | 2 = 1,
): ConformanceHarness {
  return {
    name: `connect, ${processes} process${processes > 1 ? "es" : ""}`,
    async open(): Promise<OpenedStore> {
      const clock = new FakeClock();
      const backend = make(clock);
      const handles = Array.from({ length: processes }, () => quietly(backend, clock));
      return {
        store: handles[0]!,
        ...(handles[1] && { second: handles[1] }),
        clock: { nowMs: () => clock.nowMs(), advance: async (ms) => clock.advance(ms) },
        close: async () => {
          await Promise.all(handles.map((handle) => handle.close()));
        },
      };
    },
    lacks: ["watchable", "small", "wall-step"],
    pagingSessions: 2_000,
  };
}

export function realTimeHarness(
  name: string,
  { lacks = [], concurrency }: { readonly lacks?: readonly Capability[]; readonly concurrency: number },
  open: () => Promise<{ readonly backend: AnyConnectStore; close(): Promise<unknown> }>,
): ConformanceHarness {
  return {
    name,
    async open(): Promise<OpenedStore> {
      const { backend, close } = await open();
      const store = connectStore(backend, { onDiagnostic: () => undefined });
      return {
        store,
        clock: { nowMs: () => Date.now(), advance: (ms) => new Promise((done) => setTimeout(done, ms)) },
        close: async () => {
          await store.close();
          await close();
        },
      };
    },
    lacks: [...lacks, "watchable", "small", "wall-step"],
    toleranceMs: 50,
    // Writes of one session wait for each other, and the last must not run out of time on a busy machine.
    concurrency,
    // 10 s of waiting for what happens in the driver alone.
    skip: [
      {
        case: `operation ids are remembered for at least ${OPERATION_ID_KEPT_MS} ms, however many writes follow`,
        reason: "the memory is the driver's own: connect-store.conformance.test.ts proves it without waiting",
      },
    ],
    pagingSessions: 2_000,
  };
}

export function quietly(backend: AnyConnectStore, clock: Clock) {
  return connectStore(backend, { clock, onDiagnostic: () => undefined });
}

/** The id of a session, its owner being express-session. */
export const KEY = connectKey("an-id-of-express-session");
export const MINUTE = 60_000;

/** A driver over a plain store, by a clock that stands; and what an express-session server would do there. */
export function opened(backend?: AnyConnectStore) {
  const clock = new FakeClock();
  const plain = new PlainConnectStore(clock);
  const told: ConnectDiagnostic[] = [];
  const open = (): ListingStore =>
    connectStore((backend ?? plain) as ListingConnectStore, {
      clock,
      onDiagnostic: (event) => told.push(event),
    });
  const blob = (key: string = KEY) => JSON.parse(plain.texts.get(key) ?? "null") as ConnectSession;
  /** What an express-session server does: reads the whole session, changes it, writes it. */
  const byExpress = (change: (session: ConnectSession) => void, key: string = KEY) => {
    const session = blob(key) ?? { cookie: cookie(clock) };
    change(session);
    plain.set(key, session);
  };
  return { clock, plain, told, open, store: open(), blob, byExpress };
}

export function cookie(clock: FakeClock) {
  return {
    originalMaxAge: 30 * MINUTE,
    expires: new Date(clock.nowMs() + 30 * MINUTE).toISOString(),
    httpOnly: true,
    path: "/shop",
    sameSite: "strict",
  };
}

export function given(
  clock: FakeClock,
  attributes: Record<string, unknown>,
  key: SessionKey = KEY,
): NewSession {
  return {
    key,
    attributes: encoded(attributes),
    expiresAtMs: clock.nowMs() + 10 * MINUTE,
    absoluteExpiresAtMs: clock.nowMs() + 60 * MINUTE,
  };
}

export function encoded(attributes: Record<string, unknown>): Map<string, Uint8Array> {
  return new Map(Object.entries(attributes).map(([name, value]) => [name, jsonCodec.encode(value, name)]));
}

export function decoded(record: SessionRecord | null): Record<string, unknown> {
  return Object.fromEntries(
    [...record!.attributes].map(([name, { value }]) => [name, jsonCodec.decode(value)]),
  );
}
