/** The programs of docs/connect-stores.md compile, under the types of the packages they name. */
import { expect, test } from "vitest";
import { compilePrograms, programsOf } from "./snippets.ts";

test("every named program of docs/connect-stores.md compiles", () => {
  const programs = programsOf("docs/connect-stores.md");
  expect([...programs.keys()]).toEqual(["fastify-session", "connect-redis"]);
  expect(compilePrograms("connect-stores", programs).found).toBe("");
});
