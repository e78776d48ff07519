/**
 * Reads from a request which server it belongs to, and names servers in a cookie.
 *
 * The cookie holds an opaque token, precomputed per (cluster, server id, key): a Map lookup instead of an HMAC per request
 * (0.1 µs against 2.1 µs), and neither an address nor a name that one could enumerate, as md5("ip:port") can. It is tied
 * to the server's id, so a server may change its address. An unknown token is just no hint, never an error.
 *
 * A clone id is the suffix that an application server appends to its session cookie: `<session>:<clone>`. In a chain the
 * last one counts: it is the server that wrote last.
 */
import { createHmac } from "node:crypto";
import { hash32 } from "./rendezvous.ts";

/** Where affinity is read from. Tried in the order given. */
export type AffinityKind = "clone" | "cookie" | "address";

export const CLONE_SEPARATOR = ":";
/** Longer ones, or other characters, are no clone ids but part of a value that is not ours. */
export const CLONE_ID_PATTERN = /^[A-Za-z0-9_-]{1,32}$/;

const TOKEN_CHARACTERS = 16;

/** What a request says about its server. Plain data, so a decision can be tested without a request. */
export interface AffinityHints {
  /** Server named by the router's cookie; `stale` when the token was made with an older key and should be replaced. */
  readonly cookie: { readonly serverId: string | null; readonly stale: boolean } | null;
  /** Server named by the session cookie's clone suffix; null inside when no server has that clone id. */
  readonly clone: { readonly serverId: string | null } | null;
  /** Hash of the session cookie without its suffix; null without one. */
  readonly sessionHash: number | null;
  readonly addressHash: number;
}

/** The tokens of a cluster's servers, newest key first. */
export class AffinityTokens {
  readonly #cluster: string;
  readonly #secrets: readonly string[];
  readonly #serverIds = new Map<string, { serverId: string; stale: boolean }>();
  readonly #tokens = new Map<string, string>();

  constructor(cluster: string, secrets: readonly string[]) {
    this.#cluster = cluster;
    this.#secrets = secrets;
  }

  add(serverId: string): void {
    this.#secrets.forEach((secret, age) => {
      const token = tokenOf(this.#cluster, serverId, secret);
      this.#serverIds.set(token, { serverId, stale: age > 0 });
      if (age === 0) this.#tokens.set(serverId, token);
    });
  }

  remove(serverId: string): void {
    this.#tokens.delete(serverId);
    for (const [token, named] of this.#serverIds) {
      if (named.serverId === serverId) this.#serverIds.delete(token);
    }
  }

  /** The cookie value that names `serverId`, made with the newest key. */
  tokenFor(serverId: string): string {
    const token = this.#tokens.get(serverId);
    if (token === undefined) throw new Error(`no token for server "${serverId}": it was never added`);
    return token;
  }

  /** Of several cookies of the name the first that means something; null when none was sent. */
  read(values: readonly string[]): AffinityHints["cookie"] {
    if (values.length === 0) return null;
    for (const value of values) {
      const named = this.#serverIds.get(value);
      if (named !== undefined) return named;
    }
    return { serverId: null, stale: true };
  }
}

function tokenOf(cluster: string, serverId: string, secret: string): string {
  return createHmac("sha256", secret)
    .update(`sojourn affinity\n${cluster}\n${serverId}`)
    .digest("base64url")
    .slice(0, TOKEN_CHARACTERS);
}

/** The part before the first separator names the session, the part after the last one its server. */
export function splitSessionCookie(value: string): { session: string; cloneId: string | null } {
  const first = value.indexOf(CLONE_SEPARATOR);
  if (first < 0) return { session: value, cloneId: null };
  const cloneId = value.slice(value.lastIndexOf(CLONE_SEPARATOR) + 1);
  return { session: value.slice(0, first), cloneId: CLONE_ID_PATTERN.test(cloneId) ? cloneId : null };
}

/**
 * @param cookieValues   values of the router's cookie, as sent
 * @param sessionValues  values of the session cookie, as sent
 * @param cloneServers   clone id → server id
 */
export function readHints(
  cookieValues: readonly string[],
  sessionValues: readonly string[],
  address: string,
  tokens: AffinityTokens,
  cloneServers: ReadonlyMap<string, string>,
): AffinityHints {
  let clone: AffinityHints["clone"] = null;
  let sessionHash: number | null = null;
  for (const value of sessionValues) {
    const { session, cloneId } = splitSessionCookie(value);
    sessionHash ??= hash32(session);
    if (cloneId === null || clone?.serverId) continue;
    clone = { serverId: cloneServers.get(cloneId) ?? null };
  }
  return { cookie: tokens.read(cookieValues), clone, sessionHash, addressHash: hash32(address) };
}
