/** Adds a cookie at the moment a response's headers are fixed, whoever fixes them and however. */
import type { AnyResponse } from "../hold.ts";

type WriteHead = (this: AnyResponse, ...args: unknown[]) => unknown;

/**
 * Calls `setCookie` once, when the headers are about to be written, and adds what it returns after the application's own
 * cookies.
 *
 * @param setCookie  a whole `Set-Cookie` value, or undefined for none. What it throws, `writeHead` throws, and is asked
 *                   again by the next response that is tried.
 */
export function beforeHeaders(res: AnyResponse, setCookie: () => string | undefined): void {
  const patched = res as unknown as { writeHead: WriteHead };
  const writeHead = patched.writeHead;
  let isDone = false;
  patched.writeHead = function writeHeadWithSession(...args) {
    if (!isDone && !res.headersSent) {
      const cookie = setCookie();
      isDone = true;
      if (cookie !== undefined) add(res, args, cookie);
    }
    return writeHead.apply(this, args);
  };
}

function add(res: AnyResponse, args: unknown[], cookie: string): void {
  const last = args.at(-1);
  // Cookies given to `writeHead` itself replace those of `setHeader`, so ours must be among them.
  if (typeof last === "object" && last !== null && args.length > 1) {
    if (Array.isArray(last) ? addToList(args, last, cookie) : addToObject(args, last, cookie)) return;
  }
  const before = res.getHeader("Set-Cookie");
  res.setHeader("Set-Cookie", before === undefined ? cookie : [before, cookie].flat().map(String));
}

/** Headers as Node takes them: `[name, value, name, value]`, or pairs. */
function addToList(args: unknown[], headers: readonly unknown[], cookie: string): boolean {
  const isPairs = Array.isArray(headers[0]);
  const names = headers.flatMap((entry, index) =>
    isPairs ? [(entry as unknown[])[0]] : index % 2 === 0 ? [entry] : [],
  );
  if (!names.some(isSetCookie)) return false;
  args[args.length - 1] = [...headers, ...(isPairs ? [["Set-Cookie", cookie]] : ["Set-Cookie", cookie])];
  return true;
}

function addToObject(args: unknown[], headers: object, cookie: string): boolean {
  const name = Object.keys(headers).find(isSetCookie);
  if (name === undefined) return false;
  const given = Reflect.get(headers, name) as unknown;
  args[args.length - 1] = { ...headers, [name]: [given, cookie].flat() };
  return true;
}

function isSetCookie(name: unknown): boolean {
  return typeof name === "string" && name.toLowerCase() === "set-cookie";
}
