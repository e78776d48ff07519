/**
 * From a request as it was received to the one that is sent on: target, hop-by-hop fields, forwarding fields, cookies.
 * Works on `rawHeaders`, so duplicates and the case of names survive and no object is keyed by what a client chose.
 *
 * Source: RFC 9110 §7.6 (Connection, Via), RFC 9112 §3.2 (request target, Host), RFC 7239 (Forwarded).
 */
import type { IncomingMessage } from "node:http";
import { affinityAddress, clientAddress, plainAddress } from "./address.ts";
import type { AffinityHints } from "./affinity.ts";
import { type CookieRole, type CookieValues, readCookieLine } from "./cookie-header.ts";
import type { RouterSettings } from "./options.ts";

/** A request that is fit to be forwarded. */
export interface RequestHead {
  readonly method: string;
  /** Origin form, or `*` of OPTIONS. */
  readonly path: string;
  /** Flat name, value list without hop-by-hop fields and without framing. Begins with Host. */
  readonly headers: string[];
  readonly body: "none" | "chunked" | { readonly lengthBytes: number };
  readonly expectContinue: boolean;
  /** The client said `TE: trailers`. */
  readonly takesTrailers: boolean;
  readonly clientSecure: boolean;
  readonly hints: AffinityHints;
  readonly affinityOff: boolean;
}

/** A request that is answered by the router itself. */
export interface Refusal {
  readonly status: number;
  readonly reason: string;
}

/** Reads what a request says about its server. */
export type HintReader = (
  cookieValues: readonly string[],
  sessionValues: readonly string[],
  address: string,
) => AffinityHints;

const METHOD_NOT_ALLOWED = new Set(["TRACE", "CONNECT", "TRACK"]);
/** reg-name, IPv4 or bracketed IPv6, and a port; no user, no comma, no path. */
const HOST = /^(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?$/;
const ABSOLUTE_FORM = /^https?:\/\/([^/?#]*)(.*)$/i;

/** Fields that end at this hop, or that the router writes itself. */
const OWN_FIELDS = new Set([
  "host",
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "content-length",
  "upgrade",
  "http2-settings",
  "expect",
  "via",
  "forwarded",
  "x-real-ip",
]);

export class RequestReader {
  readonly #settings: RouterSettings;
  readonly #via: string;
  readonly #readHints: HintReader;
  readonly #cookieRoles = new Map<string, CookieRole>();

  /** @param via  this router's name in `Via`, unique enough to recognise a request that comes round again */
  constructor(settings: RouterSettings, via: string, readHints: HintReader) {
    this.#settings = settings;
    this.#via = via;
    this.#readHints = readHints;
    const { sessionCookieNames, overrideCookieName, cookieName } = settings;
    for (const name of sessionCookieNames) this.#cookieRoles.set(name, { slot: "session", forwarded: true });
    if (overrideCookieName !== null) {
      this.#cookieRoles.set(overrideCookieName, { slot: "override", forwarded: false });
    }
    this.#cookieRoles.set(cookieName, { slot: "affinity", forwarded: false });
  }

  read(request: IncomingMessage): RequestHead | Refusal {
    const { limits, trusts } = this.#settings;
    const method = request.method ?? "";
    const target = request.url ?? "";
    const raw = request.rawHeaders;
    if (METHOD_NOT_ALLOWED.has(method)) return { status: 405, reason: `${method} is not allowed` };
    if (target.length > limits.urlBytesMax) return { status: 414, reason: "the request target is too long" };
    if (raw.length / 2 > limits.headerCountMax) return { status: 431, reason: "too many header fields" };

    const cookies: CookieValues = { affinity: [], session: [], override: [] };
    const headers: string[] = ["Host", ""];
    const forwarding: string[] = [];
    let hosts = 0;
    let host = "";
    let lengthText: string | null = null;
    let chunked = false;
    let expectContinue = false;
    let takesTrailers = false;
    let via = "";
    let forwardedFor = "";
    let named: Set<string> | null = null;
    let bytes = 0;
    for (let i = 0; i < raw.length; i += 2) {
      const name = raw[i]!;
      const value = raw[i + 1]!;
      // As it stood on the wire, with ": " and the line end.
      bytes += name.length + value.length + 4;
      const lower = name.toLowerCase();
      if (lower === "cookie") {
        const kept = readCookieLine(value, this.#cookieRoles, cookies);
        if (kept !== "") headers.push(name, kept);
      } else if (isForwardingField(lower)) {
        if (lower === "x-forwarded-for") forwardedFor = joined(forwardedFor, value);
        else forwarding.push(name, value);
      } else if (!OWN_FIELDS.has(lower)) {
        headers.push(name, value);
      } else if (lower === "host") {
        hosts++;
        host = value;
      } else if (lower === "connection") {
        named = namedFields(value, named);
      } else if (lower === "content-length") {
        lengthText = value;
      } else if (lower === "transfer-encoding") {
        chunked = true;
      } else if (lower === "expect") {
        expectContinue = value.toLowerCase() === "100-continue";
      } else if (lower === "te") {
        takesTrailers ||= /(?:^|,)\s*trailers\s*(?:,|$)/i.test(value);
      } else if (lower === "via") {
        via = joined(via, value);
      }
    }

    if (bytes > limits.headerBytesMax) return { status: 431, reason: "the header fields are too large" };
    // A second Host is the one framing error that Node's parser lets through: servers differ on which of them counts.
    if (hosts > 1) return { status: 400, reason: "more than one Host field" };
    let path = target;
    const absolute = target.startsWith("/") ? null : ABSOLUTE_FORM.exec(target);
    if (absolute !== null) {
      host = absolute[1]!;
      path = absolute[2] === "" ? "/" : absolute[2]!.startsWith("/") ? absolute[2]! : `/${absolute[2]}`;
      if (host === "") return { status: 400, reason: "the request target has no authority" };
    }
    if (!HOST.test(host)) return { status: 400, reason: "the Host field is not a host" };
    const asterisk = path === "*" && method === "OPTIONS";
    if ((!path.startsWith("/") && !asterisk) || path.includes("#")) {
      return { status: 400, reason: "the request target is not a path" };
    }
    if (via.includes(this.#via))
      return { status: 508, reason: "the request came round to this router again" };

    const kept = named === null ? headers : withoutNamed(headers, named);
    if (host === "" && hosts === 0) kept.splice(0, 2);
    else kept[1] = host;

    const peer = plainAddress(request.socket.remoteAddress);
    const trusted = trusts(peer);
    const secure = this.#pushForwarding(kept, { peer, trusted, host, forwardedFor, forwarding });
    kept.push("Via", joined(via, `${request.httpVersion} ${this.#via}`));
    if (takesTrailers) kept.push("TE", "trailers");

    const client = trusted ? clientAddress(peer, forwardedFor, trusts) : peer;
    const lengthBytes = lengthText === null ? 0 : Number(lengthText);
    return {
      method,
      path,
      headers: kept,
      body: chunked ? "chunked" : lengthBytes > 0 ? { lengthBytes } : "none",
      expectContinue,
      takesTrailers,
      clientSecure: secure,
      hints: this.#readHints(cookies.affinity, cookies.session, affinityAddress(client)),
      affinityOff: cookies.override.includes("none"),
    };
  }

  /** @returns whether the client came by https */
  #pushForwarding(
    headers: string[],
    seen: { peer: string; trusted: boolean; host: string; forwardedFor: string; forwarding: string[] },
  ): boolean {
    let protocol = "http";
    let forwardedHost = seen.host;
    if (seen.trusted) {
      for (let i = 0; i < seen.forwarding.length; i += 2) {
        const name = seen.forwarding[i]!;
        const value = seen.forwarding[i + 1]!;
        const lower = name.toLowerCase();
        if (lower === "x-forwarded-proto") protocol = value.toLowerCase() === "https" ? "https" : "http";
        else if (lower === "x-forwarded-host") forwardedHost = HOST.test(value) ? value : seen.host;
        else headers.push(name, value);
      }
    }
    const forwardedFor = seen.trusted ? joined(seen.forwardedFor, seen.peer) : seen.peer;
    headers.push("X-Forwarded-For", forwardedFor, "X-Forwarded-Proto", protocol);
    if (forwardedHost !== "") headers.push("X-Forwarded-Host", forwardedHost);
    return protocol === "https";
  }
}

/** `X_Forwarded_For` reaches a CGI-like application as the same variable as `X-Forwarded-For`. */
function isForwardingField(lower: string): boolean {
  if (lower.charCodeAt(0) !== 120 /* x */) return false;
  return (lower.includes("_") ? lower.replaceAll("_", "-") : lower).startsWith("x-forwarded-");
}

/** Names in a `Connection` field that end at this hop besides the fixed ones; null when there are none. */
export function namedFields(value: string, sofar: Set<string> | null): Set<string> | null {
  const lower = value.toLowerCase();
  if (lower === "keep-alive" || lower === "close" || lower === "upgrade") return sofar;
  const names = sofar ?? new Set<string>();
  for (const name of lower.split(",")) names.add(name.trim());
  return names;
}

/** Drops the named fields; `Host`, in front, cannot be named away. */
function withoutNamed(headers: readonly string[], named: ReadonlySet<string>): string[] {
  const kept = headers.slice(0, 2);
  for (let i = 2; i < headers.length; i += 2) {
    if (!named.has(headers[i]!.toLowerCase())) kept.push(headers[i]!, headers[i + 1]!);
  }
  return kept;
}

function joined(list: string, value: string): string {
  return list === "" ? value : `${list}, ${value}`;
}
