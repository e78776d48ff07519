/**
 * Secrets reach a process through a file, never through its arguments or its environment, which every user of the machine
 * can read or which end up in crash reports. One secret a line, the newest first: while the secret changes there are two.
 */
import { readFileSync, statSync } from "node:fs";
import { UsageError } from "./explain.ts";

export const SECRET_FILE_VARIABLE = "SOJOURN_SECRET_FILE";

/**
 * @param option  the value of --secret-file; without it the environment's SOJOURN_SECRET_FILE counts
 * @returns       the secrets, or undefined when no file is named
 * @throws {UsageError} when a named file cannot be used
 */
export function readSecrets(
  option: string | undefined,
  warn: (message: string) => void,
): readonly string[] | undefined {
  const path = option ?? process.env[SECRET_FILE_VARIABLE];
  if (path === undefined || path === "") return undefined;
  let text: string;
  try {
    // The low bits are group and others: with any of them, someone else can at least read it.
    if ((statSync(path).mode & 0o077) !== 0) {
      warn(`the secret file ${path} is open to other users: chmod 600 ${path}`);
    }
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`Cannot read the secret file ${path}: ${(error as NodeJS.ErrnoException).code}`);
  }
  const secrets = text.split(/\r?\n/).filter((line) => line !== "");
  if (secrets.length === 0) throw new UsageError(`Cannot use the secret file ${path}: it is empty`);
  return secrets;
}
