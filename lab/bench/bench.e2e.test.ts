/** The benchmark runs: every part, briefly. Its shape is checked, never a speed. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { redisServerPath } from "@sojourn/testbed";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { APPLICATIONS } from "./http.ts";
import { PARTS } from "./options.ts";
import { pageBlock, readmeBlock } from "./page.ts";
import { type Results, readResults } from "./results.ts";
import { wrkPath } from "./wrk.ts";

const MAIN = fileURLToPath(new URL("../dist/bench/main.js", import.meta.url));
const bench = (...args: string[]) => promisify(execFile)(process.execPath, [MAIN, ...args]);

describe.skipIf(redisServerPath() === undefined || wrkPath() === undefined)(
  "npm run bench -- --quick",
  () => {
    let folder: string;
    let results: Results;
    let printed: string;

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), "sojourn-bench-"));
      const out = join(folder, "bench.json");
      ({ stdout: printed } = await bench("--quick", "--only", PARTS.join(","), "--out", out));
      results = readResults(out);
    }, 300_000);
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    test("every part leaves its rounds, and where and when they were taken", () => {
      expect(Object.keys(results).sort()).toEqual([...PARTS].sort());
      for (const { taken } of Object.values(results)) {
        expect(Date.parse(taken.at)).toBeGreaterThan(0);
        expect(taken.machine.cores).toBeGreaterThan(0);
        expect(taken.versions.node).toBe(process.versions.node);
      }
    });

    test("every application of every framework was loaded, with and without writes", () => {
      const expected = Object.entries(APPLICATIONS).flatMap(([framework, kinds]) =>
        kinds.flatMap((kind) => ["read", "mix"].map((workload) => `${framework} ${kind} ${workload}`)),
      );
      const { series } = results.http!;
      const found = series.map(({ framework, sessions, workload }) => `${framework} ${sessions} ${workload}`);
      expect(found.sort()).toEqual(expected.sort());
      for (const { rounds } of series) {
        expect(rounds).toHaveLength(1);
        expect(rounds[0]!.requestsPerS).toBeGreaterThan(0);
        expect(rounds[0]!.cpuMicros).toBeGreaterThan(0);
      }
    });

    test("a request without a session costs Redis nothing, a read and a write of ours one command each", () => {
      const { rows } = results.requests!;
      for (const { anonymous } of rows) expect(Math.floor(anonymous.commands)).toBe(0);
      // A heartbeat may come in between: among twenty requests that is a twentieth.
      const whole = (commands: number) => Math.floor(commands + 0.01);
      for (const { read, write } of rows.filter(({ sessions }) => sessions === "redis")) {
        expect(whole(read.commands)).toBe(1);
        expect(whole(write.commands)).toBe(2);
      }
    });

    test("nothing failed in the soak, and its event loop was watched", () => {
      const { failed, requests, loop } = results.soak!;
      expect(failed).toBe(0);
      expect(requests).toBeGreaterThan(0);
      expect(loop.maxMs).toBeGreaterThanOrEqual(loop.p99Ms);
      expect(loop.p99Ms).toBeGreaterThan(0);
    });

    test("page and README can be written from them: no figure is missing", () => {
      for (const text of [pageBlock(results), readmeBlock(results)])
        expect(text).not.toMatch(/NaN|undefined|Infinity/);
      expect(printed).toContain("left");
    });
  },
);

test("a part that does not exist is refused with the ones that do", async () => {
  await expect(bench("--only", "speed")).rejects.toMatchObject({
    stderr: expect.stringContaining("--only speed: expected some of http, requests"),
  });
});

test("without wrk it says what is missing", async () => {
  const env = { ...process.env, PATH: "", SOJOURN_WRK: "" };
  await expect(promisify(execFile)(process.execPath, [MAIN], { env })).rejects.toMatchObject({
    stderr: expect.stringContaining("wrk not found; apt install wrk"),
  });
});
