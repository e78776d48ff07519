/**
 * The store that a command works on, from a URL. One with a password never comes from the command line, which every user of
 * the machine can read.
 */
import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { isSessionError, SessionError } from "sojourn";
import { SESSION_SERVER_PORT, sessionServers } from "sojourn/server";
import { type EnumerableStore, isEnumerable, type SessionStore } from "sojourn/store";
import { UsageError } from "./explain.ts";
import { readSecrets, SECRET_FILE_VARIABLE } from "./secret-file.ts";

export const STORE_VARIABLE = "SOJOURN_STORE";
/** For one call: an operator waits longer than a visitor. */
const TIMEOUT_MS = 5_000;

export interface StoreOptions {
  readonly store?: string;
  readonly storeFile?: string;
  readonly secretFile?: string;
  readonly domain?: string;
  readonly prefix?: string;
}

export function storeOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--store <url>", `sojourn://host:port/domain, redis://host:port (or ${STORE_VARIABLE})`),
    )
    .option("--store-file <path>", "file with the URL, for one that holds a password")
    .option("--secret-file <path>", `file with a session server's secret (or ${SECRET_FILE_VARIABLE})`)
    .option("--domain <name>", "session domain on a session server (default: the URL's, or default)")
    .option("--prefix <text>", "prefix of the keys in Redis (default: the driver's)");
}

/** Opens the store, runs `work`, closes the store. @throws {UsageError} with what to do about it */
export async function withStore<T>(
  options: StoreOptions,
  work: (store: EnumerableStore) => Promise<T>,
): Promise<T> {
  const [url, ...others] = storeUrls(options);
  let store: SessionStore | undefined;
  try {
    store = await open(url, others, options);
    if (!isEnumerable(store))
      throw new UsageError(`Cannot use ${url.protocol}//: it cannot be looked through`);
    return await work(store);
  } catch (error) {
    throw advised(error, url);
  } finally {
    await store?.close();
  }
}

/** Several: nodes of a Redis Cluster. */
function storeUrls({ store, storeFile }: StoreOptions): [URL, ...URL[]] {
  if (store !== undefined && storeFile !== undefined) {
    throw new UsageError("Cannot use --store and --store-file together: name the store once");
  }
  const fromFile = storeFile === undefined ? undefined : firstLine(storeFile);
  const text = store ?? fromFile ?? process.env[STORE_VARIABLE];
  if (text === undefined || text === "") {
    throw new UsageError(
      `No store is named: give --store sojourn://127.0.0.1:${SESSION_SERVER_PORT}/domain or --store redis://127.0.0.1:6379, ` +
        `or set ${STORE_VARIABLE}`,
    );
  }
  const [first, ...others] = text.split(",").map((each) => parsed(each.trim()));
  const urls: [URL, ...URL[]] = [first as URL, ...others];
  if (store !== undefined && urls.some(({ password }) => password !== "")) {
    throw new UsageError(
      "Cannot take a password from --store: every user of this machine can read it there. Put the URL into a file that " +
        `only you can read and give --store-file, or set ${STORE_VARIABLE}. Consider that password known, and change it`,
    );
  }
  return urls;
}

function parsed(text: string): URL {
  try {
    const url = new URL(text);
    decodeURIComponent(url.pathname);
    return url;
  } catch {
    // Not repeated: it may hold a password.
    throw new UsageError(
      "Cannot read the store's URL: expected sojourn://host:port/domain or redis://host:port",
    );
  }
}

function firstLine(path: string): string {
  try {
    return readFileSync(path, "utf8").split(/\r?\n/)[0]?.trim() ?? "";
  } catch (error) {
    throw new UsageError(`Cannot read the store file ${path}: ${(error as NodeJS.ErrnoException).code}`);
  }
}

async function open(url: URL, others: readonly URL[], options: StoreOptions): Promise<SessionStore> {
  switch (url.protocol) {
    case "sojourn:":
      if (others.length > 0) throw new UsageError("Cannot use several session servers at once: name one");
      return openSessionServer(url, options);
    case "redis:":
    case "rediss:":
      return openRedis([url, ...others], options);
    default:
      throw new UsageError(`Cannot use a store ${url.protocol}//: expected sojourn:// or redis://`);
  }
}

function openSessionServer(url: URL, { secretFile, domain, prefix }: StoreOptions): SessionStore {
  if (prefix !== undefined)
    throw new UsageError("Cannot use --prefix with a session server: it has domains, --domain");
  if (url.hostname === "") throw new UsageError("Cannot use the store's URL: sojourn:// needs a host");
  const inUrl = decodeURIComponent(url.pathname.slice(1));
  if (domain !== undefined && inUrl !== "" && domain !== inUrl) {
    throw new UsageError(`Cannot use domain "${domain}": the URL names "${inUrl}"`);
  }
  const secret = readSecrets(secretFile, (message) => process.stderr.write(`sojourn: ${message}\n`));
  return sessionServers({
    members: [`${url.hostname}:${url.port === "" ? SESSION_SERVER_PORT : url.port}`],
    domain: domain ?? (inUrl === "" ? "default" : inUrl),
    timeoutMs: TIMEOUT_MS,
    ...(secret ? { secret } : {}),
  });
}

async function openRedis(
  urls: readonly URL[],
  { domain, secretFile, prefix }: StoreOptions,
): Promise<SessionStore> {
  if (domain !== undefined) throw new UsageError("Cannot use --domain with Redis: it has prefixes, --prefix");
  if (secretFile !== undefined) {
    throw new UsageError(
      "Cannot use --secret-file with Redis: its password stands in the URL (--store-file)",
    );
  }
  // Its client is loaded for those who use it.
  const { redisStore } = await import("sojourn/redis");
  const nodes = urls.map(({ href }) => href);
  return redisStore({
    ...(nodes.length > 1 ? { cluster: nodes } : { url: nodes[0] as string }),
    timeoutMs: TIMEOUT_MS,
    onDiagnostic: () => undefined,
    ...(prefix === undefined ? {} : { prefix }),
  });
}

/** What to do, after what was found. */
function advised(error: unknown, url: URL): unknown {
  if (!isSessionError(error)) return error;
  const advice = ADVICE[error.code]?.(url);
  return advice === undefined
    ? error
    : new SessionError(error.code, `${error.message}\n${advice}`, { cause: error });
}

const ADVICE: Partial<Record<SessionError["code"], (url: URL) => string>> = {
  STORE_UNAVAILABLE: ({ protocol, hostname, port }) =>
    protocol === "sojourn:"
      ? `Look whether it runs and whether it wants a secret (--secret-file): ` +
        `sojourn server status --host ${hostname} --port ${port || SESSION_SERVER_PORT}`
      : `Look whether it runs: redis-cli -h ${hostname} -p ${port || 6379} ping`,
  WRONG_SECRET: () => "Give the secret that the server was started with: --secret-file",
  WRONG_DOMAIN: () => "Name the server's domain in the URL, sojourn://host:port/domain, or with --domain",
  INSECURE_LISTEN: () => "Give --secret-file",
};
