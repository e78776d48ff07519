/** Spans: under the right parent, with what is worth knowing, and nothing that tells who somebody is. */
import { AsyncLocalStorage } from "node:async_hooks";
import {
  type Context,
  type ContextManager,
  context,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { driveEveryEvent } from "../sessions/every-event.test.support.ts";
import { GatedStore, gate, house, Jar, request } from "../sessions/harness.test.support.ts";
import { traceSessions } from "./opentelemetry.ts";

/** As @opentelemetry/context-async-hooks does it. */
class AsyncContexts implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>();
  active = () => this.#storage.getStore() ?? ROOT_CONTEXT;
  with: ContextManager["with"] = (active, run, self, ...args) =>
    this.#storage.run(active, () => run.apply(self as never, args));
  bind = <T>(_: Context, target: T) => target;
  enable = () => this;
  disable = () => this;
}

const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const tracer = provider.getTracer("test");

beforeAll(() => {
  context.setGlobalContextManager(new AsyncContexts());
});
afterAll(() => context.disable());

const ends: (() => unknown)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
  exporter.reset();
});

function traced() {
  const stop = traceSessions({ tracer });
  ends.push(stop);
  return stop;
}

/** Runs under a span of its own, as an HTTP instrumentation does for each request. */
function asRequest<T>(name: string, run: () => Promise<T>): Promise<T> {
  const span = tracer.startSpan(name);
  return context.with(trace.setSpan(context.active(), span), run).finally(() => span.end());
}

const spans = () => exporter.getFinishedSpans();
const parentOf = (name: string) => {
  const span = spans().find((each) => each.name === name);
  return spans().find((each) => each.spanContext().spanId === span?.parentSpanContext?.spanId)?.name;
};

test("load, commit, renewal and end are spans under the request that caused them", async () => {
  traced();
  const { sessions } = house({ name: "shop" });
  const browser = new Jar();
  await asRequest("first", () => browser.request(sessions, (session) => session.set("cart", 1)));
  await asRequest("change", () => browser.request(sessions, (session) => session.set("cart", 2)));
  await asRequest("login", () => browser.request(sessions, (session) => session.renew({ principal: "ada" })));
  await asRequest("logout", () => browser.request(sessions, (session) => session.destroy()));
  expect(parentOf("session create")).toBe("first");
  expect(parentOf("session load")).toBe("change");
  expect(parentOf("session commit")).toBe("change");
  expect(parentOf("session renew")).toBe("login");
  expect(parentOf("session end")).toBe("logout");
  const load = spans().find(({ name }) => name === "session load")!;
  expect(load.attributes).toEqual({
    "sojourn.sessions": "shop",
    "sojourn.store": "memory",
    "sojourn.operation": "read",
    "sojourn.outcome": "ok",
    "sojourn.bytes_read": "cart".length + 2,
    "sojourn.bytes_written": 0,
  });
});

test("a read that waited for another request's is a span of the request that wanted it", async () => {
  traced();
  const { store, another } = house();
  const gated = new GatedStore(store);
  const sessions = another({ store: gated });
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("n", 1));
  const { cookie } = browser;
  const held = gate();
  gated.after = () => held.promise;
  const visits = ["early", "late"].map((name) =>
    asRequest(name, () => request(sessions, { cookie }, (session) => session.get("n"))),
  );
  await expect.poll(() => gated.calls.read).toBe(1);
  held.open();
  await Promise.all(visits);
  const parents = spans()
    .filter(({ name }) => name === "session load")
    .map(
      (load) => spans().find((each) => each.spanContext().spanId === load.parentSpanContext?.spanId)?.name,
    );
  expect(parents).toEqual(["early", "late"]);
});

test("a failure ends its span with the code, and a session that is gone is no failure", async () => {
  traced();
  const { store, another } = house();
  const gated = new GatedStore(store);
  const sessions = another({ store: gated });
  const browser = new Jar();
  await browser.request(sessions, (session) => session.set("n", 1));
  const { cookie } = browser;
  gated.before = () => Promise.reject(new Error("telling"));
  await expect(request(sessions, { cookie }, () => undefined)).rejects.toThrow();
  gated.before = () => {};
  await request(sessions, { cookie }, (session) => session.destroy());
  await request(sessions, { cookie }, () => undefined);
  const loads = spans().filter(({ name }) => name === "session load");
  expect(loads.map(({ attributes }) => attributes["sojourn.outcome"])).toEqual(["error", "ok", "gone"]);
  expect(loads[0]?.attributes["error.type"]).toBe("STORE_UNAVAILABLE");
  expect(loads[0]?.status).toEqual({ code: SpanStatusCode.ERROR, message: "STORE_UNAVAILABLE" });
  expect(loads[2]?.status.code).toBe(SpanStatusCode.UNSET);
});

test("no span holds an id, a key, a cookie, a name, a value, a principal or a secret", async () => {
  traced();
  const { telling } = await driveEveryEvent();
  expect(spans().length).toBeGreaterThan(10);
  const said = JSON.stringify(
    spans().map(({ name, attributes, events, links, status }) => ({
      name,
      attributes,
      events,
      links,
      status,
    })),
  );
  for (const text of telling) expect(said).not.toContain(text);
});

test("after the stop no span begins, and one under way still ends", async () => {
  const stop = traced();
  const { store, another } = house();
  const gated = new GatedStore(store);
  const sessions = another({ store: gated });
  const held = gate();
  gated.before = () => held.promise;
  const browser = new Jar();
  const creating = browser.request(sessions, (session) => session.set("n", 1));
  await expect.poll(() => gated.calls.create).toBe(1);
  stop();
  stop();
  held.open();
  await creating;
  await browser.request(sessions, (session) => session.get("n"));
  expect(spans().map(({ name }) => name)).toEqual(["session create"]);
});
