/** Nothing is ended before somebody has said yes: on the terminal, or with --yes. */
import { createInterface } from "node:readline/promises";
import { UsageError } from "./explain.ts";

/**
 * @param what  what will happen, with its number: "End 3 sessions of ada?"
 * @throws {UsageError} when nobody can be asked, or the answer is no
 */
export async function confirm(what: string, isYes: boolean | undefined): Promise<void> {
  if (isYes) return;
  if (!process.stdin.isTTY) {
    throw new UsageError(`${what} There is nobody to ask: repeat it with --yes`);
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${what} [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new UsageError("Nothing was ended");
  } finally {
    terminal.close();
  }
}
