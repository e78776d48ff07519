/** What a resident session costs, as the operating system counts it. In a process of its own, from the build. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const RESIDENT_BYTES_MAX = 2_600;
/** Fewer would measure the young generation of the garbage collector, which is a constant. */
const SESSIONS = 300_000;

const program = `
import { memoryStore } from ${JSON.stringify(new URL("../../dist/store/memory.js", import.meta.url).href)};
import { newSessionId, sessionKeyOf } from ${JSON.stringify(new URL("../../dist/core/ids.js", import.meta.url).href)};
import { systemClock } from ${JSON.stringify(new URL("../../dist/core/clock.js", import.meta.url).href)};
const session = (index) => ({
  key: sessionKeyOf(newSessionId(systemClock)),
  attributes: new Map(Array.from({ length: 8 }, (_, n) => ["attribute" + n, Buffer.alloc(128, index + n)])),
  ...(index % 2 === 0 ? { principal: { principal: "user-" + index, ageMs: 0 } } : {}),
  expiresAtMs: Date.now() + 1_800_000,
  absoluteExpiresAtMs: Date.now() + 43_200_000,
});
const settle = async () => {
  for (let turn = 0; turn < 6; turn++) {
    globalThis.gc();
    await new Promise((done) => setTimeout(done, 30));
  }
};
const warm = memoryStore();
for (let index = 0; index < 3_000; index++) await warm.create(session(index));
await warm.close();
const store = memoryStore({ maxBytes: 1e9 });
await settle();
const before = process.memoryUsage.rss();
for (let index = 0; index < ${SESSIONS}; index++) await store.create(session(index));
await settle();
const residentBytes = (process.memoryUsage.rss() - before) / ${SESSIONS};
console.log(JSON.stringify({ residentBytes, countedBytes: store.stats().bytes / ${SESSIONS} }));
`;

test(`a session of 8 attributes of 128 B costs at most ${RESIDENT_BYTES_MAX} B, and maxBytes counts it honestly`, async () => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--expose-gc", "--input-type=module", "--eval", program],
    { cwd: fileURLToPath(new URL(".", import.meta.url)) },
  );
  const { residentBytes, countedBytes } = JSON.parse(stdout) as Record<string, number>;
  console.log(`resident ${Math.round(residentBytes!)} B, counted ${Math.round(countedBytes!)} B a session`);
  expect(residentBytes).toBeLessThan(RESIDENT_BYTES_MAX);
  // An estimate: near the truth here, and not far from it on another allocator.
  expect(countedBytes! / residentBytes!).toBeGreaterThan(0.6);
  expect(countedBytes! / residentBytes!).toBeLessThan(1.6);
}, 120_000);
