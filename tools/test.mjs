// What `npm test` does after the build: lint, the tests that need nothing, then the tests with real processes (one file
// at a time: two cores). Ends with one list of what this machine could not run and how to get it, and a plain line of
// counts. With CI=true an absent program is a failure, so nothing is skipped silently there.
//
//   node tools/test.mjs [part of a test file's path …]
import { spawnSync } from "node:child_process";
import { accessSync, constants, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

const filters = process.argv.slice(2);
const ci = process.env.CI === "true";
const bin = (name) => join("node_modules", ".bin", name);

/** Programs that some tests need; the tests themselves skip by the same variables. */
const PROGRAMS = [
  {
    name: "chromium",
    variable: "SOJOURN_CHROMIUM",
    files: ["chromium", "chromium-browser", "google-chrome"],
  },
  { name: "haproxy", variable: "SOJOURN_HAPROXY", files: ["haproxy"] },
  { name: "nginx", variable: "SOJOURN_NGINX", files: ["nginx"] },
  { name: "redis-server", variable: "SOJOURN_REDIS_SERVER", files: ["redis-server", "valkey-server"] },
  { name: "wrk", variable: "SOJOURN_WRK", files: ["wrk"] },
];

function find(files) {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  for (const file of files) {
    for (const folder of folders) {
      try {
        accessSync(join(folder, file), constants.X_OK);
        return join(folder, file);
      } catch {}
    }
  }
  return undefined;
}

const env = { ...process.env };
const absent = [];
for (const { name, variable, files } of PROGRAMS) {
  const path = env[variable] ?? find(files);
  if (path) env[variable] = path;
  else absent.push(`skipped: ${name} (${name} not found; apt install ${name})`);
}

const reports = mkdtempSync(join(tmpdir(), "sojourn-test-"));
const totals = { passed: 0, failed: 0, skipped: 0 };
const skipped = [];
/** Cases of the store suite that ask for what a store does not claim to do; their names say what. */
let inapplicable = 0;

function step(title, command, args) {
  const startedMs = Date.now();
  process.stdout.write(`\n── ${title}\n`);
  const { status } = spawnSync(process.execPath, [command, ...args], { stdio: "inherit", env });
  process.stdout.write(
    `── ${title}: ${status === 0 ? "ok" : "FAILED"}, ${((Date.now() - startedMs) / 1000).toFixed(1)} s\n`,
  );
  return status === 0;
}

function vitest(title, project) {
  const report = join(reports, `${project}.json`);
  const ok = step(title, bin("vitest"), [
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
    "--passWithNoTests",
    "--project",
    project,
    ...filters,
  ]);
  try {
    const result = JSON.parse(readFileSync(report, "utf8"));
    totals.passed += result.numPassedTests;
    totals.failed += result.numFailedTests;
    for (const file of result.testResults) {
      // A file that could not even load has no tests to count.
      if (file.status === "failed" && !file.assertionResults.some((each) => each.status === "failed"))
        totals.failed++;
      for (const each of file.assertionResults) {
        if (each.status === "passed" || each.status === "failed") continue;
        if (/ \(skipped: .+\)$/.test(each.fullName)) inapplicable++;
        else skipped.push(each.fullName);
      }
    }
  } catch {
    totals.failed++;
  }
  return ok;
}

const linted = filters.length > 0 || step("lint", bin("biome"), ["check", "."]);
if (!linted) totals.failed++;
const outcomes = [
  linted,
  vitest("tests that need nothing", "unit"),
  vitest("tests with real processes", "e2e"),
];
rmSync(reports, { recursive: true, force: true });

totals.skipped = skipped.length;
if (inapplicable > 0) {
  process.stdout.write(
    `\ndoes not apply: ${inapplicable} cases of the store suite to stores without that capability; their names say which\n`,
  );
}
if (absent.length > 0) process.stdout.write(`\n${absent.join("\n")}\n`);
if (skipped.length > 0)
  process.stdout.write(`\nnot run here:\n${skipped.map((name) => `  ${name}\n`).join("")}`);
if (ci && (absent.length > 0 || skipped.length > 0)) {
  process.stdout.write("\nCI=true: everything must run, so what was skipped counts as failed\n");
  totals.failed += totals.skipped + absent.length;
  totals.skipped = 0;
}
process.stdout.write(`\n${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped\n`);
process.exitCode = outcomes.every(Boolean) && totals.failed === 0 && totals.passed > 0 ? 0 : 1;
