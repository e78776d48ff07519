/** `sojourn session list`: one line for each session, never a value. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { EnumerableStore, SessionSummary } from "sojourn/store";
import { bytesText, durationText } from "../../numbers.ts";
import { shortened, table } from "../../printable.ts";
import { type StoreOptions, storeOptions, withStore } from "../../store-url.ts";
import { KEY_CHARACTERS_SHOWN, pages } from "./key.ts";

const PAGE_MAX = 1_000;
const PRINCIPAL_CHARACTERS_SHOWN = 32;

interface ListOptions extends StoreOptions {
  readonly principal?: string;
  readonly limit: number;
  readonly cursor?: string;
  readonly all?: true;
  readonly largest?: number;
  readonly json?: true;
}

export function registerList(session: Command): void {
  storeOptions(session.command("list"))
    .description("list sessions, in no particular order")
    .option("--principal <user>", "only the sessions of this user")
    .addOption(new Option("--limit <n>", "sessions a page").argParser(parseLimit).default(100))
    .option("--cursor <text>", "the page that the one before has named")
    .option("--all", "every page")
    .addOption(
      new Option("--largest <n>", "only the n largest; looks at every session")
        .argParser(parseLimit)
        .conflicts(["all", "cursor"]),
    )
    .option("--json", "one JSON object a line, with whole keys and times")
    .action((options: ListOptions) => list(options));
}

async function list(options: ListOptions): Promise<void> {
  await withStore(options, async (store) => {
    if (options.largest !== undefined) {
      const sessions = await largest(store, options.largest, options.principal);
      process.stdout.write(options.json ? jsonLines(sessions) : page(sessions, true));
      return;
    }
    let { cursor } = options;
    for (let isFirst = true; ; isFirst = false) {
      const { sessions, next } = await store.list({
        limit: options.limit,
        ...(options.principal === undefined ? {} : { principal: options.principal }),
        ...(cursor === undefined ? {} : { cursor }),
      });
      process.stdout.write(options.json ? jsonLines(sessions) : page(sessions, isFirst));
      if (next === undefined) return;
      if (!options.all) {
        // Beside the list, not in it: what is piped on stays a list.
        process.stderr.write(`sojourn: there are more; the next page: --cursor ${next}, or all: --all\n`);
        return;
      }
      cursor = next;
    }
  });
}

async function largest(
  store: EnumerableStore,
  count: number,
  principal: string | undefined,
): Promise<SessionSummary[]> {
  let found: SessionSummary[] = [];
  for await (const sessions of pages(store, principal)) {
    // Cut after every page: a store may hold more sessions than this process wants to.
    found = [...found, ...sessions].sort((a, b) => b.attributeBytes - a.attributeBytes).slice(0, count);
  }
  return found;
}

function page(sessions: readonly SessionSummary[], isFirst: boolean): string {
  if (sessions.length === 0) return isFirst ? "no sessions\n" : "";
  const nowMs = Date.now();
  const rows = sessions.map((each) => [
    each.key.slice(0, KEY_CHARACTERS_SHOWN),
    each.principal === null ? "–" : shortened(each.principal, PRINCIPAL_CHARACTERS_SHOWN),
    durationText(Math.max(0, nowMs - each.createdAtMs)),
    durationText(Math.max(0, nowMs - each.touchedAtMs)),
    durationText(Math.max(0, each.expiresAtMs - nowMs)),
    String(each.attributeCount),
    bytesText(each.attributeBytes),
  ]);
  const head = ["key", "principal", "age", "idle", "ends in", "attributes", "size"];
  return table(isFirst ? [head, ...rows] : rows);
}

function jsonLines(sessions: readonly SessionSummary[]): string {
  return sessions.map((each) => `${JSON.stringify(withTimes(each))}\n`).join("");
}

/** Times as text beside the numbers that scripts compare. */
export function withTimes(summary: SessionSummary): object {
  const { createdAtMs, touchedAtMs, expiresAtMs, absoluteExpiresAtMs } = summary;
  const at = (ms: number) => new Date(ms).toISOString();
  return {
    ...summary,
    createdAt: at(createdAtMs),
    touchedAt: at(touchedAtMs),
    expiresAt: at(expiresAtMs),
    absoluteExpiresAt: at(absoluteExpiresAtMs),
  };
}

function parseLimit(text: string): number {
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (!(limit >= 1 && limit <= PAGE_MAX)) throw new InvalidArgumentError(`Expected 1 to ${PAGE_MAX}.`);
  return limit;
}
