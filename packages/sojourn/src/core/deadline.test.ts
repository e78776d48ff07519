import fc from "fast-check";
import { expect, test } from "vitest";
import { storedDeadlineMs, touchIsDue, touchSlackMs, UNCONFIRMED_MS } from "./deadline.ts";

const idle = fc.integer({ min: 1_000, max: 7 * 86_400_000 });
const now = fc.integer({ min: 0, max: 4e12 });
const far = Number.MAX_SAFE_INTEGER;

test("the slack is a tenth of the idle timeout and at most a minute", () => {
  expect(touchSlackMs(1_800_000)).toBe(60_000);
  expect(touchSlackMs(600_000)).toBe(60_000);
  expect(touchSlackMs(599_990)).toBe(59_999);
  expect(touchSlackMs(10_000)).toBe(1_000);
  expect(storedDeadlineMs(5_000, 10_000)).toBe(16_000);
});

test("throttled touching never ends a session early, nor late by more than the slack", () => {
  const gaps = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(now, idle, gaps, (startMs, idleMs, parts) => {
      let nowMs = startMs;
      let expiresAtMs = storedDeadlineMs(nowMs, idleMs);
      for (const part of parts) {
        nowMs += part * idleMs;
        // Within the idle timeout of the last activity: still there.
        expect(expiresAtMs).toBeGreaterThanOrEqual(nowMs);
        if (touchIsDue({ expiresAtMs, absoluteExpiresAtMs: far }, nowMs, idleMs)) {
          expiresAtMs = Math.max(expiresAtMs, storedDeadlineMs(nowMs, idleMs));
        }
        expect(expiresAtMs).toBeGreaterThanOrEqual(nowMs + idleMs);
        expect(expiresAtMs).toBeLessThanOrEqual(nowMs + idleMs + touchSlackMs(idleMs));
      }
    }),
  );
});

test("a steady visitor costs at most one touch per slack", () => {
  fc.assert(
    fc.property(idle, fc.integer({ min: 1, max: 40 }), (idleMs, requestsPerSlack) => {
      const slackMs = touchSlackMs(idleMs);
      let expiresAtMs = storedDeadlineMs(0, idleMs);
      let touches = 0;
      const requests = 20 * requestsPerSlack;
      for (let request = 1; request <= requests; request++) {
        const nowMs = (request * slackMs) / requestsPerSlack;
        if (!touchIsDue({ expiresAtMs, absoluteExpiresAtMs: far }, nowMs, idleMs)) continue;
        expiresAtMs = storedDeadlineMs(nowMs, idleMs);
        touches++;
      }
      expect(touches).toBeLessThanOrEqual(20);
    }),
  );
});

test("no touch is due that could not move anything: the absolute deadline stands", () => {
  const record = { expiresAtMs: 10_000, absoluteExpiresAtMs: 10_000 };
  expect(touchIsDue(record, 9_999, 60_000)).toBe(false);
  expect(touchIsDue({ ...record, absoluteExpiresAtMs: 10_001 }, 9_999, 60_000)).toBe(true);
});

test("the first return of an unconfirmed session is always due", () => {
  fc.assert(
    fc.property(now, fc.integer({ min: UNCONFIRMED_MS + 1, max: 86_400_000 }), (nowMs, idleMs) => {
      const record = { expiresAtMs: nowMs + UNCONFIRMED_MS, absoluteExpiresAtMs: far };
      expect(touchIsDue(record, nowMs + 1, idleMs)).toBe(true);
    }),
  );
});
