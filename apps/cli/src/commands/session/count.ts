/** `sojourn session count`: how many sessions there are, or a user has. */
import type { Command } from "commander";
import { type StoreOptions, storeOptions, withStore } from "../../store-url.ts";

interface CountOptions extends StoreOptions {
  readonly principal?: string;
  readonly json?: true;
}

export function registerCount(session: Command): void {
  storeOptions(session.command("count"))
    .description("count live sessions")
    .option("--principal <user>", "only the sessions of this user")
    .option("--json", "as JSON")
    .action((options: CountOptions) => count(options));
}

async function count(options: CountOptions): Promise<void> {
  const { principal } = options;
  const found = await withStore(options, (store) =>
    store.count(principal === undefined ? {} : { principal }),
  );
  process.stdout.write(options.json ? `${JSON.stringify({ count: found })}\n` : `${found}\n`);
}
