/** Every protocol case against our router: real sockets on both sides, nothing replaced. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startRouter } from "../router.ts";
import { SHORT, Stage } from "./case.test.support.ts";
import { CASES } from "./cases.test.support.ts";

const stage = new Stage();

beforeAll(() => stage.start());
afterAll(() => stage.stop());

for (const [group, cases] of CASES) {
  describe(group, () => {
    test.each(cases)("$name", async ({ play, ours, options }) => {
      await stage.reset();
      const router = await startRouter({
        port: 0,
        servers: stage.servers.map(({ port }, index) => ({
          id: `b${index + 1}`,
          url: `http://127.0.0.1:${port}`,
        })),
        // Checks would be requests that the cases did not send.
        health: false,
        timeouts: { ...SHORT, closeMs: 50 },
        ...options,
      });
      stage.router = router;
      stage.proxyPort = router.address.port;
      try {
        expect(await play(stage)).toBe(ours);
      } finally {
        await router.close();
      }
    });
  });
}
