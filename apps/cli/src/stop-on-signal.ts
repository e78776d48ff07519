/** How every foreground command ends: what is under way is finished first, and whoever asks twice does not wait. */
import { explain } from "./explain.ts";

/** Ends the process with code 0 after `close`, with 1 when it fails or when a second signal comes. */
export function stopOnSignal(
  close: () => Promise<unknown>,
  log: (level: "info", message: string) => void,
): void {
  let stopping = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (stopping) process.exit(1);
      stopping = true;
      log("info", `${signal}: finishing what is under way`);
      close().then(
        () => {
          log("info", "stopped");
          process.exit(0);
        },
        (error: unknown) => {
          explain(error);
          process.exit(1);
        },
      );
    });
  }
}
