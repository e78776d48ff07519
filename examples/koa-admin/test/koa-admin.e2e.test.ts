/** The example as its reader starts it: two servers, visited by several browsers, one of the servers killed. */
import { fileURLToPath } from "node:url";
import { type Program, startProgram, Visitor } from "@sojourn/testbed";
import { afterEach, beforeEach, expect, test } from "vitest";

const START = fileURLToPath(new URL("../dist/start.js", import.meta.url));

let program: Program;
let a: string;
let b: string;
let pidOfA: number;

beforeEach(async () => {
  program = startProgram([START], { PORT: "0" });
  const [, originA = "", pid] = await program.said(/server a on (\S+), pid (\d+)/);
  const [, originB = ""] = await program.said(/server b on (\S+), pid \d+/);
  [a, b, pidOfA] = [originA, originB, Number(pid)];
});

afterEach(() => program.stop());

async function signedIn(user: string, userAgent: string, origin: string): Promise<Visitor> {
  const visitor = new Visitor({ userAgent });
  expect((await visitor.post(`${origin}/sign-in`, { user })).status).toBe(302);
  return visitor;
}

/** What the page says. */
async function seen(visitor: Visitor, origin: string) {
  const text = await (await visitor.get(origin)).text();
  return {
    title: /<h1>(.*)<\/h1>/.exec(text)?.[1],
    keys: [...text.matchAll(/name="key" value="([^"]+)"/g)].map((match) => match[1] as string),
    text,
  };
}

test("a user's devices are one list on both servers, and a killed server takes none of them along", async () => {
  const laptop = await signedIn("ada", "Laptop <b>", a);
  const phone = await signedIn("ada", "Phone", b);
  for (const origin of [a, b]) {
    const page = await seen(laptop, origin);
    expect(page.title).toBe("ada is signed in on 2 devices");
    expect(page.text).toContain("<td>Laptop &#60;b&#62;</td>");
    expect(page.text).toMatch(/Phone.*End this one/);
  }
  process.kill(pidOfA, "SIGKILL");
  await expect.poll(() => fetch(a).catch(() => "gone"), { timeout: 10_000 }).toBe("gone");
  expect((await seen(laptop, b)).title).toBe("ada is signed in on 2 devices");
  expect((await seen(phone, b)).title).toBe("ada is signed in on 2 devices");
});

test("ending one device signs it out on every server, and only it", async () => {
  const laptop = await signedIn("ada", "Laptop", a);
  const phone = await signedIn("ada", "Phone", b);
  const [phoneKey = ""] = (await seen(laptop, a)).keys;
  await laptop.post(`${a}/end`, { key: phoneKey });
  expect((await seen(phone, b)).title).toBe("Sign in");
  expect((await seen(laptop, b)).title).toBe("ada is signed in on 1 device");
});

test("nobody ends another user's session, whatever key is sent", async () => {
  const laptop = await signedIn("ada", "Laptop", a);
  await signedIn("ada", "Phone", a);
  const { keys } = await seen(laptop, a);
  const bob = await signedIn("bob", "Bob's", a);
  for (const key of [...keys, "no key"]) expect((await bob.post(`${a}/end`, { key })).status).toBe(302);
  await new Visitor().post(`${a}/end`, { key: keys[0] as string });
  expect((await seen(laptop, a)).title).toBe("ada is signed in on 2 devices");
});

test("end all others keeps this device; end all keeps none", async () => {
  const laptop = await signedIn("ada", "Laptop", a);
  const phone = await signedIn("ada", "Phone", b);
  await laptop.post(`${b}/end-others`);
  expect([(await seen(laptop, a)).title, (await seen(phone, a)).title]).toEqual([
    "ada is signed in on 1 device",
    "Sign in",
  ]);
  const tablet = await signedIn("ada", "Tablet", a);
  await laptop.post(`${a}/end-all`);
  expect([(await seen(laptop, b)).title, (await seen(tablet, b)).title]).toEqual(["Sign in", "Sign in"]);
});

test("when the example ends, its servers end", async () => {
  expect((await fetch(b)).status).toBe(200);
  await program.stop();
  for (const origin of [a, b])
    await expect.poll(() => fetch(origin).catch(() => "gone"), { timeout: 10_000 }).toBe("gone");
});
