/** The example as its reader starts it, visited through its router, while the server that answers is killed. */
import { fileURLToPath } from "node:url";
import { type Program, startProgram, Visitor } from "@sojourn/testbed";
import { afterEach, beforeEach, expect, test } from "vitest";

const START = fileURLToPath(new URL("../dist/start.js", import.meta.url));
const NOTES = Array.from({ length: 20 }, (_, index) => `note ${index}`);

let program: Program;
let origin: string;

beforeEach(async () => {
  program = startProgram([START], { PORT: "0" });
  origin = (await program.said(/router on (http:\S+)/))[1] as string;
});

afterEach(() => program.stop());

interface Notes {
  readonly server: string;
  readonly user: string | null;
  readonly notes: string[];
}

async function notesOf(visitor: Visitor): Promise<Notes> {
  const answer = await visitor.get(`${origin}/notes`);
  expect(answer.status).toBe(200);
  return (await answer.json()) as Notes;
}

async function pidOf(server: string): Promise<number> {
  return Number((await program.said(new RegExp(`server ${server} on \\S+, pid (\\d+)`)))[1]);
}

test("the server that answers is killed: the visitor stays signed in, and all notes are there", async () => {
  const ada = new Visitor();
  expect((await ada.postJson(`${origin}/sign-in`, { user: "ada" })).status).toBe(200);
  await Promise.all(NOTES.map((text) => ada.postJson(`${origin}/notes`, { text })));
  const before = await notesOf(ada);
  expect([before.user, [...before.notes].sort()]).toEqual(["ada", [...NOTES].sort()]);

  process.kill(await pidOf(before.server), "SIGKILL");
  const after = await notesOf(ada);
  expect(after.server).not.toBe(before.server);
  expect([after.user, after.notes]).toEqual(["ada", before.notes]);
  await ada.postJson(`${origin}/notes`, { text: "one more" });
  expect((await notesOf(ada)).notes).toEqual([...before.notes, "one more"]);
});

test("every visitor has notes of their own, and who only reads gets no cookie", async () => {
  const [ada, bob] = [new Visitor(), new Visitor()];
  await ada.postJson(`${origin}/notes`, { text: "ada's" });
  expect([(await notesOf(ada)).notes, (await notesOf(bob)).notes]).toEqual([["ada's"], []]);
  const reading = await bob.get(`${origin}/notes`);
  expect(reading.headers.getSetCookie().filter((line) => line.startsWith("sid="))).toEqual([]);
});

test("when the example ends, all its processes end", async () => {
  const pids = [await pidOf("a"), await pidOf("b")];
  expect(await program.stop()).toBe(0);
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
  expect(await fetch(origin).catch(() => "gone")).toBe("gone");
});
