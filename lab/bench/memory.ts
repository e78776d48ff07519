/** What a session in memory costs, as the operating system counts it: (RSS full − RSS empty) ÷ sessions. */
import type { Held } from "../servers/holder.ts";
import { start } from "../servers/started.ts";
import type { Part } from "./run.ts";

const ATTRIBUTES = 8;
const ATTRIBUTE_BYTES = 128;
const ROUNDS_MAX = 3;

export const memoryPart: Part<"memory"> = {
  name: "memory",
  title: "memory of a session",
  estimatedS: ({ rounds, residents }) => Math.min(rounds, ROUNDS_MAX) * (1 + residents / 40_000),
  async run({ rounds, residents }, progress) {
    const bytesPerSession: number[] = [];
    const count = Math.min(rounds, ROUNDS_MAX);
    for (let round = 0; round < count; round++) {
      const config = { sessions: residents, attributes: ATTRIBUTES, attributeBytes: ATTRIBUTE_BYTES };
      const holder = await start("holder", config, ["--expose-gc"]);
      const held = await holder.ask<Held>("held");
      await holder.stop();
      bytesPerSession.push(held.bytesPerSession);
      progress.step(
        (round + 1) / count,
        `${residents} sessions of ${ATTRIBUTES} × ${ATTRIBUTE_BYTES} B: ${held.bytesPerSession.toFixed(0)} B each`,
      );
    }
    return { sessions: residents, attributes: ATTRIBUTES, attributeBytes: ATTRIBUTE_BYTES, bytesPerSession };
  },
};
