import fc from "fast-check";
import { expect, test } from "vitest";
import { FUZZ_RUNS, FUZZ_TIMEOUT_MS } from "../../testing/fuzz-runs.test.support.ts";
import { FRAME_HEADER_BYTES, FrameParser, frameHeader } from "./frame.ts";

const FRAME_BYTES_MAX = 64;

function framed(frames: readonly Uint8Array[]): Buffer {
  return Buffer.concat(frames.flatMap((frame) => [frameHeader(frame.byteLength), frame]));
}

/** Cuts `bytes` at the given places, wherever they fall. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end));
}

const frames = fc.array(fc.uint8Array({ minLength: 1, maxLength: FRAME_BYTES_MAX }), { maxLength: 8 });

test(
  "frames come out as they went in, however the network cuts them",
  () => {
    fc.assert(
      fc.property(frames, fc.array(fc.nat(600), { maxLength: 12 }), (sent, places) => {
        const parser = new FrameParser(FRAME_BYTES_MAX);
        const received: Buffer[] = [];
        for (const chunk of cut(framed(sent), places)) {
          parser.push(chunk, (frame) => {
            received.push(Buffer.from(frame));
            return true;
          });
        }
        // Not expect(): a hundred thousand of them would take a minute.
        if (received.length !== sent.length || parser.bufferedBytes !== 0) return false;
        return sent.every((frame, index) => received[index]?.equals(frame));
      }),
      { numRuns: FUZZ_RUNS },
    );
  },
  FUZZ_TIMEOUT_MS,
);

test(
  "no input makes the parser keep more than one frame, or throw anything but INVALID_FRAME",
  () => {
    const chunk = fc.oneof(
      fc.uint8Array({ maxLength: 80 }),
      fc.nat(2 * FRAME_BYTES_MAX).map((length) => frameHeader(length)),
      fc.nat().map((length) => frameHeader(length)),
      frames.map((sent) => framed(sent)),
    );
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 10 }), (chunks) => {
        const parser = new FrameParser(FRAME_BYTES_MAX);
        let held = true;
        for (const bytes of chunks) {
          try {
            parser.push(Buffer.from(bytes), (frame) => {
              held &&= frame.length > 0 && frame.length <= FRAME_BYTES_MAX;
              return true;
            });
          } catch (error) {
            return held && (error as { code?: string }).code === "INVALID_FRAME";
          }
          held &&= parser.bufferedBytes < FRAME_HEADER_BYTES + FRAME_BYTES_MAX;
        }
        return held;
      }),
      { numRuns: FUZZ_RUNS },
    );
  },
  FUZZ_TIMEOUT_MS,
);

test("a length above the limit is refused by its four bytes, before any of the frame arrives", () => {
  const parser = new FrameParser(FRAME_BYTES_MAX);
  expect(() => parser.push(frameHeader(0xffff_ffff), () => true)).toThrow(
    "Cannot read the frame: it announces 4294967295 bytes where 64 are allowed",
  );
});

test("a frame sent byte by byte costs about its own size while it is unfinished", () => {
  const parser = new FrameParser(1024 * 1024);
  const whole = framed([Buffer.alloc(100_000, 7)]);
  const received: Buffer[] = [];
  for (let at = 0; at < whole.length; at++) {
    parser.push(whole.subarray(at, at + 1), (frame) => {
      received.push(frame);
      return true;
    });
    if (at === 50_000) expect(parser.bufferedBytes).toBe(50_001);
  }
  expect(received).toEqual([Buffer.alloc(100_000, 7)]);
});

test("a raised limit counts from the next frame on", () => {
  const parser = new FrameParser(4);
  const lengths: number[] = [];
  parser.push(framed([Buffer.alloc(4), Buffer.alloc(5)]), (frame) => {
    lengths.push(frame.length);
    parser.frameBytesMax = 5;
    return true;
  });
  expect(lengths).toEqual([4, 5]);
});
