/**
 * What a shop is told on its command line, and the sessions that follow from it. Here is the one place where the three
 * strategies differ: with "session-server" and with Redis all shops share a store, otherwise each keeps its sessions to itself.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { createSessions, memoryStore, type SessionStore, type Sessions, sessionServers } from "sojourn";
import { redisStore } from "sojourn/redis";
import type { ControlAddress } from "../launch/control.ts";
import type { Framework, Strategy } from "../launch/options.ts";
import { REDIS_PREFIX } from "../launch/redis.ts";

export interface ShopConfig {
  readonly name: Framework;
  readonly port: number;
  readonly strategy: Strategy;
  /** Sessions live here, or in this process. */
  readonly member: string | undefined;
  /** Or here. May hold a password. */
  readonly storeUrl: string | undefined;
  readonly domain: string;
  /** The domain's secret: signs cookies, and opens the session server. All shops have the same one. */
  readonly secret: string;
  readonly control: ControlAddress;
  /** Where pages of this shop may come from: the router, the shop itself. */
  readonly origins: readonly string[];
}

export function shopConfig(args: readonly string[] = process.argv.slice(2)): ShopConfig {
  const words = [
    "name",
    "port",
    "strategy",
    "member",
    "store-file",
    "domain",
    "router-port",
    "secret-file",
    "control-file",
  ];
  const options = Object.fromEntries(words.map((word) => [word, { type: "string" } as const]));
  const values = parseArgs({ args: [...args], options }).values as Record<string, string | undefined>;
  const need = (word: string): string => {
    const value = values[word];
    if (value === undefined) throw new Error(`Cannot start shop: --${word} is missing`);
    return value;
  };
  const ports = [need("port"), need("router-port")];
  return {
    name: need("name") as Framework,
    port: Number(need("port")),
    strategy: need("strategy") as Strategy,
    member: values.member,
    storeUrl: values["store-file"] && readFileSync(values["store-file"], "utf8").trim(),
    domain: need("domain"),
    secret: readFileSync(need("secret-file"), "utf8").trim(),
    control: JSON.parse(readFileSync(need("control-file"), "utf8")),
    origins: ports.flatMap((port) => [`http://127.0.0.1:${port}`, `http://localhost:${port}`]),
  };
}

/** SameSite=Lax, the default, keeps forms of other sites from acting for a visitor; this shop needs nothing more. */
export function shopSessions(config: ShopConfig): Sessions {
  // Plain http on this machine: a secure cookie would never come back, not even with NODE_ENV=production.
  return createSessions({ store: storeOf(config), secret: config.secret, cookie: { secure: false } });
}

function storeOf({ secret, member, storeUrl, domain }: ShopConfig): SessionStore {
  if (storeUrl !== undefined) {
    const store = redisStore({ url: storeUrl, prefix: REDIS_PREFIX });
    // Connects now, so that the first visitor does not wait for it. If it fails, that visitor hears why.
    store.count().catch(() => undefined);
    return store;
  }
  if (member !== undefined) return sessionServers({ members: [member], domain, secret });
  return memoryStore();
}

/** Then another shop's visitors are found here too, and nobody counts them shop by shop. */
export function sharesSessions({ member, storeUrl }: ShopConfig): boolean {
  return member !== undefined || storeUrl !== undefined;
}
