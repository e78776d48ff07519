/**
 * Cuts a byte stream into frames: u32 length, then that many bytes. The length is checked as soon as its four bytes are
 * here, before anything is kept for it: a 4 GB length costs four bytes.
 */
import { invalidFrame } from "./bytes.ts";

export const FRAME_HEADER_BYTES = 4;
/** Bounds what one received byte can cost in copying. */
const MERGED_BYTES_MAX = 4096;

export class FrameParser {
  #frameBytesMax: number;
  /** Bytes of the unfinished frame, header included, in arrival order. */
  #chunks: Buffer[] = [];
  #buffered = 0;
  /** Whole length of the unfinished frame, header included; 0 while the header is incomplete. */
  #wanted = 0;

  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax;
  }

  /** Applies from the next frame on. */
  set frameBytesMax(bytes: number) {
    this.#frameBytesMax = bytes;
  }

  /** What an unfinished frame holds in memory. 0 between frames. */
  get bufferedBytes(): number {
    return this.#buffered;
  }

  /**
   * @param onFrame  gets each whole frame without its header, a view valid for as long as it is held; returning false
   *                 stops after it
   * @returns        how many bytes of the chunk were taken: all of them unless `onFrame` stopped
   * @throws {SessionError} INVALID_FRAME for an empty frame or one above the limit; the stream cannot go on after it
   */
  push(chunk: Buffer, onFrame: (frame: Buffer) => boolean): number {
    let at = 0;
    while (at < chunk.length) {
      if (this.#buffered === 0 && chunk.length - at >= FRAME_HEADER_BYTES) {
        // The usual case: the frame lies whole in this chunk and needs no copy.
        const length = this.#checked(chunk.readUInt32BE(at));
        const end = at + FRAME_HEADER_BYTES + length;
        if (end <= chunk.length) {
          const frame = chunk.subarray(at + FRAME_HEADER_BYTES, end);
          at = end;
          if (!onFrame(frame)) return at;
          continue;
        }
        this.#wanted = FRAME_HEADER_BYTES + length;
      }
      const missing = (this.#wanted || FRAME_HEADER_BYTES) - this.#buffered;
      const part = chunk.subarray(at, at + missing);
      at += part.length;
      this.#keep(part);
      if (this.#buffered < (this.#wanted || FRAME_HEADER_BYTES)) continue;
      const whole =
        this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks, this.#buffered);
      if (this.#wanted === 0) {
        this.#wanted = FRAME_HEADER_BYTES + this.#checked(whole.readUInt32BE(0));
        this.#chunks = [whole];
        continue;
      }
      this.#chunks = [];
      this.#buffered = 0;
      this.#wanted = 0;
      if (!onFrame(whole.subarray(FRAME_HEADER_BYTES))) return at;
    }
    return at;
  }

  /**
   * Small pieces are copied together, or a sender of single bytes would make us keep one socket buffer for each: what is
   * held is what was received, give or take a few per cent.
   */
  #keep(part: Buffer): void {
    const last = this.#chunks.at(-1);
    this.#buffered += part.length;
    if (last !== undefined && last.length + part.length <= MERGED_BYTES_MAX) {
      this.#chunks[this.#chunks.length - 1] = Buffer.concat([last, part]);
    } else {
      this.#chunks.push(part.length < MERGED_BYTES_MAX ? Buffer.from(part) : part);
    }
  }

  #checked(length: number): number {
    if (length === 0) throw invalidFrame("it is empty");
    if (length > this.#frameBytesMax) {
      throw invalidFrame(`it announces ${length} bytes where ${this.#frameBytesMax} are allowed`);
    }
    return length;
  }
}

export function frameHeader(length: number): Buffer {
  const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
  header.writeUInt32BE(length, 0);
  return header;
}
