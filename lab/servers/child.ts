/**
 * The inside of a measured process: it learns what to be from its first message, says where it listens, and answers
 * questions over the same channel, which its clients never touch.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";

export interface Usage {
  /** User and system time of this process so far, µs. */
  readonly cpuMicros: number;
  readonly residentBytes: number;
}

export interface LoopDelay {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

type Answers = Readonly<Record<string, (argument: never) => unknown>>;

/** Sampled this often; what is reported contains the interval itself, as Node does. */
export const LOOP_SAMPLE_MS = 10;

/** @param start  given the parent's configuration; resolves to the port it listens on */
export function beChild<Config>(start: (config: Config) => Promise<number>, more: Answers = {}): void {
  const delays = monitorEventLoopDelay({ resolution: LOOP_SAMPLE_MS });
  const answers: Answers = {
    usage: (): Usage => {
      const { user, system } = process.cpuUsage();
      return { cpuMicros: user + system, residentBytes: process.memoryUsage.rss() };
    },
    // Sampling costs a timer, so it runs only where it is asked for.
    watchLoop: () => {
      delays.enable();
      delays.reset();
    },
    loop: (): LoopDelay => ({
      p50Ms: delays.percentile(50) / 1e6,
      p99Ms: delays.percentile(99) / 1e6,
      maxMs: delays.max / 1e6,
    }),
    ...more,
  };
  process.once("message", async (config) => {
    const port = await start(config as Config);
    process.on("message", async ({ question, argument }: { question: string; argument: never }) => {
      process.send?.({ answer: await answers[question]?.(argument) });
    });
    process.send?.({ answer: port });
  });
  process.once("disconnect", () => process.exit());
}
