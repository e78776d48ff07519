/** `sojourn session end`: ends one session, on every server at once. */
import type { Command } from "commander";
import { confirm } from "../../confirm.ts";
import { durationText } from "../../numbers.ts";
import { printable } from "../../printable.ts";
import { type StoreOptions, storeOptions, withStore } from "../../store-url.ts";
import { findKey, KEY_CHARACTERS_SHOWN, noSuchSession } from "./key.ts";

interface EndOptions extends StoreOptions {
  readonly yes?: true;
  readonly json?: true;
}

export function registerEnd(session: Command): void {
  storeOptions(session.command("end"))
    .argument("<key>", "the session's key or its beginning")
    .description("end one session: its visitor is logged out everywhere")
    .option("--yes", "do not ask")
    .option("--json", "as JSON")
    .allowUnknownOption()
    .action((key: string, options: EndOptions) => end(key, options));
}

async function end(typed: string, options: EndOptions): Promise<void> {
  await withStore(options, async (store) => {
    const key = await findKey(store, typed);
    if (!options.yes) {
      // Whose it is helps to decide; a session that cannot be read can still be ended.
      const record = await store.read(key);
      if (record?.state !== "live") throw noSuchSession(key);
      const owner =
        record.principal === null ? "of nobody in particular" : `of ${printable(record.principal)}`;
      const idle = durationText(Math.max(0, Date.now() - record.touchedAtMs));
      await confirm(`End 1 session ${owner}, idle for ${idle}?`, options.yes);
    }
    if (!(await store.destroy(key))) throw noSuchSession(key);
    process.stdout.write(
      options.json
        ? `${JSON.stringify({ ended: 1, key })}\n`
        : `ended session ${key.slice(0, KEY_CHARACTERS_SHOWN)}\n`,
    );
  });
}
