import * as v from "valibot";
import { describe, expect, expectTypeOf, test } from "vitest";
import * as z from "zod";
import { SessionError } from "../core/errors.ts";
import { memoryStore } from "../store/memory.ts";
import { createSessions, type Sessions } from "./create-sessions.ts";
import type { Diagnostic } from "./diagnostics.ts";
import { Jar, SECRET } from "./harness.test.support.ts";
import type { StandardSchema } from "./schema.ts";
import type { Session } from "./session.ts";

interface Shop {
  user: string;
  visits: number;
  cart: { items: { sku: string; price: number }[] };
}

const zodSchema = z.object({
  user: z.string().min(1),
  visits: z.number().int().nonnegative(),
  cart: z.object({ items: z.array(z.object({ sku: z.string(), price: z.number() })) }),
});

const valibotSchema = v.object({
  user: v.pipe(v.string(), v.minLength(1)),
  visits: v.pipe(v.number(), v.integer(), v.minValue(0)),
  cart: v.object({ items: v.array(v.object({ sku: v.string(), price: v.number() })) }),
});

function thrownBy(act: () => unknown): SessionError {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(SessionError);
    return error as SessionError;
  }
  throw new Error("nothing was thrown");
}

const untyped = (session: Session<Shop>) => session as unknown as Session<Record<string, unknown>>;

describe.each([
  ["Zod", zodSchema as StandardSchema<Shop>],
  ["Valibot", valibotSchema as StandardSchema<Shop>],
])("a schema of %s", (_, schema) => {
  function given(diagnostics: Diagnostic[] = []) {
    const store = memoryStore();
    const common = {
      store,
      secret: SECRET,
      onDiagnostic: (event: Diagnostic) => void diagnostics.push(event),
    };
    const sessions: Sessions<Shop> = createSessions({ ...common, schema });
    /** The release before the schema. */
    const earlier = createSessions<Record<string, unknown>>(common);
    const jar = new Jar();
    const visit = (handle: (session: Session<Shop>) => unknown) =>
      jar.request(sessions as unknown as Sessions<Record<string, unknown>>, (session) =>
        handle(session as unknown as Session<Shop>),
      );
    return { sessions, earlier, jar, visit };
  }

  test("takes what fits, without asking for the attributes that are not there", async () => {
    const { visit } = given();
    await visit((session) => session.set("user", "ada"));
    await visit((session) => expect(session.get("user")).toBe("ada"));
  });

  test("set() and update() refuse what does not fit, naming attribute and place and no value", async () => {
    const { visit } = given();
    await visit(async (session) => {
      session.set("visits", 1);
      const secret = "s3cret";
      const cart = {
        items: [
          { sku: "a", price: 1 },
          { sku: "b", price: secret },
        ],
      };
      const error = thrownBy(() => untyped(session).set("cart", cart));
      expect([error.code, error.message]).toEqual([
        "INVALID_VALUE",
        'Cannot set attribute "cart": the schema refuses cart.items[1].price',
      ]);
      expect(thrownBy(() => untyped(session).set("user", 7)).message).toMatch(/refuses user$/);
      await expect(session.update("visits", (n = 0) => n - 5)).rejects.toMatchObject({
        code: "INVALID_VALUE",
      });
      expect([session.get("visits"), session.has("cart"), session.has("user")]).toEqual([1, false, false]);
    });
    await visit((session) => expect(session.keys()).toEqual(["visits"]));
  });

  test("what a nested change made unfit fails the response, and the old state stays", async () => {
    const { visit } = given();
    await visit((session) => session.set("cart", { items: [] }));
    const { outcome } = await visit((session) => {
      (session.get("cart")!.items as unknown[]).push({ sku: 1 });
    });
    expect(outcome).toMatchObject({ ok: false, status: 500, code: "INVALID_VALUE" });
    await visit((session) => expect(session.get("cart")).toEqual({ items: [] }));
  });

  test("a stored value that does not fit reads as absent, stays stored, and is told", async () => {
    const diagnostics: Diagnostic[] = [];
    const { visit, jar, earlier, sessions } = given(diagnostics);
    let key = "";
    await jar.request(earlier, (session) => {
      session.set("user", { name: "ada" });
      session.set("visits", 3);
      session.set("legacy", true);
    });
    await visit((session) => {
      expect([session.get("user"), session.has("user"), session.get("visits")]).toEqual([
        undefined,
        false,
        3,
      ]);
      expect(session.keys().sort()).toEqual(["legacy", "visits"]);
    });
    key = (await sessions.list()).sessions[0]!.key;
    expect((await sessions.find(key))!.get("user")).toBe(undefined);
    expect(diagnostics.map(({ code }) => code)).toEqual(["STORED_VALUE_REFUSED"]);
    expect(diagnostics[0]!.message).toMatch(/refuses user/);
    expect(diagnostics[0]!.message).not.toContain("ada");
    await jar.request(earlier, (session) => expect(session.get("user")).toEqual({ name: "ada" }));
    await visit((session) => session.set("user", "ada"));
    await jar.request(earlier, (session) => expect(session.get("user")).toBe("ada"));
  });

  test("what is absent to the schema can be deleted and updated", async () => {
    const { visit, jar, earlier } = given();
    await jar.request(earlier, (session) => {
      session.set("user", 1);
      session.set("visits", "many");
    });
    await visit(async (session) => {
      session.delete("user");
      expect(await session.update("visits", (n) => (n === undefined ? 1 : -1))).toBe(1);
    });
    await jar.request(earlier, (session) => {
      expect([session.has("user"), session.get("visits")]).toEqual([false, 1]);
    });
  });
});

test("the data's type is the schema's output", () => {
  const byZod = createSessions({ secret: SECRET, schema: zodSchema });
  expectTypeOf(byZod).toEqualTypeOf<Sessions<Shop>>();
  const byValibot = createSessions({ secret: SECRET, schema: valibotSchema });
  expectTypeOf(byValibot).toEqualTypeOf<Sessions<Shop>>();
  const byHand = createSessions<{ a: number }>({ secret: SECRET });
  expectTypeOf(byHand).toEqualTypeOf<Sessions<{ a: number }>>();
});

test("a schema that must be waited for is refused, at the start or where it shows", async () => {
  const waiting = z.object({ user: z.string() }).refine(async () => true);
  const always: StandardSchema<Shop> = {
    "~standard": { version: 1, vendor: "test", validate: () => Promise.reject(new Error("later")) },
  };
  expect(() => createSessions({ secret: SECRET, schema: always })).toThrow(/option schema.*asynchronous/);
  const sessions = createSessions({ secret: SECRET, schema: waiting });
  const session = await sessions.open({ cookie: undefined, secure: false }).session();
  expect(thrownBy(() => session.set("user", "ada"))).toMatchObject({ code: "INVALID_OPTION" });
});

test.each([null, 5, {}, { "~standard": { version: 2, validate: () => ({}) } }])(
  "what is no schema is refused: %#",
  (schema) => {
    const options = { secret: SECRET, schema: schema as unknown as StandardSchema<Shop> };
    expect(() => createSessions(options)).toThrow(/Cannot use option schema/);
  },
);

test("a message shows no key that came with the data, and not every place", async () => {
  const sessions = createSessions({
    secret: SECRET,
    schema: z.object({ by: z.record(z.string(), z.number()) }),
  });
  const session = await sessions.open({ cookie: undefined, secure: false }).session();
  const values = { "ada@shop.example": "x", two: "x", three: "x", four: "x", five: "x" };
  const { message } = thrownBy(() => session.set("by", values as never));
  expect(message).toBe('Cannot set attribute "by": the schema refuses by.…, by.two, by.three and 2 more');
});
