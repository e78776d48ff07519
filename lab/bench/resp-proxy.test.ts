import fc from "fast-check";
import { expect, test } from "vitest";
import { CommandCounter } from "./resp-proxy.ts";

function encoded(args: readonly string[]): string {
  return `*${args.length}\r\n${args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`).join("")}`;
}

test("commands are counted however the stream is cut, and whatever their arguments hold", () => {
  const argument = fc.oneof(fc.string(), fc.constantFrom("\r\n", "*1\r\n$4\r\nPING\r\n", "", "한글"));
  const commands = fc.array(fc.array(argument, { minLength: 1, maxLength: 4 }), { maxLength: 6 });
  fc.assert(
    fc.property(commands, fc.array(fc.nat(400)), (sent, cuts) => {
      const bytes = Buffer.from(sent.map(encoded).join(""));
      const counter = new CommandCounter();
      const at = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
      const counted = at.slice(1).map((end, index) => counter.seen(bytes.subarray(at[index], end)));
      expect(counted.reduce((sum, one) => sum + one, 0)).toBe(sent.length);
    }),
  );
});

test("inline commands are refused rather than missed", () => {
  expect(() => new CommandCounter().seen(Buffer.from("PING\r\n"))).toThrow(/something else than RESP/);
});
