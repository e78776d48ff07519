/** What the README says of others and of us is still so: real processes, a real Redis, in small. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { redisServerPath } from "@sojourn/testbed";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AnomaliesPart, readResults } from "../bench/results.ts";

const MAIN = fileURLToPath(new URL("../dist/compare/main.js", import.meta.url));
const compare = (...args: string[]) => promisify(execFile)(process.execPath, [MAIN, ...args]);

describe.skipIf(redisServerPath() === undefined)("npm run compare -- anomalies --quick", () => {
  let folder: string;
  let anomalies: AnomaliesPart;
  let printed: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "sojourn-compare-"));
    const out = join(folder, "counts.json");
    ({ stdout: printed } = await compare("anomalies", "--quick", "--out", out));
    anomalies = readResults(out).anomalies!;
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const of = (name: string) => anomalies.rows.find((row) => row.name.startsWith(name))!.found;

  test("ours: none, on every store", () => {
    const ours = anomalies.rows.filter(({ isOurs }) => isOurs);
    expect(ours.length).toBeGreaterThan(0);
    for (const { found } of ours)
      expect(found).toEqual({ lostUpdates: 0, undoneLogouts: 0, staleRedirects: 0 });
  });

  test("express-session + connect-redis: all three", () => {
    for (const count of Object.values(of("express-session"))) expect(count).toBeGreaterThan(0);
  });

  test("@fastify/session + connect-redis: lost updates and undone logouts; it answers after saving", () => {
    expect(of("@fastify/session").lostUpdates).toBeGreaterThan(0);
    expect(of("@fastify/session").undoneLogouts).toBeGreaterThan(0);
    expect(of("@fastify/session").staleRedirects).toBe(0);
  });

  test("the table names every library", () => {
    for (const { name } of anomalies.rows) expect(printed).toContain(name);
  });
});

test("it tells what it can compare", async () => {
  expect((await compare("--help")).stdout).toContain("npm run compare -- anomalies");
  await expect(compare("speed")).rejects.toMatchObject({ stderr: expect.stringContaining("only anomalies") });
});
