/**
 * Which server gets this request: a pure function of what the router knows, what the request says and a random number,
 * so every rule of docs/router.md is a test without a socket.
 *
 * The order: a usable server that the request is sticky to; else, for a session that lost its server, the rendezvous rank
 * of the session, which every router computes alike and which spreads one server's sessions over all survivors; else the
 * least loaded. Affinity buys speed only: the session layer is right whatever is decided here.
 */
import type { AffinityHints, AffinityKind } from "./affinity.ts";
import { firstRanked, mix32 } from "./rendezvous.ts";

/** How a request without affinity is placed. */
export type Balance = "least-loaded" | "round-robin";

/** A snapshot of one server; `weight` scales every load figure. */
export interface ServerView {
  readonly id: string;
  readonly weight: number;
  /**
   * "last-resort" (draining): gets a request only when no other server can. "no": down, in maintenance or full.
   */
  readonly usable: "yes" | "last-resort" | "no";
  /** Whether a sticky request leaves because an operator said so; tells "drained" from "failover". */
  readonly leaving: boolean;
  readonly inFlight: number;
  /** Exponentially weighted, see `rate.ts`. */
  readonly requestsPerS: number;
}

export interface RouterView {
  readonly servers: readonly ServerView[];
  readonly affinity: readonly AffinityKind[];
  readonly balance: Balance;
  /** Counts placements, for round robin. */
  readonly turn: number;
  readonly relief: ReliefRule | null;
  /** Number of the current relief window; each sheds another tenth. */
  readonly reliefWindow: number;
  /** The move of this key within the hold time, if there was one. */
  readonly moveOf: (keyHash: number) => Move | undefined;
}

export interface ReliefRule {
  /** A server above this multiple of the mean load sheds. */
  readonly factor: number;
  /** The part of its sticky sessions, and so of their requests, that it sheds in one window; 0..1. */
  readonly share: number;
  /** Below this rate of the server itself nothing moves: so few requests say nothing about load. */
  readonly requestsPerSMin: number;
}

/** A session that hot-spot relief moved. */
export interface Move {
  readonly from: string;
  readonly to: string;
}

export interface RoutedRequest {
  readonly hints: AffinityHints;
  /** The client asked to be balanced instead (`affinityOverrideCookie`). */
  readonly affinityOff: boolean;
  /** Servers that have just failed this very request. */
  readonly excluded: readonly string[];
}

/**
 * hit: its own server. new: no affinity yet. failover: its server is unusable. drained: its server is being emptied.
 * rehomed: moved away from a hot spot. invalid: it named a server that does not exist. off: no affinity wanted.
 */
export type Outcome = "hit" | "new" | "failover" | "drained" | "rehomed" | "invalid" | "off";

export const OUTCOMES = ["hit", "new", "failover", "drained", "rehomed", "invalid", "off"] as const;

export interface Decision {
  readonly serverId: string;
  readonly why: Outcome;
  /** The client does not yet hold the right affinity cookie. */
  readonly setCookie: boolean;
  /** What relief moved, to be remembered by the caller; null otherwise. */
  readonly moved: (Move & { readonly keyHash: number }) | null;
}

/**
 * @param random  uniform in [0, 1), used for ties
 * @returns       null when no server can take the request
 */
export function decide(view: RouterView, request: RoutedRequest, random: () => number): Decision | null {
  const candidates = candidatesOf(view.servers, request.excluded);
  if (candidates.length === 0) return null;
  const { hints } = request;
  if (request.affinityOff || view.affinity.length === 0) {
    const balance = request.affinityOff ? "round-robin" : view.balance;
    const server = place(balance, candidates, view.turn, random);
    return { serverId: server.id, why: "off", setCookie: false, moved: null };
  }

  // Whatever identifies the session best: a visitor without a session cookie is told apart by address.
  const keyHash = hints.sessionHash ?? hints.addressHash;
  const wanted = wantedServer(view, hints);
  let server: ServerView;
  let why: Outcome;
  let moved: Decision["moved"] = null;

  if (wanted.serverId === null) {
    why = wanted.unknown ? "invalid" : "new";
    // A running session without a hint goes where every router would put it; only a new visitor is placed by load.
    server =
      hints.sessionHash === null
        ? place(view.balance, candidates, view.turn, random)
        : firstRanked(keyHash, candidates)!;
  } else {
    const move = view.moveOf(keyHash);
    const home = move?.from === wanted.serverId ? move.to : wanted.serverId;
    const own = candidates.find(({ id }) => id === home);
    if (own === undefined) {
      const lost = view.servers.find(({ id }) => id === home);
      why = lost?.leaving && !request.excluded.includes(home) ? "drained" : "failover";
      server = firstRanked(keyHash, candidates)!;
    } else {
      const relief = move === undefined ? coolerServer(view, own, candidates, keyHash) : null;
      why = relief === null ? "hit" : "rehomed";
      server = relief ?? own;
      if (relief !== null) moved = { keyHash, from: home, to: relief.id };
    }
  }
  const held = hints.cookie !== null && !hints.cookie.stale && hints.cookie.serverId === server.id;
  return { serverId: server.id, why, setCookie: view.affinity.includes("cookie") && !held, moved };
}

/** Usable servers; when there are none, those being drained: late is better than never. */
function candidatesOf(servers: readonly ServerView[], excluded: readonly string[]): ServerView[] {
  const usable = servers.filter(({ id, usable }) => usable === "yes" && !excluded.includes(id));
  return usable.length > 0
    ? usable
    : servers.filter(({ id, usable }) => usable === "last-resort" && !excluded.includes(id));
}

function wantedServer(view: RouterView, hints: AffinityHints): { serverId: string | null; unknown: boolean } {
  let unknown = false;
  for (const kind of view.affinity) {
    if (kind === "address") {
      // Ranked over all that could take it, ill or not: then an ill one shows as failover, and only its clients move.
      const serverId = firstRanked(hints.addressHash, view.servers)?.id ?? null;
      return { serverId, unknown };
    }
    const hint = kind === "clone" ? hints.clone : hints.cookie;
    if (hint === null) continue;
    if (hint.serverId !== null) return { serverId: hint.serverId, unknown };
    unknown = true;
  }
  return { serverId: null, unknown };
}

/**
 * Where a sticky request goes instead of its hot server, or null to stay. Load is requests/s per weight: steadier than the
 * requests in flight at one moment, and not fooled by long streams. The target must itself be below the mean, so the
 * heat is not passed on.
 *
 * Who moves is drawn per session and window, not per request: measured rates lag by seconds, and in that time a tenth of
 * the *requests* would come from nearly all sessions of busy visitors; they would all be gone before the rate says so.
 */
function coolerServer(
  view: RouterView,
  own: ServerView,
  candidates: readonly ServerView[],
  keyHash: number,
): ServerView | null {
  const rule = view.relief;
  if (rule === null || candidates.length < 2 || own.requestsPerS < rule.requestsPerSMin) return null;
  let rates = 0;
  let weights = 0;
  for (const { requestsPerS, weight } of candidates) {
    rates += requestsPerS;
    weights += weight;
  }
  const mean = rates / weights;
  if (own.requestsPerS / own.weight <= rule.factor * mean) return null;
  if (mix32(keyHash ^ mix32(view.reliefWindow)) >= rule.share * 4_294_967_296) return null;
  let coolest: ServerView | null = null;
  for (const other of candidates) {
    const load = other.requestsPerS / other.weight;
    if (other === own || load >= mean) continue;
    if (coolest === null || load < coolest.requestsPerS / coolest.weight) coolest = other;
  }
  return coolest;
}

function place(
  balance: Balance,
  candidates: readonly ServerView[],
  turn: number,
  random: () => number,
): ServerView {
  return balance === "round-robin" ? inTurn(candidates, turn) : leastLoaded(candidates, random);
}

/** Requests in flight first; among equals (all idle, mostly) the lower recent rate; among equals still, chance. */
function leastLoaded(candidates: readonly ServerView[], random: () => number): ServerView {
  let best = candidates[0]!;
  let ties = 1;
  for (let i = 1; i < candidates.length; i++) {
    const server = candidates[i]!;
    const difference =
      server.inFlight / server.weight - best.inFlight / best.weight ||
      server.requestsPerS / server.weight - best.requestsPerS / best.weight;
    if (difference < 0) {
      best = server;
      ties = 1;
    } else if (difference === 0 && random() < 1 / ++ties) {
      best = server;
    }
  }
  return best;
}

function inTurn(candidates: readonly ServerView[], turn: number): ServerView {
  let total = 0;
  for (const { weight } of candidates) total += weight;
  let place = turn % total;
  for (const server of candidates) {
    place -= server.weight;
    if (place < 0) return server;
  }
  return candidates[0]!;
}
