/** Before the first connection stands: a server that accepts and says nothing costs the callers their time, and no more. */
import { createServer } from "node:net";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { newSessionId, sessionKeyOf } from "../../core/ids.ts";
import { redisStore } from "./index.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

test("a store that is closed before its connection stands leaves no socket behind", async () => {
  let accepted = 0;
  let open = 0;
  const server = createServer((socket) => {
    accepted++;
    open++;
    socket.resume();
    socket.on("error", () => undefined);
    socket.once("close", () => open--);
    ends.push(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ends.push(() => server.close());
  const address = server.address();
  const url = `redis://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
  // At once, while the client is loaded; and while it connects.
  await redisStore({ url, onDiagnostic: () => undefined }).close();
  const connecting = redisStore({ url, onDiagnostic: () => undefined });
  await expect.poll(() => accepted).toBe(1);
  await connecting.close();
  await expect.poll(() => open).toBe(0);
});

test("a first call that times out rejects, and does not end the process; the next ones fail at once", async () => {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    ends.push(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ends.push(() => server.close());
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const store = redisStore({
    url: `redis://127.0.0.1:${port}`,
    timeoutMs: 100,
    onDiagnostic: () => undefined,
  });
  ends.push(() => store.close());
  const key = sessionKeyOf(newSessionId(systemClock));
  // vitest fails a test whose process met an error that nobody caught.
  await expect(store.read(key)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  await expect(store.read(key, { timeoutMs: 60_000 })).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
});
