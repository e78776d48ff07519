/**
 * Who is calling: the client's address, seen through the proxies that we trust and no others. `X-Forwarded-For` is a
 * claim anybody can make, so it is read from the right and only as long as the claimant itself is trusted.
 */
import { BlockList, isIP, isIPv4 } from "node:net";
import { SessionError } from "../core/errors.ts";

/** Answers whether an address belongs to a proxy whose forwarding headers we believe. */
export type Trust = (address: string) => boolean;

/**
 * @param cidrs  "10.0.0.0/8", "fd00::/8" or single addresses; an empty list trusts nobody
 * @throws {SessionError} INVALID_OPTION for anything else
 */
export function trustedProxies(cidrs: readonly string[]): Trust {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [address = "", prefix, ...rest] = cidr.split("/");
    const family = isIP(address);
    const bits = prefix === undefined ? (family === 4 ? 32 : 128) : Number(prefix);
    const wellFormed = family !== 0 && rest.length === 0 && /^\d{1,3}$/.test(prefix ?? "0");
    if (!wellFormed || bits > (family === 4 ? 32 : 128)) {
      throw new SessionError(
        "INVALID_OPTION",
        `Cannot trust proxy "${cidr}": expected an address or a CIDR range`,
      );
    }
    list.addSubnet(address, bits, family === 4 ? "ipv4" : "ipv6");
  }
  if (cidrs.length === 0) return () => false;
  return (address) => list.check(address, isIPv4(address) ? "ipv4" : "ipv6");
}

/** IPv4 that arrived on an IPv6 socket (`::ffff:10.0.0.1`) is IPv4; a zone id is local and no part of an address. */
export function plainAddress(address: string | undefined): string {
  if (address === undefined) return "";
  const zone = address.indexOf("%");
  const withoutZone = zone < 0 ? address : address.slice(0, zone);
  if (withoutZone.startsWith("::ffff:") && isIPv4(withoutZone.slice(7))) return withoutZone.slice(7);
  return withoutZone;
}

/**
 * The rightmost address that is not a trusted proxy.
 *
 * @param peer          the other end of the connection
 * @param forwardedFor  all `X-Forwarded-For` lines joined with commas; looked at only when `peer` is trusted
 */
export function clientAddress(peer: string, forwardedFor: string, trusts: Trust): string {
  let client = peer;
  const hops = forwardedFor === "" ? [] : forwardedFor.split(",");
  while (trusts(client)) {
    const claimed = hops.pop();
    if (claimed === undefined) break;
    const address = addressOfHop(claimed);
    // Something unreadable: nobody vouches for what stands left of it.
    if (address === null) break;
    client = address;
  }
  return client;
}

/**
 * What address affinity sticks to. One IPv6 subscriber usually owns a /64 and changes addresses inside it (RFC 8981), so
 * the first 64 bits stand for the client; an IPv4 address stands for itself.
 */
export function affinityAddress(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("::", 2);
  const left = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const right = tail === "" ? [] : tail.split(":");
    const groups = right.length + (tail.includes(".") ? 1 : 0);
    while (left.length + groups < 8) left.push("0");
    left.push(...right);
  }
  return `${left
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}

function addressOfHop(hop: string): string | null {
  const text = hop.trim();
  if (isIP(text) !== 0) return plainAddress(text);
  const bracketed = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(text)?.[1] ?? /^([\d.]+):\d{1,5}$/.exec(text)?.[1];
  return bracketed !== undefined && isIP(bracketed) !== 0 ? plainAddress(bracketed) : null;
}
