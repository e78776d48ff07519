/**
 * Preloaded into every process that the launcher starts: when the launcher is gone, even by `kill -9`, its end of the
 * channel closes, and the process stops in good order and in any case soon. So nothing is left behind that nobody owns.
 */
const GRACE_MS = 2_000;

if (process.channel !== undefined) {
  process.once("disconnect", () => {
    setTimeout(() => process.kill(process.pid, "SIGKILL"), GRACE_MS).unref();
    process.kill(process.pid, "SIGTERM");
  });
  // Listening must not keep a process alive that has nothing else to do.
  process.channel.unref();
}

export {};
