/**
 * What the page counts as lost and as stale. The counters are the shop's whole argument, so a false alarm is as bad as a
 * silent one: both directions are tested.
 */
import { beforeEach, expect, test } from "vitest";
// @ts-expect-error plain JavaScript of the page
import { Memory } from "../page/memory.js";

interface Answer {
  version: string | null;
  principal: string | null;
  attributes: Record<string, unknown>;
}

const answer = (attributes: Record<string, unknown> = {}, principal: string | null = null): Answer => ({
  version: "v",
  principal,
  attributes,
});
const nothing: Answer = { version: null, principal: null, attributes: {} };

let memory: InstanceType<typeof Memory>;
beforeEach(() => {
  memory = new Memory();
});

const stored = (name: string, value: unknown) => (it: typeof memory) => it.stored(name, value);
const write = (name: string, value: unknown): void => memory.beginChange(name)(stored(name, value));
const login = (user: string): void =>
  memory.beginChange(Memory.ALL)((it: typeof memory) => it.loggedIn(user));
const check = (given: Answer): { verdict: string; names: string[] } =>
  memory.check(memory.beginRead(), given);

test("the first answer is believed, whatever it is", () => {
  expect(check(answer({ a: 1 }, "ada")).verdict).toBe("as told");
  expect(check(answer({ a: 1 }, null)).verdict).toBe("stale");
});

test("an anonymous visitor's answers are as told", () => {
  expect(check(nothing).verdict).toBe("as told");
  expect(check(nothing).verdict).toBe("as told");
});

test("what was stored and comes back is as told", () => {
  write("a", { deep: [1, 2] });
  expect(check(answer({ a: { deep: [1, 2] } })).verdict).toBe("as told");
});

test("an answer without the session that was confirmed is lost, once: then the page believes it", () => {
  write("a", 1);
  expect(check(nothing).verdict).toBe("lost");
  expect(check(nothing).verdict).toBe("as told");
});

test("a login that nobody remembers is lost", () => {
  login("ada");
  expect(check(nothing).verdict).toBe("lost");
});

test("a session of somebody else's login is stale", () => {
  login("ada");
  expect(check(answer({}, null)).verdict).toBe("stale");
});

test("an older value is stale and named", () => {
  write("a", 1);
  write("a", 2);
  write("b", 1);
  expect(check(answer({ a: 1, b: 1 }))).toEqual({ verdict: "stale", names: ["a"] });
});

test("an attribute that comes back after its removal is stale", () => {
  write("a", 1);
  write("a", undefined);
  expect(check(answer({ a: 1 })).verdict).toBe("stale");
});

test("a session that comes back after logout is stale", () => {
  login("ada");
  memory.beginChange(Memory.ALL)((it: typeof memory) => it.ended());
  expect(check(answer({}, "ada")).verdict).toBe("stale");
});

test("an attribute with a change under way proves nothing, the others do", () => {
  write("a", 1);
  write("b", 1);
  const end = memory.beginChange("a");
  expect(check(answer({ a: 2, b: 1 })).verdict).toBe("as told");
  expect(check(answer({ a: 2, b: 0 })).names).toEqual(["b"]);
  end(stored("a", 2));
  expect(check(answer({ a: 2, b: 0 })).verdict).toBe("as told");
});

test("a change that began and ended while the question was under way proves nothing", () => {
  write("a", 1);
  const read = memory.beginRead();
  write("a", 2);
  expect(memory.check(read, answer({ a: 1 })).verdict).toBe("as told");
  expect(check(answer({ a: 2 })).verdict).toBe("as told");
});

test("the question before the first write may rightly be answered: no session", () => {
  const read = memory.beginRead();
  write("a", 1);
  expect(memory.check(read, nothing).verdict).toBe("as told");
  expect(check(nothing).verdict).toBe("lost");
});

test("a refused change may or may not have happened: the next answer is believed, the one after is held to it", () => {
  write("a", 1);
  memory.beginChange("a")(undefined);
  expect(check(answer({ a: 2 })).verdict).toBe("as told");
  expect(check(answer({ a: 1 })).verdict).toBe("stale");
});

test("a refused login may or may not have happened", () => {
  write("a", 1);
  memory.beginChange(Memory.ALL)(undefined);
  expect(check(answer({ a: 1 }, "ada")).verdict).toBe("as told");
  expect(check(answer({ a: 1 }, null)).verdict).toBe("stale");
});

test("a slower answer to an older question changes nothing", () => {
  write("a", 1);
  const older = memory.beginRead();
  const newer = memory.beginRead();
  expect(memory.check(newer, answer({ a: 1, b: 1 })).verdict).toBe("stale");
  expect(memory.check(older, answer({ a: 1 })).verdict).toBe("as told");
  expect(check(answer({ a: 1, b: 1 })).verdict).toBe("as told");
});

test("the answer of the page after a login's redirect counts, though it was asked before the login ended", () => {
  write("a", 1);
  const read = memory.beginRead();
  login("ada");
  expect(memory.check(memory.redirected(read), nothing).verdict).toBe("lost");
});

test("news of another tab's change that comes after the answer showing it still explains it", () => {
  write("a", 1);
  const read = memory.beginRead();
  const shown = answer({ a: 2 });
  expect(memory.disagrees(read, shown)).toBe(true);
  // Asking changes nothing; then the other tab's messages arrive.
  expect(memory.disagrees(read, shown)).toBe(true);
  write("a", 2);
  expect(memory.disagrees(read, shown)).toBe(false);
  expect(memory.check(read, shown).verdict).toBe("as told");
  expect(check(answer({ a: 1 })).verdict).toBe("stale");
});

test("an answer asked for before a logout elsewhere does not make the page believe in the session again", () => {
  write("a", 1);
  const read = memory.beginRead();
  memory.beginChange(Memory.ALL)((it: typeof memory) => it.ended());
  expect(memory.check(read, answer({ a: 1 })).verdict).toBe("as told");
  expect(check(nothing).verdict).toBe("as told");
});

test("answers of changes that overlap may arrive in any order; a change alone is held to its word", () => {
  const [first, second] = [memory.beginChange("n"), memory.beginChange("n")];
  second(stored("n", 2));
  first(stored("n", 1));
  expect(check(answer({ n: 2 })).verdict).toBe("as told");
  write("n", 3);
  expect(check(answer({ n: 2 })).verdict).toBe("stale");
});
