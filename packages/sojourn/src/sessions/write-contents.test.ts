/** What a commit writes, and what is lost when. Names are the promises of docs/policies.md. */
import { expect, test } from "vitest";
import type { SessionDelta } from "../core/record.ts";
import { type Data, GatedStore, house, Jar } from "./harness.test.support.ts";
import type { Session } from "./session.ts";
import type { WriteContents } from "./write-policy.ts";

const ALL: readonly WriteContents[] = [
  "ONLY_SET_ATTRIBUTES",
  "GET_AND_SET_ATTRIBUTES",
  "ALL_SESSION_ATTRIBUTES",
];

/** A session with a user, a cart and a theme, and what each commit from here on writes. */
async function shop(writeContents: WriteContents) {
  const all = house({ writeContents });
  const written: string[][] = [];
  const gated = new GatedStore(all.store);
  const apply = gated.apply;
  gated.apply = (key, delta: SessionDelta, options) => {
    written.push(
      [...(delta.set?.keys() ?? []), ...[...(delta.delete ?? [])].map((name) => `-${name}`)].sort(),
    );
    return apply(key, delta, options);
  };
  const sessions = all.another({ store: gated });
  const browser = new Jar();
  await browser.request(sessions, (session) => {
    session.set("user", { name: "ada" });
    session.set("cart", ["tea"]);
    session.set("theme", "dark");
  });
  const seen = async () => {
    let found: Data = {};
    await browser.request(sessions, (session) => {
      found = Object.fromEntries(session.keys().map((name) => [name, session.get(name)]));
    });
    return found;
  };
  return { ...all, sessions, browser, written, seen };
}

/** Two requests that both read the session before either of them commits; the second commits last. */
async function interleaved(
  { sessions, browser }: Awaited<ReturnType<typeof shop>>,
  first: (session: Session<Data>) => void,
  second: (session: Session<Data>) => void,
) {
  const open = () => sessions.open({ cookie: browser.cookie, secure: false });
  const [one, two] = [open(), open()];
  const [a, b] = await Promise.all([one.session(), two.session()]);
  first(a);
  second(b);
  for (const scope of [one, two]) {
    expect((await scope.settle())?.ok ?? true).toBe(true);
    scope.close();
  }
}

test("by default a change inside an object that get() gave is stored, and an attribute that was only read is not written", async () => {
  const all = await shop("GET_AND_SET_ATTRIBUTES");
  await all.browser.request(all.sessions, (session) => {
    session.get("user");
    (session.get("cart") as string[]).push("milk");
  });
  expect(all.written).toEqual([["cart"]]);
  expect(await all.seen()).toMatchObject({ cart: ["tea", "milk"] });
});

test("by default a request that only read an attribute does not undo what another one stored in it meanwhile", async () => {
  const all = await shop("GET_AND_SET_ATTRIBUTES");
  await interleaved(
    all,
    (session) => session.set("cart", ["coffee"]),
    (session) => {
      session.get("cart");
      session.set("theme", "light");
    },
  );
  expect(await all.seen()).toMatchObject({ cart: ["coffee"], theme: "light" });
});

test("ONLY_SET_ATTRIBUTES loses a change inside an object that get() gave, and keeps it once the object is set", async () => {
  const all = await shop("ONLY_SET_ATTRIBUTES");
  await all.browser.request(all.sessions, (session) => {
    (session.get("cart") as string[]).push("milk");
    // This request sees its own change.
    expect(session.get("cart")).toEqual(["tea", "milk"]);
  });
  expect(all.written).toEqual([]);
  expect(await all.seen()).toMatchObject({ cart: ["tea"] });
  await all.browser.request(all.sessions, (session) => {
    const cart = session.get("cart") as string[];
    cart.push("milk");
    session.set("cart", cart);
    cart.push("sugar");
  });
  expect(all.written).toEqual([["cart"]]);
  expect(await all.seen()).toMatchObject({ cart: ["tea", "milk", "sugar"] });
});

test("ONLY_SET_ATTRIBUTES encodes nothing again that was only read", async () => {
  let encoded = 0;
  const { jsonCodec } = await import("../core/codec.ts");
  const codec = {
    decode: jsonCodec.decode,
    encode(value: unknown, name: string) {
      encoded++;
      return jsonCodec.encode(value, name);
    },
  };
  const { sessions } = house({ writeContents: "ONLY_SET_ATTRIBUTES", codec });
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("cart", ["tea"]));
  encoded = 0;
  await browser.request(sessions, (session) => session.get("cart"));
  expect(encoded).toBe(0);
});

test("ONLY_SET_ATTRIBUTES loses a change inside what update() gave, and update itself loses nothing", async () => {
  const all = await shop("ONLY_SET_ATTRIBUTES");
  await all.browser.request(all.sessions, async (session) => {
    const cart = (await session.update("cart", (now) => [...(now as string[]), "milk"])) as string[];
    cart.push("lost");
  });
  expect(await all.seen()).toMatchObject({ cart: ["tea", "milk"] });
});

test("ALL_SESSION_ATTRIBUTES writes every attribute with any change, and nothing when nothing changed", async () => {
  const all = await shop("ALL_SESSION_ATTRIBUTES");
  await all.browser.request(all.sessions, (session) => session.get("cart"));
  expect(all.written).toEqual([]);
  await all.browser.request(all.sessions, (session) => session.set("theme", "light"));
  await all.browser.request(all.sessions, (session) => session.delete("user"));
  await all.browser.request(all.sessions, (session) => (session.get("cart") as string[]).push("milk"));
  expect(all.written).toEqual([
    ["cart", "theme", "user"],
    ["-user", "cart", "theme"],
    ["cart", "theme"],
  ]);
  expect(await all.seen()).toEqual({ cart: ["tea", "milk"], theme: "light" });
});

test("ALL_SESSION_ATTRIBUTES: the last request's session replaces what others stored meanwhile, added attributes apart", async () => {
  const all = await shop("ALL_SESSION_ATTRIBUTES");
  await interleaved(
    all,
    (session) => {
      session.set("cart", ["coffee"]);
      session.set("added", 1);
    },
    (session) => session.set("theme", "light"),
  );
  expect(await all.seen()).toEqual({ user: { name: "ada" }, cart: ["tea"], theme: "light", added: 1 });
});

test.each(ALL)("%s: what set() and delete() did is stored, in one write", async (writeContents) => {
  const all = await shop(writeContents);
  await all.browser.request(all.sessions, async (session) => {
    session.set("theme", "light");
    session.delete("user");
    await session.commit();
    expect(session.keys().sort()).toEqual(["cart", "theme"]);
  });
  expect(all.written).toHaveLength(1);
  expect(await all.seen()).toEqual({ cart: ["tea"], theme: "light" });
});

test.each(ALL)(
  "%s: two requests that set different attributes after a renewal both keep theirs",
  async (writeContents) => {
    const all = await shop(writeContents);
    await all.browser.request(all.sessions, async (session) => {
      session.set("theme", "light");
      await session.renew({ principal: "ada" });
      session.set("later", [1]);
    });
    expect(await all.seen()).toMatchObject({ theme: "light", later: [1], cart: ["tea"] });
  },
);

test.each(ALL)(
  "%s: update() goes on from what this request has committed, without losing a race to itself",
  async (writeContents) => {
    const all = await shop(writeContents);
    await all.browser.request(all.sessions, async (session) => {
      session.set("theme", "light");
      await session.commit();
      await session.update("cart", () => ["milk"]);
      await session.update("theme", (now) => `${now}er`);
    });
    expect(all.sessions.stats().conflicts).toBe(0);
    expect(await all.seen()).toMatchObject({ theme: "lighter", cart: ["milk"] });
  },
);

test("names that begin with sojourn: are refused, so the application cannot damage what stands under them", async () => {
  const { sessions } = house();
  await new Jar().request(sessions, async (session) => {
    const refused = expect.objectContaining({ code: "INVALID_ATTRIBUTE_NAME" });
    expect(() => session.set("sojourn:mine", 1)).toThrow(refused);
    await expect(session.update("sojourn:mine", () => 1)).rejects.toEqual(refused);
  });
});

test("a write policy that does not exist is refused by name", () => {
  expect(() => house({ writeContents: "ALL" as WriteContents })).toThrow(/writeContents.*"ALL".*ONLY_SET/);
  expect(() => house({ writeFrequency: "NEVER" as "MANUAL_UPDATE" })).toThrow(/writeFrequency/);
});
