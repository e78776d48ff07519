/**
 * `npm start`: one session server (or a Redis that is there), three shops and a sticky router, each a process of its own on 127.0.0.1. This file is
 * the order of events; the parts are in launch/.
 */
import { Control } from "./launch/control.ts";
import { HELP, type LaunchOptions, parseLaunchArguments, UsageError } from "./launch/options.ts";
import { otherBase, portAdvice, portsInUse, takenPorts } from "./launch/ports.ts";
import { Redis } from "./launch/redis.ts";
import { Screen } from "./launch/screen.ts";
import { StateDir, StateDirTaken } from "./launch/state-dir.ts";
import { System } from "./launch/system.ts";

/** How often we look whether the shell that npm started us in still lives: it takes no signal along when it dies. */
const PARENT_POLL_MS = 500;

async function launch(options: LaunchOptions): Promise<void> {
  const screen = new Screen();
  const stateDir = new StateDir(options.stateDir);
  const stale = await stateDir.claim();
  if (stale !== undefined) screen.say(stale);

  const taken = await takenPorts(portsInUse(options.ports, options.strategy));
  if (taken.length > 0) {
    stateDir.release();
    throw new UsageError(`${taken.join("\n")}\n${portAdvice(otherBase(options.ports))}`);
  }

  const redis = options.storeUrl === undefined ? undefined : await reachable(options.storeUrl, stateDir);
  const control = new Control();
  stateDir.writePrivate(stateDir.controlFile, JSON.stringify(await control.listen()));
  let isUp = false;
  const changed = (): void => {
    if (isUp) screen.update(system.status());
  };
  const system: System = new System(options, stateDir, changed, redis);
  control.serves(system);

  let stopping: Promise<void> | undefined;
  const stop = (why: string, status: number): Promise<void> => {
    stopping ??= (async () => {
      isUp = false;
      screen.say(`${why}: stopping`);
      await system.stop();
      control.close();
      stateDir.release();
      process.exit(status);
    })();
    return stopping;
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => stop(signal, 0));
  process.on("SIGUSR2", () => void system.startStopped());
  // What nobody expected still leaves no process behind; the leash would see to it too, a little later.
  process.on("uncaughtException", (error) => {
    process.stderr.write(`${error.stack}\n`);
    void stop("unexpected error", 1);
  });
  stopWithParent(() => stop("npm is gone", 0));

  try {
    await system.start();
  } catch (error) {
    process.stderr.write(`\n${(error as Error).message}\n`);
    return stop("could not start", 1);
  }
  if (stopping !== undefined) return stopping;
  isUp = true;
  screen.ready(system, performance.now() / 1000);
}

/** @throws {UsageError} when Redis does not answer; nothing has been started by then */
async function reachable(url: string, stateDir: StateDir): Promise<Redis> {
  let redis: Redis | undefined;
  try {
    redis = new Redis(url);
    await redis.check();
    return redis;
  } catch (error) {
    await redis?.close();
    stateDir.release();
    throw error;
  }
}

/** Only under npm: whoever starts the launcher from a shell of their own may well leave that shell. */
function stopWithParent(stop: () => void): void {
  if (process.env.npm_lifecycle_event === undefined) return;
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) stop();
  }, PARENT_POLL_MS).unref();
}

try {
  const options = parseLaunchArguments(process.argv.slice(2));
  if (options === "help") process.stdout.write(HELP);
  else await launch(options);
} catch (error) {
  const expected = error instanceof UsageError || error instanceof StateDirTaken;
  process.stderr.write(`${expected ? error.message : (error as Error).stack}\n`);
  process.exitCode = 1;
}
