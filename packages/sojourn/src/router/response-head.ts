/**
 * From a response as a server gave it to the one that the client gets: hop-by-hop fields end here, everything else keeps
 * its bytes, its order and its duplicates; the affinity cookie is added where that is safe.
 *
 * Source: RFC 9110 §7.6.1; RFC 9111 §3 and §7.3 for what a shared cache would do with our cookie.
 */
import { namedFields } from "./request-head.ts";

export type RawHeaders = readonly (Buffer | string)[];

const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "te",
  "trailer",
  "upgrade",
]);

/** Fields that must not arrive after the body: they would change how the message is framed, cached or trusted. */
const NEVER_TRAILERS =
  /^(?:transfer-encoding|content-(?:length|encoding|type|range)|host|trailer|connection|keep-alive|te|upgrade|set-cookie|cache-control|age|expires|date|location|retry-after|vary|warning|www-authenticate|authorization|proxy-.*|expect|max-forwards|pragma|range|if-.*)$/;

export interface ResponseHead {
  /** Flat name, value list. */
  readonly headers: string[];
  readonly eventStream: boolean;
}

/**
 * @param keepTrailer  forward `Trailer`: the client takes trailers
 * @param setCookie    the affinity cookie to add, or null
 */
export function responseHead(
  status: number,
  raw: RawHeaders,
  keepTrailer: boolean,
  setCookie: string | null,
): ResponseHead {
  const headers: string[] = [];
  let named: Set<string> | null = null;
  let cacheControl = "";
  let eventStream = false;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i]!.toString("latin1");
    const value = raw[i + 1]!.toString("latin1");
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower)) {
      if (lower === "connection") named = namedFields(value, named);
      else if (lower === "trailer" && keepTrailer) headers.push(name, value);
      continue;
    }
    if (lower === "cache-control") cacheControl += `,${value.toLowerCase()}`;
    else if (lower === "content-type") eventStream = value.toLowerCase().startsWith("text/event-stream");
    headers.push(name, value);
  }
  const kept = named === null ? headers : without(headers, named);
  if (setCookie !== null) pushAffinityCookie(kept, status, cacheControl, setCookie);
  return { headers: kept, eventStream };
}

/** Trailers fit to be forwarded, as pairs. */
export function forwardedTrailers(raw: RawHeaders): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i]!.toString("latin1");
    if (!NEVER_TRAILERS.test(name.toLowerCase())) pairs.push([name, raw[i + 1]!.toString("latin1")]);
  }
  return pairs;
}

/**
 * A shared cache that stored our cookie would send everybody to one server. A response meant for shared caches therefore
 * goes without (the next one will carry it), any other is made private. A 304 would update what is already stored.
 */
function pushAffinityCookie(
  headers: string[],
  status: number,
  cacheControl: string,
  setCookie: string,
): void {
  if (status === 304 || /(?:^|[,\s])(?:public|s-maxage\s*=)/.test(cacheControl)) return;
  if (!/(?:^|[,\s])(?:private(?!\s*=)|no-store)/.test(cacheControl)) headers.push("Cache-Control", "private");
  headers.push("Set-Cookie", setCookie);
}

function without(headers: readonly string[], named: ReadonlySet<string>): string[] {
  const kept: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    if (!named.has(headers[i]!.toLowerCase())) kept.push(headers[i]!, headers[i + 1]!);
  }
  return kept;
}
