/** What a request says about itself: its path, whether it came over TLS, and which session it asks for. */
import { idIn, idInHeader, type Secret } from "./cookie-header.ts";
import type { SessionRequest } from "./types.ts";
import { deprecate } from "./warnings.ts";

/** The path as the browser asked for it, wherever the middleware is mounted. */
export function pathOf(req: SessionRequest): string {
  const url = req.originalUrl || req.url || "/";
  if (!url.startsWith("/")) {
    try {
      return new URL(url).pathname;
    } catch {
      // `*` of an OPTIONS request.
      return "/";
    }
  }
  const end = url.search(/[?#]/);
  return end < 0 ? url : url.slice(0, end);
}

/** @param proxy  true: X-Forwarded-Proto counts; false: only this connection; undefined: Express decides */
export function isSecure(req: SessionRequest, proxy: boolean | undefined): boolean {
  if ((req.socket as { encrypted?: boolean } | undefined)?.encrypted) return true;
  if (proxy === false) return false;
  if (proxy !== true) return req.secure === true;
  const said = String(req.headers?.["x-forwarded-proto"] ?? "");
  return said.split(",", 1)[0]?.trim().toLowerCase() === "https";
}

/** The signed id that the request came with. What cookie-parser has read counts where the header itself says nothing. */
export function presentedId(
  req: SessionRequest,
  name: string,
  secrets: readonly Secret[],
): string | undefined {
  return idInHeader(req.headers?.cookie, name, secrets) ?? parsedId(req, name, secrets);
}

function parsedId(req: SessionRequest, name: string, secrets: readonly Secret[]): string | undefined {
  const signed = req.signedCookies?.[name];
  const raw = req.cookies?.[name];
  const id =
    typeof signed === "string" && signed !== ""
      ? signed
      : typeof raw === "string" && (idIn(raw, secrets) || undefined);
  if (!id) return undefined;
  deprecate("PARSED_COOKIE", "cookie should be available in req.headers.cookie");
  return id;
}
