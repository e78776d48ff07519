/** Session keys as people type them: whole, or as much as names one session, as git has it. */
import type { EnumerableStore, SessionKey, SessionSummary } from "sojourn/store";
import { UsageError } from "../../explain.ts";
import { sessionsText } from "../../printable.ts";

const KEY_CHARACTERS = 43;
const CHARACTERS_MIN = 4;
/** What lists show of a key: enough to name one of a billion. */
export const KEY_CHARACTERS_SHOWN = 12;
const CANDIDATES_SHOWN = 5;
const PAGE = 1_000;

/**
 * @param typed  a key or its beginning; the shorter, the longer the look through the store
 * @throws {UsageError} when it is no key, names no session or several
 */
export async function findKey(store: EnumerableStore, typed: string): Promise<SessionKey> {
  if (!/^[A-Za-z0-9_-]+$/.test(typed) || typed.length > KEY_CHARACTERS) {
    throw new UsageError(
      "That is no session key: expected up to 43 of A-Z a-z 0-9 _ -, as sojourn session list shows them",
    );
  }
  if (typed.length === KEY_CHARACTERS) return typed as SessionKey;
  if (typed.length < CHARACTERS_MIN) {
    throw new UsageError(`"${typed}" is too short: give at least ${CHARACTERS_MIN} characters of the key`);
  }
  const found: SessionKey[] = [];
  for await (const sessions of pages(store)) {
    for (const { key } of sessions) if (key.startsWith(typed)) found.push(key);
  }
  const [only, ...others] = found;
  if (only === undefined) throw new UsageError(`No live session has a key that begins with "${typed}"`);
  if (others.length === 0) return only;
  const candidates = found.slice(0, CANDIDATES_SHOWN).map((key) => `  ${key}\n`);
  throw new UsageError(
    `"${typed}" begins the keys of ${sessionsText(found.length)}: give more of it\n${candidates.join("").trimEnd()}`,
  );
}

/** Every session, a page at a time. */
export async function* pages(
  store: EnumerableStore,
  principal?: string,
): AsyncGenerator<readonly SessionSummary[]> {
  const whose = principal === undefined ? {} : { principal };
  let cursor: string | undefined;
  do {
    const page = await store.list({ limit: PAGE, ...whose, ...(cursor === undefined ? {} : { cursor }) });
    yield page.sessions;
    cursor = page.next;
  } while (cursor !== undefined);
}

export function noSuchSession(key: string): UsageError {
  return new UsageError(
    `There is no live session with the key ${key.slice(0, KEY_CHARACTERS_SHOWN)}…: it has ended or expired`,
  );
}
