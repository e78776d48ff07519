/** `sojourn session end-all`: ends every session of a user, logins under way included. */
import type { Command } from "commander";
import { confirm } from "../../confirm.ts";
import { printable, sessionsText } from "../../printable.ts";
import { type StoreOptions, storeOptions, withStore } from "../../store-url.ts";

interface EndAllOptions extends StoreOptions {
  readonly principal: string;
  readonly yes?: true;
  readonly json?: true;
}

export function registerEndAll(session: Command): void {
  storeOptions(session.command("end-all"))
    .description("end every session of a user, and every login of theirs that has begun")
    .requiredOption("--principal <user>", "whose sessions")
    .option("--yes", "do not ask")
    .option("--json", "as JSON")
    .action((options: EndAllOptions) => endAll(options));
}

async function endAll(options: EndAllOptions): Promise<void> {
  const { principal } = options;
  await withStore(options, async (store) => {
    const owner = printable(principal);
    if (!options.yes) {
      const count = await store.count({ principal });
      // With none there may still be a login under way, which ends too.
      await confirm(`End ${sessionsText(count)} of ${owner}?`, options.yes);
    }
    const ended = await store.endAll(principal);
    process.stdout.write(
      options.json ? `${JSON.stringify({ ended })}\n` : `ended ${sessionsText(ended)} of ${owner}\n`,
    );
  });
}
