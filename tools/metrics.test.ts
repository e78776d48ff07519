/** docs/metrics.md names every metric, event and span that the code has, and none that it has not. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SESSION_EVENTS } from "../packages/sojourn/src/sessions/telemetry.ts";
import { expiredChannel, linkChannels, storeChannel } from "../packages/sojourn/src/store/channels.ts";
import { METRICS, SPAN_NAMES, totalMetric } from "../packages/sojourn/src/telemetry/names.ts";
import { compilePrograms, programsOf } from "./snippets.ts";
import { ROOT } from "./source.ts";

const PAGE = readFileSync(join(ROOT, "docs/metrics.md"), "utf8");

const found = (pattern: RegExp) => new Set([...PAGE.matchAll(pattern)].map((match) => match[1] ?? ""));

test("every metric stands in one table row, and every row's metric exists", () => {
  const rows = [...PAGE.matchAll(/^\| `(sojourn_[a-z_]+)` \|/gm)].map((match) => match[1]);
  const totals = (Object.keys(SESSION_EVENTS) as (keyof typeof SESSION_EVENTS)[]).map(totalMetric);
  const metrics = [...totals, ...Object.values(METRICS).map(({ name }) => name)];
  expect([...rows].sort()).toEqual(metrics.sort());
});

test("every total's metric stands beside its event", () => {
  for (const total of Object.keys(SESSION_EVENTS) as (keyof typeof SESSION_EVENTS)[]) {
    expect(PAGE).toContain(`| \`${totalMetric(total)}\` | \`${SESSION_EVENTS[total]}\` |`);
  }
});

test("every channel but the session events' own is listed, and every channel named exists", () => {
  const { start, end, asyncStart, asyncEnd, error } = storeChannel;
  const others = [start, end, asyncStart, asyncEnd, error, expiredChannel, ...Object.values(linkChannels)];
  const names = others.map(({ name }) => String(name));
  const sessions = Object.values(SESSION_EVENTS).map((word) => `sojourn:session:${word}`);
  const named = found(/[`"]((?:tracing:)?sojourn:[a-z]+:[a-zA-Z-]+)[`"]/g);
  for (const name of names) expect(named, name).toContain(name);
  expect([...named].filter((name) => !names.includes(name) && !sessions.includes(name))).toEqual([]);
});

test("every span is named, and every span named exists", () => {
  expect([...found(/`(session [a-z ]+)`/g)].sort()).toEqual(Object.values(SPAN_NAMES).sort());
});

test("docs/troubleshooting.md names only totals, diagnostics and error codes that exist", () => {
  const page = readFileSync(join(ROOT, "docs/troubleshooting.md"), "utf8");
  const totals = Object.keys(SESSION_EVENTS).map((total) =>
    totalMetric(total as keyof typeof SESSION_EVENTS),
  );
  const named = [...page.matchAll(/\b([a-z_]+_total)\b/g)].map((match) => match[1] ?? "");
  expect(named.length).toBeGreaterThan(3);
  expect(named.filter((name) => !totals.some((total) => total.endsWith(`_${name}`)))).toEqual([]);
  const words = ["unknown", "cookie_rejected", "cookie_duplicate", "cookie_not_sent", "store_failed"];
  for (const word of words) {
    expect(page).toContain(`\`${word}\``);
    expect(totals).toContain(`sojourn_session_${word}_total`);
  }
  const diagnostics = readFileSync(join(ROOT, "packages/sojourn/src/sessions/diagnostics.ts"), "utf8");
  const told = [...page.matchAll(/`\[([A-Z_]+)\]`/g)].map((match) => match[1] ?? "");
  expect(told.length).toBeGreaterThan(3);
  for (const code of told) expect(diagnostics).toContain(`"${code}"`);
});

test("metrics use base units and say what they are: _seconds, _bytes_total, _total", () => {
  for (const { name } of Object.values(METRICS)) expect(name).toMatch(/_seconds$|_total$/);
});

test("the programs of docs/metrics.md and docs/encryption.md compile", () => {
  const programs = new Map([...programsOf("docs/metrics.md"), ...programsOf("docs/encryption.md")]);
  expect([...programs.keys()]).toEqual(["metrics", "spans", "events", "encrypted"]);
  expect(compilePrograms("operations", programs).found).toBe("");
});
