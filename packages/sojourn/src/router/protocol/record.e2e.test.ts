/**
 * Plays the protocol cases against HAProxy and nginx. What they do is no promise of ours, so it is not judged: with
 * SOJOURN_RECORD=1 it is written into docs/router-cases.md. Judged is that our own column in that page is what our tests
 * assert, and that the proxies really are set up as stickily as ours (or the comparison would be worth nothing).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type ProtocolCase, Stage } from "./case.test.support.ts";
import { CASES } from "./cases.test.support.ts";
import { HAPROXY, NGINX, type OtherProxy, RunningProxy, versionOf } from "./others.test.support.ts";
import { type Column, casesPage } from "./page.test.support.ts";

const PAGE = fileURLToPath(new URL("../../../../../docs/router-cases.md", import.meta.url));
const recording = process.env.SOJOURN_RECORD === "1";
const columns: Column[] = [];

/** Played even when nothing is recorded: both proxies must pass these, else they are not set up for the comparison. */
const SETUP = [
  "the connection stays open for the next request",
  "a visitor comes back to its server",
  "a refused connection: POST goes to the other server",
  "a WebSocket opens and carries bytes both ways",
];

for (const proxy of [HAPROXY, NGINX]) {
  const program = process.env[proxy.variable];
  test.skipIf(program === undefined)(
    `${proxy.name} is set up for comparison (needs ${proxy.variable})`,
    async () => {
      const observed = await play(proxy, program!);
      if (recording) columns.push({ title: `${proxy.name} ${versionOf(proxy, program!)}`, observed });
      for (const name of SETUP) {
        const expected = CASES.flatMap(([, cases]) => cases).find((each) => each.name === name)?.ours;
        expect(observed.get(name), name).toBe(expected);
      }
    },
    600_000,
  );
}

test("docs/router-cases.md lists every case with what our router does", () => {
  if (recording && columns.length > 0) writeFileSync(PAGE, casesPage(CASES, columns));
  const page = readFileSync(PAGE, "utf8");
  const listed = page
    .split("\n")
    .filter((line) => /^\| (?!case|---)/.test(line))
    .map((line) => line.split(" | ").slice(0, 2).join(" | "));
  const expected = casesPage(CASES, [])
    .split("\n")
    .filter((line) => /^\| (?!case|---)/.test(line))
    .map((line) => line.replace(/ \|$/, ""));
  expect(listed).toEqual(expected);
});

async function play(proxy: OtherProxy, program: string): Promise<Map<string, string>> {
  const stage = new Stage();
  await stage.start();
  const running = await RunningProxy.start(
    proxy,
    program,
    stage.servers.map(({ port }) => port),
  );
  const observed = new Map<string, string>();
  try {
    for (const each of CASES.flatMap(([, cases]) => cases)) {
      if (each.onlyOurs || !(recording || SETUP.includes(each.name))) continue;
      await stage.reset();
      stage.proxyPort = running.port;
      observed.set(each.name, await seen(each, stage));
    }
  } finally {
    await running.stop();
    await stage.stop();
  }
  return observed;
}

/** A case may trip over a proxy that does something else entirely; that, too, is an observation. */
async function seen(each: ProtocolCase, stage: Stage): Promise<string> {
  try {
    return await each.play(stage);
  } catch {
    return "nothing reached the server";
  }
}
