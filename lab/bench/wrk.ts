/** The load: the system program wrk, in a process of its own, each visitor with the cookie of a session. */
import { execFile } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

export interface Load {
  readonly origin: string;
  readonly connections: number;
  readonly seconds: number;
  /** One for each visitor, at least one; a request draws one at random. */
  readonly cookies: readonly string[];
  /** Every n-th request is a write; 0: none. */
  readonly writeEach: number;
}

export interface LoadResult {
  readonly requests: number;
  readonly requestsPerS: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Where wrk is, or undefined. */
export function wrkPath(): string | undefined {
  if (process.env.SOJOURN_WRK) return process.env.SOJOURN_WRK;
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    try {
      accessSync(join(folder, "wrk"), constants.X_OK);
      return join(folder, "wrk");
    } catch {}
  }
  return undefined;
}

/** @throws {Error} when a request failed or was answered 400 or more: a fast error is no speed */
export async function drive(load: Load): Promise<LoadResult> {
  const path = wrkPath();
  if (path === undefined) throw new Error("wrk not found");
  const folder = mkdtempSync(join(tmpdir(), "sojourn-wrk-"));
  try {
    writeFileSync(join(folder, "load.lua"), script(load));
    const args = ["-t1", `-c${load.connections}`, `-d${load.seconds}s`, "-s", join(folder, "load.lua")];
    const { stdout } = await promisify(execFile)(path, [...args, load.origin]);
    const found = JSON.parse(/^RESULT (.*)$/m.exec(stdout)?.[1] ?? "null") as Record<string, number> | null;
    if (!found?.requests) throw new Error(`wrk measured nothing: ${stdout}`);
    if (found.errors !== 0)
      throw new Error(`${found.errors} of ${found.requests} requests failed:\n${stdout}`);
    return {
      requests: found.requests,
      requestsPerS: (found.requests * 1e6) / found.micros!,
      p50Ms: found.p50! / 1_000,
      p99Ms: found.p99! / 1_000,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function script({ cookies, writeEach }: Load): string {
  const each = cookies.map((cookie) => `"${cookie}",`).join("\n");
  return `
local cookies = {
${each}
}
local reads, writes, turn = {}, {}, 0
function init()
  math.randomseed(7)
  for i, cookie in ipairs(cookies) do
    local headers = { ["Cookie"] = cookie, ["Accept"] = "application/json", ["User-Agent"] = "bench" }
    reads[i] = wrk.format("GET", "/", headers)
    writes[i] = wrk.format("POST", "/visits", headers)
  end
end
function request()
  turn = turn + 1
  local i = math.random(#reads)
  if ${writeEach} > 0 and turn % ${Math.max(1, writeEach)} == 0 then return writes[i] end
  return reads[i]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('RESULT {"requests":%d,"micros":%d,"p50":%d,"p99":%d,"errors":%d}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
`;
}
