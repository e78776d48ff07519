/** One line for a person: what was attempted and what was found. A fault of our own keeps its stack. */
import { isSessionError } from "sojourn";

export function explain(error: unknown): void {
  if (isSessionError(error) || error instanceof UsageError)
    process.stderr.write(`sojourn: ${error.message}\n`);
  else
    process.stderr.write(
      `sojourn: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
}

/** What the user asked for cannot be done as asked; the message says what would do. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
