/**
 * Who a pid is and who holds a port, as far as this machine tells. Linux says it in /proc; elsewhere `ps` and `lsof` do,
 * when they are there. Nothing here fails: not knowing is an answer.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export interface Owner {
  readonly pid: number;
  readonly command: string;
}

/** TCP state "listening" in /proc/net/tcp. */
const LISTENING = "0A";
const LOOK_TIMEOUT_MS = 2_000;

/** The command line of a live process, or undefined. */
export function commandOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
    // A zombie has no command line left: it is as good as gone.
    return text === "" ? undefined : text;
  } catch {
    if (process.platform === "linux") return undefined;
    return look("ps", ["-o", "command=", "-p", String(pid)])?.trim() || undefined;
  }
}

/** Who listens on `port`, if this user may know. */
export function ownerOf(port: number): Owner | undefined {
  const pid = pidByProc(port) ?? pidByLsof(port);
  return pid === undefined ? undefined : { pid, command: commandOf(pid) ?? "?" };
}

function pidByProc(port: number): number | undefined {
  const inodes = new Set<string>();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of readLines(table).slice(1)) {
      const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
      const [, hexPort = ""] = local.split(":");
      if (state === LISTENING && Number.parseInt(hexPort, 16) === port) inodes.add(`socket:[${inode}]`);
    }
  }
  if (inodes.size === 0) return undefined;
  for (const pid of list("/proc").filter((name) => /^\d+$/.test(name))) {
    for (const descriptor of list(`/proc/${pid}/fd`)) {
      try {
        if (inodes.has(readlinkSync(`/proc/${pid}/fd/${descriptor}`))) return Number(pid);
      } catch {
        // Closed since it was listed.
      }
    }
  }
  return undefined;
}

function pidByLsof(port: number): number | undefined {
  const pid = look("lsof", ["-nP", `-iTCP:${port}`, "-sTCP:LISTEN", "-t"])?.split("\n")[0];
  return pid ? Number(pid) : undefined;
}

function look(command: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync(command, args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      timeout: LOOK_TIMEOUT_MS,
    });
  } catch {
    return undefined;
  }
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, "utf8").trim().split("\n");
  } catch {
    return [];
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
