/** `--store redis://…`: which Redis, whether it answers, and what it holds of ours. */
import { redisStore } from "sojourn/redis";
import type { EnumerableStore } from "sojourn/store";
import { UsageError } from "./options.ts";

/** In front of all keys, so that whoever looks into that Redis knows whose they are. */
export const REDIS_PREFIX = "quickstart";
const REDIS_PORT = 6379;
const LOOK_TIMEOUT_MS = 2_000;

export class Redis {
  /** With a password, perhaps: it travels in files that only this user can read. */
  readonly url: string;
  /** `127.0.0.1:6379`, for people. */
  readonly place: string;
  readonly port: number;
  readonly #store: EnumerableStore;

  /** @throws {UsageError} when that is no URL of a Redis */
  constructor(text: string) {
    const url = parsed(text);
    this.url = text;
    this.port = url.port === "" ? REDIS_PORT : Number(url.port);
    this.place = `${url.hostname}:${this.port}`;
    this.#store = redisStore({
      url: text,
      prefix: REDIS_PREFIX,
      // An outage shows in the table and on the page.
      onDiagnostic: () => undefined,
    });
  }

  /** Sessions of this and earlier runs that still live. @throws when Redis does not answer */
  count(): Promise<number> {
    return this.#store.count({ timeoutMs: LOOK_TIMEOUT_MS });
  }

  /** @throws {UsageError} when nothing there answers as Redis would */
  async check(): Promise<void> {
    try {
      await this.count();
    } catch (error) {
      throw new UsageError(
        `Cannot start on Redis at ${this.place}: ${(error as Error).message}\n` +
          `Start one (redis-server --port ${this.port}), name another with --store, ` +
          "or leave --store out: sessions then live in a session server that comes along.",
      );
    }
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

function parsed(text: string): URL {
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {
    // Said below, without repeating what may hold a password.
  }
  if (!url || !/^rediss?:$/.test(url.protocol) || url.hostname === "") {
    throw new UsageError("Cannot start with that --store: expected redis://host:port or rediss://host:port");
  }
  return url;
}
