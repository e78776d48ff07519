/**
 * Chooses a server for a key without memory: rendezvous (highest-random-weight) hashing. Every router computes the same
 * answer from the same server ids, a server that leaves spreads its keys over all the others, and one that joins takes
 * only its own share.
 *
 * Not a ring and not modulo: scoring every server costs about 10 ns each, and a router has a handful of them.
 *
 * Source: Thaler & Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998; the weighted score is
 * Schindelhauer & Schomaker, "Weighted Distributed Hash Tables", 2005.
 */

/** What ranking needs to know of a server. */
export interface Ranked {
  readonly id: string;
  /** Share of the keys relative to the others, > 0. */
  readonly weight: number;
}

/** FNV-1a over the UTF-16 units, finished by murmur3's mixer: 32 evenly spread bits. Not cryptographic. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mix32(hash);
}

/**
 * The server that ranks first for `keyHash`, or undefined when there are none.
 *
 * @param keyHash  32 bits of `hash32`
 * @param servers  any order, no duplicate ids; every caller with the same set gets the same answer
 */
export function firstRanked<S extends Ranked>(keyHash: number, servers: readonly S[]): S | undefined {
  let best: S | undefined;
  let bestScore = Number.NEGATIVE_INFINITY;
  for (const server of servers) {
    const score = scoreOf(keyHash, server);
    // Ties break by id, so two routers never disagree.
    if (score > bestScore || (score === bestScore && best !== undefined && server.id < best.id)) {
      best = server;
      bestScore = score;
    }
  }
  return best;
}

/** All of `servers`, first choice first: `ranked(k, s)[0]` is `firstRanked(k, s)`. */
export function ranked<S extends Ranked>(keyHash: number, servers: readonly S[]): S[] {
  return servers
    .map((server) => ({ server, score: scoreOf(keyHash, server) }))
    .sort((a, b) => b.score - a.score || (a.server.id < b.server.id ? -1 : 1))
    .map(({ server }) => server);
}

function scoreOf(keyHash: number, server: Ranked): number {
  const uniform = (mix32(keyHash ^ hash32(server.id)) + 0.5) / 4294967296;
  return server.weight / -Math.log(uniform);
}

/** murmur3's finaliser: every bit of the input moves every bit of the result. */
export function mix32(bits: number): number {
  let h = bits;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
