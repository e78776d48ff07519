/** The first look at a server: is it new enough, may it evict, who follows it. */
import type { RedisDiagnostic } from "./options.ts";
import type { RedisPort, Send } from "./port.ts";
import { CHECK, ENTER, LEAVE, REENTER } from "./principal-scripts.ts";
import { APPLY, CREATE, DESTROY, LOOK, READ, SUPERSEDE, TOUCH } from "./scripts.ts";

const VERSION_MIN = 7;
const SCRIPTS = [
  ...[READ, CREATE, APPLY, TOUCH, DESTROY, SUPERSEDE, LOOK],
  ...[ENTER, REENTER, CHECK, LEAVE],
];

/**
 * @throws {Error} when a server is too old for scripts with flags
 */
export async function greet(
  port: RedisPort,
  tell: (diagnostic: RedisDiagnostic) => void,
  toldBefore: Set<string>,
): Promise<void> {
  const sends = [...(await port.nodes()).values()];
  const infos = await Promise.all(sends.map(infoOf));
  const warn = (code: RedisDiagnostic["code"], message: string) => {
    if (toldBefore.has(code)) return;
    toldBefore.add(code);
    tell({ level: "warn", code, message });
  };
  for (const info of infos) {
    const version = info.get("redis_version") ?? "";
    if (!(Number.parseInt(version, 10) >= VERSION_MIN)) {
      throw new Error(
        `the server is version ${version || "unknown"}, sessions need Redis 7.0 or newer, or Valkey`,
      );
    }
    const policy = info.get("maxmemory_policy") ?? "noeviction";
    if (policy !== "noeviction") {
      warn(
        "EVICTION_POSSIBLE",
        `Redis has maxmemory-policy ${policy}: at its memory limit it drops sessions, and forgets logouts. ` +
          "Set maxmemory-policy noeviction.",
      );
    }
    const followers = Number(info.get("connected_slaves") ?? 0);
    // The line is there only with min-replicas-to-write above 0.
    if (followers > 0 && !info.has("min_slaves_good_slaves")) {
      warn(
        "REPLICAS_OPTIONAL",
        "Redis has replicas and min-replicas-to-write 0: a primary cut off from them goes on taking writes that the " +
          "fail-over then drops. Set min-replicas-to-write 1.",
      );
    }
  }
  // So that no first call is sent twice. A user who may not do this gets there by NOSCRIPT.
  const loads = sends.flatMap((send) => SCRIPTS.map(({ source }) => send(["SCRIPT", "LOAD", source])));
  await Promise.allSettled(loads);
}

async function infoOf(send: Send): Promise<Map<string, string>> {
  const lines = new Map<string, string>();
  for (const section of ["server", "memory", "replication"]) {
    const text = String(await send(["INFO", section]));
    for (const line of text.split("\r\n")) {
      const colon = line.indexOf(":");
      if (colon > 0) lines.set(line.slice(0, colon), line.slice(colon + 1));
    }
  }
  return lines;
}
