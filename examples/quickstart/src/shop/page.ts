/**
 * The page's files, read once and served from memory, the same by all three frameworks. They have nothing to do with
 * sessions: no cookie is read or set for them, and the store hears nothing.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../../page", import.meta.url));

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml; charset=utf-8",
};

/** Nothing from elsewhere, nothing inline: a page that can kill servers should run nobody else's script. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join("; ");

export interface PageFile {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface PageAnswer {
  readonly status: 200 | 304;
  readonly headers: Readonly<Record<string, string>>;
  /** Undefined for HEAD and 304. */
  readonly body: Buffer | undefined;
}

const files: ReadonlyMap<string, PageFile> = readPage();

/**
 * @param path         with or without a query
 * @param ifNoneMatch  the header; all shops make the same tags, whoever answered before
 * @returns            undefined when the page has no such file
 */
export function pageFile(method: string, path: string, ifNoneMatch?: string): PageAnswer | undefined {
  if (method !== "GET" && method !== "HEAD") return undefined;
  const file = files.get(path.split("?")[0] ?? "");
  if (file === undefined) return undefined;
  if (ifNoneMatch === file.headers.etag) {
    const { "content-length": _, "content-type": __, ...headers } = file.headers;
    return { status: 304, headers, body: undefined };
  }
  return { status: 200, headers: file.headers, body: method === "HEAD" ? undefined : file.body };
}

function readPage(): Map<string, PageFile> {
  const found = new Map<string, PageFile>();
  for (const name of readdirSync(FOLDER)) {
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    const body = readFileSync(join(FOLDER, name));
    const headers = {
      "content-type": type,
      "content-length": String(body.byteLength),
      etag: `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`,
      "cache-control": "no-cache",
      "content-security-policy": POLICY,
      "referrer-policy": "same-origin",
      "x-content-type-options": "nosniff",
    };
    found.set(name === "index.html" ? "/" : `/${name}`, { headers, body });
  }
  return found;
}
