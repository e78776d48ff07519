/** Encryption at rest: what the store holds, what opens, and that everything else is refused. */
import { expect, test } from "vitest";
import { newSessionId, type SessionKey, sessionKeyOf } from "../core/ids.ts";
import { SEAL_BYTES, sealedWith } from "../core/sealing.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { type EncryptionKey, encryptedStore } from "./encrypted.ts";
import { memoryStore } from "./memory.ts";
import { isEnumerable, isWatchable, type SessionStore } from "./store.ts";

const OLD: EncryptionKey = { id: "2026-05", key: "the key of May, which is long enough to be one" };
const NEW: EncryptionKey = { id: "2026-11", key: new Uint8Array(32).fill(7) };
const SECRET_VALUE = "4111-1111-1111-1111";

function given(...keys: EncryptionKey[]) {
  const clock = new FakeClock();
  const inner = memoryStore({ clock });
  const key = (): SessionKey => sessionKeyOf(newSessionId(clock));
  const withKeys = (...others: EncryptionKey[]) => encryptedStore(inner, { keys: others });
  const store = withKeys(...(keys.length > 0 ? keys : [NEW]));
  /** A session, through `into`. */
  const session = async (texts: Record<string, string>, into: SessionStore = store) => {
    const at = key();
    const attributes = new Map(Object.entries(texts).map(([name, text]) => [name, Buffer.from(text)]));
    const expiresAtMs = clock.nowMs() + 600_000;
    await into.create({ key: at, attributes, expiresAtMs, absoluteExpiresAtMs: expiresAtMs + 600_000 });
    return at;
  };
  const stored = async (at: SessionKey, name: string) => {
    const attribute = (await inner.read(at))?.attributes.get(name);
    if (!attribute) throw new Error(`the store has no attribute ${name}`);
    return Buffer.from(attribute.value);
  };
  /** Somebody writes to the store without the key. */
  const tamper = (at: SessionKey, name: string, value: Uint8Array) =>
    inner.apply(at, { set: new Map([[name, value]]) });
  return { clock, inner, store, withKeys, key, session, stored, tamper };
}

const textOf = async (store: SessionStore, at: SessionKey, name: string) =>
  Buffer.from((await store.read(at))?.attributes.get(name)?.value ?? "(absent)").toString();

const unreadable = { code: "STORED_DATA_UNREADABLE" };

test("the store holds no value in the clear, and each grew by exactly the stated bytes", async () => {
  const { inner, store, session, stored } = given();
  const at = await session({ card: SECRET_VALUE, empty: "" });
  await store.apply(at, { set: new Map([["again", Buffer.from(SECRET_VALUE)]]) });
  for (const [name, { value }] of (await inner.read(at))!.attributes) {
    expect(Buffer.from(value).includes(SECRET_VALUE), name).toBe(false);
  }
  expect((await stored(at, "card")).length).toBe(SECRET_VALUE.length + SEAL_BYTES);
  expect((await stored(at, "empty")).length).toBe(SEAL_BYTES);
  expect(await textOf(store, at, "card")).toBe(SECRET_VALUE);
  expect(await textOf(store, at, "again")).toBe(SECRET_VALUE);
  expect(await textOf(store, at, "empty")).toBe("");
});

test("the same value never looks the same twice, not even in one session under one name", async () => {
  const { store, session, stored } = given();
  const at = await session({ card: SECRET_VALUE });
  const seen = new Set([(await stored(at, "card")).toString("hex")]);
  for (let round = 0; round < 200; round++) {
    await store.apply(at, { set: new Map([["card", Buffer.from(SECRET_VALUE)]]) });
    seen.add((await stored(at, "card")).toString("hex"));
  }
  expect(seen.size).toBe(201);
});

test("a change of any single byte, or any cut, is refused and never read as absent", async () => {
  const { store, session, stored, tamper } = given(NEW, OLD);
  const at = await session({ card: SECRET_VALUE, other: "untouched" });
  const sound = await stored(at, "card");
  for (let index = 0; index < sound.length; index++) {
    const damaged = Buffer.from(sound);
    damaged[index] = damaged[index]! ^ 1;
    await tamper(at, "card", damaged);
    await expect(store.read(at), `byte ${index}`).rejects.toMatchObject(unreadable);
  }
  for (let length = 0; length < sound.length; length++) {
    await tamper(at, "card", sound.subarray(0, length));
    await expect(store.read(at), `cut to ${length}`).rejects.toMatchObject(unreadable);
  }
  await tamper(at, "card", Buffer.concat([sound, Buffer.from([0])]));
  await expect(store.read(at)).rejects.toMatchObject(unreadable);
  await tamper(at, "card", sound);
  expect(await textOf(store, at, "card")).toBe(SECRET_VALUE);
});

test("a value moved to another attribute or another session is refused", async () => {
  const { store, session, stored, tamper } = given();
  const [ada, bob] = [await session({ role: "admin", note: "x" }), await session({ role: "guest" })];
  const admin = await stored(ada, "role");
  await tamper(bob, "role", admin);
  await expect(store.read(bob)).rejects.toMatchObject(unreadable);
  await tamper(ada, "note", admin);
  await expect(store.read(ada)).rejects.toMatchObject(unreadable);
});

test("a value in the clear is refused: whoever can write to the store cannot plant one", async () => {
  const { inner, store, session, tamper } = given();
  const before = await session({ role: "guest" }, inner);
  await expect(store.read(before)).rejects.toThrow(/not encrypted/);
  const at = await session({ role: "guest" });
  await tamper(at, "role", Buffer.from(`\u0001"admin"${" ".repeat(SEAL_BYTES)}`));
  await expect(store.read(at)).rejects.toMatchObject(unreadable);
});

test("rotation: old values open, new ones use the new key, and without the old key the old ones are refused", async () => {
  const { withKeys, key, session, stored } = given();
  const [before, during, after] = [withKeys(OLD), withKeys(NEW, OLD), withKeys(NEW)];
  const at = await session({ old: "of May", changed: "of May" }, before);
  expect(await textOf(during, at, "old")).toBe("of May");
  await during.apply(at, { set: new Map([["changed", Buffer.from("of November")]]) });
  expect(sealedWith(await stored(at, "old"))).toEqual({ keyId: "2026-05", valueBytes: 6 });
  expect(sealedWith(await stored(at, "changed"))).toEqual({ keyId: "2026-11", valueBytes: 11 });
  expect(await textOf(during, at, "changed")).toBe("of November");
  await expect(before.read(at)).rejects.toMatchObject(unreadable);
  await expect(after.read(at)).rejects.toThrow(/key "2026-05", which is not among/);
  // A renewal writes everything anew: from then on the new key alone is enough.
  const successor = await renewed(during, at);
  expect(await textOf(after, successor, "old")).toBe("of May");

  async function renewed(through: SessionStore, from: SessionKey): Promise<SessionKey> {
    const to = key();
    const result = await through.supersede(from, { successor: to });
    if (result.status !== "superseded") throw new Error("the session is gone");
    const { attributes, expiresAtMs, absoluteExpiresAtMs } = result.final;
    const values = new Map([...attributes].map(([name, { value }]) => [name, value]));
    await through.create({ key: to, attributes: values, expiresAtMs, absoluteExpiresAtMs });
    return to;
  }
});

test("another key under the same id is refused", async () => {
  const { withKeys, session } = given(NEW);
  const at = await session({ card: SECRET_VALUE });
  const impostor = withKeys({ id: NEW.id, key: "a key that is not the one of November at all" });
  await expect(impostor.read(at)).rejects.toMatchObject(unreadable);
});

test("what a conflict and a supersede bring along is opened, and refused when it does not open", async () => {
  const { store, key, session, stored, tamper } = given();
  const at = await session({ n: "1" });
  const lost = await store.apply(at, {
    set: new Map([["n", Buffer.from("9")]]),
    expect: new Map([["n", null]]),
  });
  if (lost.status !== "conflict") throw new Error("expected a conflict");
  expect(Buffer.from(lost.current.attributes.get("n")!.value).toString()).toBe("1");
  const sound = await stored(at, "n");
  await tamper(at, "n", sound.reverse());
  await expect(store.apply(at, { expect: new Map([["n", null]]) })).rejects.toMatchObject(unreadable);
  await expect(store.supersede(at, { successor: key() })).rejects.toMatchObject(unreadable);
});

test("a session that does not open can still be listed, touched and ended", async () => {
  const { clock, store, session, tamper } = given();
  const at = await session({ card: SECRET_VALUE });
  await tamper(at, "card", Buffer.from("nonsense"));
  expect((await store.list()).sessions).toHaveLength(1);
  expect(await store.touch(at, clock.nowMs() + 700_000)).toBe(true);
  expect(await store.destroy(at)).toBe(true);
  expect(await store.read(at)).toBeNull();
});

test("no error message holds a value, a session key or an encryption key", async () => {
  const { store, session, stored, tamper, withKeys } = given();
  const at = await session({ card: SECRET_VALUE });
  const sound = await stored(at, "card");
  const messages: string[] = [];
  const hear = (call: () => unknown) =>
    Promise.resolve()
      .then(call)
      .then(
        () => expect.fail("expected a refusal"),
        (error: Error) => messages.push(`${error.message} ${error.stack} ${JSON.stringify(error)}`),
      );
  for (const value of [sound.subarray(1), Buffer.from(SECRET_VALUE.repeat(4)), sound.fill(0xff, 1, 9)]) {
    await tamper(at, "card", value);
    await hear(() => store.read(at));
  }
  await hear(() => withKeys({ id: "a", key: "short-secret" }));
  await hear(() => withKeys({ id: "no spaces allowed", key: SECRET_VALUE.repeat(2) }));
  expect(messages).toHaveLength(5);
  for (const message of messages) {
    for (const secret of [SECRET_VALUE, at, "short-secret"]) expect(message).not.toContain(secret);
  }
});

test.each([
  ["no keys", []],
  ["a key of 31 characters", [{ id: "a", key: "x".repeat(31) }]],
  ["a key of 31 bytes", [{ id: "a", key: new Uint8Array(31) }]],
  ["no key at all", [{ id: "a" } as EncryptionKey]],
  ["an id of 9 characters", [{ id: "123456789", key: "x".repeat(32) }]],
  ["an empty id", [{ id: "", key: "x".repeat(32) }]],
  ["one id twice", [OLD, { ...NEW, id: OLD.id }]],
])("%s is refused at the start", (_, keys) => {
  expect(() => encryptedStore(memoryStore(), { keys })).toThrow(
    expect.objectContaining({ code: "INVALID_OPTION" }),
  );
});

test("it can be listed and watched exactly when the store inside can", () => {
  const { store, inner } = given();
  expect([isEnumerable(store), isWatchable(store), store.name]).toEqual([true, true, "memory"]);
  const { name, read, create, apply, touch, supersede, destroy, close } = inner;
  const plain: SessionStore = { name, read, create, apply, touch, supersede, destroy, close };
  const bare = encryptedStore(plain, { keys: [NEW] });
  expect([isEnumerable(bare), isWatchable(bare)]).toEqual([false, false]);
});
