/**
 * Many sessions for a long time: one process holds them and answers for them (node:http, memory store), this process
 * sends requests at a steady rate whether or not answers come back in time, and the held process's event loop is watched.
 * Of a thousand requests 890 read, 100 write, 5 log out and 5 log in: the number of sessions stays.
 */
import { Pool } from "undici";
import type { LoopDelay, Usage } from "../servers/child.ts";
import { start } from "../servers/started.ts";
import type { Part } from "./run.ts";
import { Visitors } from "./visitors.ts";

const CONNECTIONS = 64;
/** Requests leave in small groups this often. */
const TICK_MS = 5;
/** Between two lines that say how it goes. */
const REPORT_MS = 15_000;

export const soakPart: Part<"soak"> = {
  name: "soak",
  title: "many sessions for a long time",
  estimatedS: ({ soak }) => 2 + soak.sessions / 4_000 + soak.seconds,
  async run({ soak }, progress) {
    const holder = await start("application", { framework: "node", sessions: "memory", store: "" });
    const pool = new Pool(holder.origin, { connections: CONNECTIONS, pipelining: 1 });
    try {
      progress.step(0, `beginning ${soak.sessions} sessions`);
      const { cookies } = await Visitors.of(holder.origin, soak.sessions);
      const before = await holder.ask<Usage>("usage");
      await holder.ask("watchLoop");
      const drive = new SteadyDrive(pool, cookies, soak.requestsPerS);
      const reporting = setInterval(() => {
        const done = drive.sent / (soak.requestsPerS * soak.seconds);
        progress.step(
          done,
          `${drive.sent} requests, ${drive.failed} failed, p99 ${drive.latencyMs(0.99).toFixed(1)} ms`,
        );
      }, REPORT_MS);
      try {
        await drive.run(soak.seconds);
      } finally {
        clearInterval(reporting);
      }
      const loop = await holder.ask<LoopDelay>("loop");
      const after = await holder.ask<Usage>("usage");
      const { sent, failed } = drive;
      progress.step(
        1,
        `event loop p99 ${loop.p99Ms.toFixed(1)} ms, max ${loop.maxMs.toFixed(1)} ms; ${failed} of ${sent} failed`,
      );
      return {
        sessions: soak.sessions,
        requestsPerS: soak.requestsPerS,
        seconds: soak.seconds,
        requests: sent,
        failed,
        loop,
        p50Ms: drive.latencyMs(0.5),
        p99Ms: drive.latencyMs(0.99),
        residentBytesBefore: before.residentBytes,
        residentBytesAfter: after.residentBytes,
      };
    } finally {
      await pool.destroy();
      await holder.stop();
    }
  },
};

class SteadyDrive {
  readonly #pool: Pool;
  readonly #cookies: string[];
  readonly #perS: number;
  /** Count by tenths of a millisecond: half a million numbers would be garbage of our own. */
  readonly #latencies = new Uint32Array(100_000);
  readonly #underWay = new Set<Promise<void>>();
  sent = 0;
  failed = 0;
  #answered = 0;

  constructor(pool: Pool, cookies: string[], perS: number) {
    this.#pool = pool;
    this.#cookies = cookies;
    this.#perS = perS;
  }

  async run(seconds: number): Promise<void> {
    const startedMs = performance.now();
    await new Promise<void>((resolve) => {
      const ticking = setInterval(() => {
        const elapsedMs = Math.min(performance.now() - startedMs, seconds * 1_000);
        // Measured from the moment a request should have left: waiting is never left out.
        for (const due = Math.floor((elapsedMs * this.#perS) / 1_000); this.sent < due; ) {
          this.#send(this.sent++, startedMs + (this.sent * 1_000) / this.#perS);
        }
        if (elapsedMs < seconds * 1_000) return;
        clearInterval(ticking);
        resolve();
      }, TICK_MS);
    });
    await Promise.all(this.#underWay);
  }

  latencyMs(part: number): number {
    let left = part * this.#answered;
    for (const [tenths, count] of this.#latencies.entries()) {
      left -= count;
      if (left <= 0) return tenths / 10;
    }
    return this.#latencies.length / 10;
  }

  #send(turn: number, dueMs: number): void {
    const one = this.#one(turn)
      .catch(() => {
        this.failed++;
      })
      .finally(() => {
        this.#underWay.delete(one);
        const tenths = Math.max(0, Math.floor((performance.now() - dueMs) * 10));
        const at = Math.min(tenths, this.#latencies.length - 1);
        this.#latencies[at] = this.#latencies[at]! + 1;
        this.#answered++;
      });
    this.#underWay.add(one);
  }

  async #one(turn: number): Promise<void> {
    const index = Math.floor(Math.random() * this.#cookies.length);
    const kind = turn % 200;
    // The last cookie is another's now: an ended one is never asked for again.
    if (kind === 0 && this.#cookies.length > 1) {
      const ended = this.#cookies[index]!;
      this.#cookies[index] = this.#cookies.pop()!;
      await this.#request("POST", "/logout", ended, 204);
    } else if (kind === 100) {
      const response = await this.#request("POST", "/login", undefined, 303);
      const cookie = String(response.headers["set-cookie"]).split(";", 1)[0]!;
      // As a browser that follows the redirect: until then a session is unconfirmed and lives five minutes.
      await this.#request("GET", "/", cookie, 200);
      this.#cookies.push(cookie);
    } else if (kind % 10 === 5) await this.#request("POST", "/visits", this.#cookies[index]!, 200);
    else await this.#request("GET", "/", this.#cookies[index]!, 200);
  }

  async #request(method: "GET" | "POST", path: string, cookie: string | undefined, expected: number) {
    const response = await this.#pool.request({ method, path, headers: cookie ? { cookie } : {} });
    await response.body.dump();
    if (response.statusCode !== expected) throw new Error(`${method} ${path}: ${response.statusCode}`);
    return response;
  }
}
