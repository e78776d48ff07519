/** What Prometheus reads: valid, complete, and nothing in it that tells who somebody is. */
import { afterEach, expect, test } from "vitest";
import { sessionServers } from "../cluster/client/session-servers.ts";
import { startSessionServer } from "../cluster/server/session-server.ts";
import { createSessions } from "../sessions/create-sessions.ts";
import { driveEveryEvent } from "../sessions/every-event.test.support.ts";
import { Jar } from "../sessions/harness.test.support.ts";
import { type SessionMetricsOptions, sessionMetrics } from "./metrics.ts";
import { METRICS } from "./names.ts";
import { parseExposition } from "./parse-exposition.test.support.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function metricsOf(...sessions: SessionMetricsOptions["sessions"]) {
  const metrics = sessionMetrics({ sessions });
  ends.push(() => metrics.close());
  return metrics;
}

test("the text is valid exposition format, and every metric of sessions and stores is in it", async () => {
  const listening = metricsOf();
  const { sessions } = await driveEveryEvent("shop");
  const metrics = metricsOf(sessions);
  expect(metrics.contentType).toBe("text/plain; version=0.0.4; charset=utf-8");
  const totals = parseExposition(metrics.text());
  const heard = parseExposition(listening.text());
  expect(totals.get("sojourn_session_created_total")?.samples[0]).toMatchObject({ labels: { name: "shop" } });
  for (const metric of totals.values()) {
    if (metric.name.startsWith("sojourn_session_")) {
      expect(metric.samples[0]?.value, metric.name).toBeGreaterThan(0);
    }
  }
  const { operationSeconds, operationErrors, bytesRead, bytesWritten, expired } = METRICS;
  for (const { name } of [operationSeconds, operationErrors, bytesRead, bytesWritten, expired]) {
    expect(heard.has(name), name).toBe(true);
  }
  expect(heard.get(operationErrors.name)?.samples).toContainEqual({
    name: operationErrors.name,
    labels: { name: "shop", store: "gated", operation: "read", code: "STORE_UNAVAILABLE" },
    value: 1,
  });
});

test("no metric holds an id, a key, a cookie, a name, a value, a principal or a secret", async () => {
  const metrics = metricsOf();
  const { sessions, telling } = await driveEveryEvent();
  const text = metrics.text() + metricsOf(sessions).text();
  expect(text).toContain("sojourn_store_operation_seconds_bucket");
  for (const secret of telling) expect(text).not.toContain(secret);
});

test("several sessions are told apart by name, and those of one name are added up", async () => {
  const make = (name: string) =>
    createSessions({ name, secret: "a secret of the metrics", cookie: { secure: false } });
  const [shop, shopToo, admin] = [make("shop"), make("shop"), make('ad"min\\\n')];
  const metrics = metricsOf(shop, shopToo, admin);
  for (const sessions of [shop, shopToo, admin]) {
    await new Jar().request(sessions, (session) => session.set("n", 1));
    ends.push(() => sessions.close());
  }
  const parsed = parseExposition(metrics.text());
  expect(parsed.get("sojourn_session_created_total")?.samples).toEqual([
    { name: "sojourn_session_created_total", labels: { name: "shop" }, value: 2 },
    { name: "sojourn_session_created_total", labels: { name: 'ad"min\\\n' }, value: 1 },
  ]);
  const counts = parsed
    .get("sojourn_store_operation_seconds")
    ?.samples.filter(({ name }) => name.endsWith("_count"));
  expect(counts).toHaveLength(2);
  expect(counts?.[0]).toMatchObject({
    labels: { name: "shop", store: "memory", operation: "create", outcome: "ok" },
    value: 2,
  });
});

test("a histogram counts each operation in every bucket that is wide enough, and its sum is in seconds", async () => {
  const metrics = metricsOf();
  const { sessions } = await driveEveryEvent();
  const reads = parseExposition(metrics.text())
    .get(METRICS.operationSeconds.name)!
    .samples.filter(({ labels }) => labels.operation === "read" && labels.outcome === "ok");
  const buckets = reads.filter(({ name }) => name.endsWith("_bucket")).map(({ value }) => value);
  expect(buckets).toEqual([...buckets].sort((a, b) => a - b));
  const count = reads.find(({ name }) => name.endsWith("_count"))!.value;
  expect(buckets.at(-1)).toBe(count);
  // One more: the second server of the same name read once.
  expect(count).toBe(sessions.stats().loaded + 1);
});

test("a link to a session server: made, answered in time and bytes, lost, and not made again while nobody is there", async () => {
  const metrics = metricsOf();
  const server = await startSessionServer({ port: 0 });
  const remote = `127.0.0.1:${server.address.port}`;
  const store = sessionServers({ members: [remote] });
  ends.push(() => store.close());
  const sessions = createSessions({ store, secret: "a secret of the metrics", cookie: { secure: false } });
  await new Jar().request(sessions, (session) => session.set("n", 1));
  const value = (name: string) => parseExposition(metrics.text()).get(name)?.samples.at(-1)?.value;
  expect(value(METRICS.connects.name)).toBe(1);
  expect(value(METRICS.roundTripSeconds.name)).toBeGreaterThanOrEqual(1);
  expect(value(METRICS.sentBytes.name)).toBeGreaterThan(50);
  expect(value(METRICS.receivedBytes.name)).toBeGreaterThan(20);
  await server.close({ graceMs: 0 });
  await expect.poll(() => value(METRICS.connectFailures.name) ?? 0, { timeout: 10_000 }).toBeGreaterThan(0);
  expect(parseExposition(metrics.text()).get(METRICS.connectFailures.name)?.samples[0]?.labels).toEqual({
    store: "session-servers",
    remote,
    code: "STORE_UNAVAILABLE",
  });
});

test("links that are lost are counted by how: a server that stops, and one that dies", async () => {
  const metrics = metricsOf();
  const given = async () => {
    const server = await startSessionServer({ port: 0 });
    const store = sessionServers({ members: [`127.0.0.1:${server.address.port}`] });
    ends.push(() => store.close());
    await store.count();
    return server;
  };
  const codes = () =>
    parseExposition(metrics.text())
      .get(METRICS.losses.name)
      ?.samples.map(({ labels }) => labels.code);
  await (await given()).close();
  await expect.poll(codes).toEqual(["STORE_CLOSED"]);
  await (await given()).close({ graceMs: 0 });
  await expect.poll(() => codes()?.length).toBe(2);
});

test("after close nothing more is counted", async () => {
  const metrics = metricsOf();
  metrics.close();
  metrics.close();
  await driveEveryEvent();
  expect(metrics.text()).not.toContain("sojourn_store_operation_seconds");
});
