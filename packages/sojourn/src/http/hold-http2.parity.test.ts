import { once } from "node:events";
import http2, { type ClientHttp2Session, type Http2ServerResponse } from "node:http2";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { CommitOutcome } from "../sessions/scope.ts";
import { hold } from "./hold.ts";

/** As hold.parity.test.ts, for HTTP/2: a held response does what a bare one does. */
const RUNS = process.env.CI ? 1_500 : 300;
const TIMEOUT_MS = 120_000;

type Step = { readonly call: string; readonly args: readonly unknown[] };
interface Program {
  readonly method: "GET" | "HEAD" | "POST";
  readonly steps: readonly Step[];
}

const CALLBACK = "<callback>";
// No empty chunks: node:http2 then sends memory that it has freed, bare or held (seen on 20.20 and 24.21).
const text = fc.constantFrom("a", "héllo", "b".repeat(40_000));
const chunk = fc.oneof(
  { weight: 8, arbitrary: text },
  { weight: 3, arbitrary: text.map((value) => Buffer.from(value)) },
  { weight: 1, arbitrary: fc.constantFrom<unknown>(5, {}, new Uint8Array([1, 2, 3])) },
);
const headerName = fc.constantFrom("x-a", "X-B", "set-cookie", "content-type", "trailer");
const headerValue = fc.constantFrom<unknown>("1", "v", 7, "w");
const pairs = fc.uniqueArray(fc.tuple(headerName, headerValue), { maxLength: 3, selector: ([name]) => name });
const headers = fc.oneof(
  pairs.map((entries) => Object.fromEntries(entries)),
  pairs.map((entries) => entries.flat()),
  fc.constant<unknown>(undefined),
);
const status = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom<unknown>(200, 201, 204, 304, 404, 500) },
  { weight: 1, arbitrary: fc.constantFrom<unknown>(99, 101, 700) },
);

function step(call: string, ...args: fc.Arbitrary<unknown>[]): fc.Arbitrary<Step> {
  return fc.tuple(...args).map((values) => ({ call, args: values as unknown[] }));
}

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: step("setHeader", headerName, headerValue) },
  { weight: 1, arbitrary: step("appendHeader", fc.constant("x-a"), headerValue) },
  { weight: 1, arbitrary: step("removeHeader", headerName) },
  { weight: 1, arbitrary: step("getHeaders") },
  { weight: 2, arbitrary: step("writeHead", status, headers) },
  { weight: 5, arbitrary: step("write", chunk) },
  { weight: 2, arbitrary: step("write", text, fc.constant(CALLBACK)) },
  { weight: 2, arbitrary: step("end") },
  { weight: 2, arbitrary: step("end", chunk) },
  { weight: 2, arbitrary: step("end", text, fc.constant(CALLBACK)) },
  { weight: 1, arbitrary: step("flushHeaders") },
  { weight: 1, arbitrary: step("setTrailer", fc.constant("x-sum"), headerValue) },
  { weight: 1, arbitrary: step("=statusCode", status) },
  { weight: 1, arbitrary: step("=sendDate", fc.boolean()) },
);

const program: fc.Arbitrary<Program> = fc.record({
  method: fc.constantFrom("GET", "GET", "GET", "HEAD", "POST"),
  steps: fc.array(anyStep, { minLength: 1, maxLength: 6 }),
});

interface Seen {
  readonly steps: unknown[];
  readonly events: string[];
  readonly callbacks: string[];
  readonly client: Record<string, unknown>;
}

let current: { program: Program; seen: Seen; held: boolean; outcome: CommitOutcome; over: () => void };
let client: ClientHttp2Session;

const server = http2.createServer((_req, res) => {
  const { seen, held, outcome, over } = current;
  if (held) hold(res, { settle: () => new Promise((resolve) => setImmediate(resolve, outcome)) });
  run(current.program, res, seen, over);
});

function run({ steps }: Program, res: Http2ServerResponse, seen: Seen, over: () => void): void {
  for (const event of ["finish", "close"]) res.on(event, () => seen.events.push(event));
  res.on("close", over);
  const { stream } = res;
  // Neither frameworks nor applications listen here, but a program that errs must not end this process.
  stream.on("error", (error) => seen.callbacks.push(`stream ${codeOf(error)}`));
  const target = res as unknown as Record<string, unknown> & Record<string, (...args: unknown[]) => unknown>;
  const all = [...steps, { call: "end", args: [] }];
  all.forEach(({ call, args }, index) => {
    let result: unknown;
    const callback = (error: unknown) => seen.callbacks.push(`callback ${index} ${codeOf(error)}`);
    try {
      const actual = args.map((arg) => (arg === CALLBACK ? callback : arg));
      if (call.startsWith("=")) (target as Record<string, unknown>)[call.slice(1)] = actual[0];
      else result = target[call]?.(...actual);
      if (result === res) result = "itself";
    } catch (error) {
      result = `threw ${codeOf(error)}`;
    }
    const { headersSent, writableEnded, statusCode, finished } = res;
    seen.steps.push([call, result, { headersSent, writableEnded, statusCode, finished }]);
  });
  // A status that is refused leaves nothing to send: nothing more will happen.
  if (!res.headersSent) stream.destroy();
}

function codeOf(error: unknown): string {
  if (error === null || error === undefined) return "";
  return `${(error as { code?: string }).code ?? (error as Error).message}`;
}

async function observe(steps: Program, held: boolean, setCookies: readonly string[] = []): Promise<Seen> {
  const seen: Seen = { steps: [], events: [], callbacks: [], client: { body: "" } };
  const over = new Promise<void>((resolve) => {
    current = { program: steps, seen, held, outcome: { ok: true, setCookies }, over: resolve };
  });
  const stream = client.request({ ":method": steps.method, ":path": "/" });
  stream.end();
  stream.on("response", ({ date, ...head }) => {
    seen.client.hasDate = date !== undefined;
    seen.client.headers = Object.fromEntries(Object.entries(head));
  });
  stream.on("trailers", (trailers) => {
    // Whether trailers of a response that cannot have any leave depends on timing.
    if ([204, 304].includes(Number((seen.client.headers as Record<string, unknown>)[":status"]))) return;
    seen.client.trailers = Object.fromEntries(Object.entries(trailers));
  });
  stream.setEncoding("utf8").on("data", (data: string) => {
    seen.client.body += data;
  });
  stream.on("error", () => {});
  await Promise.all([new Promise((resolve) => stream.on("close", resolve)), over]);
  seen.client.resetCode = stream.rstCode;
  return seen;
}

beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  client = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

afterAll(async () => {
  client.close();
  server.close();
  await once(server, "close");
});

/**
 * node:http2 resets a stream on which a program errs, or that is left without an answer. How much had left before is a
 * matter of timing, and only what the application saw is compared.
 */
function isBroken({ callbacks, client: { headers } }: Seen): boolean {
  return headers === undefined || callbacks.some((one) => one.startsWith("stream "));
}

function headersOf({ client: { headers } }: Seen): Record<string, string[]> {
  return { ...(headers as Record<string, string[]>) };
}

function comparable(seen: Seen): Partial<Seen> {
  return isBroken(seen) ? { steps: seen.steps } : seen;
}

test(
  "a held response does exactly what a bare one does, whatever the program",
  async () => {
    await fc.assert(
      fc.asyncProperty(program, async (steps) => {
        expect(comparable(await observe(steps, true))).toEqual(comparable(await observe(steps, false)));
      }),
      { numRuns: RUNS },
    );
  },
  TIMEOUT_MS,
);

test(
  "cookies are all that a commit adds, once, whatever the program",
  async () => {
    const cookie = "sid=abc; Path=/; HttpOnly";
    await fc.assert(
      fc.asyncProperty(program, async (steps) => {
        const bare = await observe(steps, false);
        const held = await observe(steps, true, [cookie]);
        const { "set-cookie": cookies, "cache-control": caching, ...others } = headersOf(held);
        const { "set-cookie": bareCookies = [], ...bareOthers } = headersOf(bare);
        expect(comparable({ ...held, client: { ...held.client, headers: others } })).toEqual(
          comparable({ ...bare, client: { ...bare.client, headers: bareOthers } }),
        );
        if (isBroken(bare)) return;
        expect(cookies).toEqual([...bareCookies, cookie]);
        expect(caching).toBe('private, no-cache="Set-Cookie"');
      }),
      { numRuns: RUNS },
    );
  },
  TIMEOUT_MS,
);
