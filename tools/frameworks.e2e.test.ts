/** Every program of docs/frameworks.md compiles as it stands, and what it serves keeps a visitor's cart. */
import { expect, test } from "vitest";
import { compilePrograms, programsOf, startProgram, Visitor } from "./snippets.ts";

const programs = programsOf("docs/frameworks.md");
const { found, fileOf } = compilePrograms("frameworks", programs);

/** Shown, but no server. */
const PARTS = ["sessions", "express-4"];

test("every program of docs/frameworks.md compiles", () => {
  expect(programs.size).toBeGreaterThan(PARTS.length);
  expect(found).toBe("");
});

test.each([...programs.keys()].filter((name) => !PARTS.includes(name)))(
  "%s: what a visitor puts into the cart is there in the next request, and in nobody else's",
  async (name) => {
    const program = await startProgram(fileOf(name), { SESSION_SECRET: "a secret of the documentation" });
    try {
      const [ada, bob] = [new Visitor(program.origin), new Visitor(program.origin)];
      for (const item of ["tea", "milk"]) expect((await ada.post(`/cart/${item}`)).ok).toBe(true);
      expect(await (await ada.get("/cart")).json()).toEqual(["tea", "milk"]);
      expect(await (await bob.get("/cart")).json()).toEqual([]);
    } finally {
      await program.stop();
    }
  },
);
