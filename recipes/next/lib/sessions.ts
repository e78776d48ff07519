/**
 * One `Sessions` for the whole process: on `globalThis`, because Next.js loads modules once for each bundle and again at
 * every hot reload. Made at the first request, because `next build` loads them too, and has no secret.
 */
import { createSessions, type Sessions, sessionServers } from "sojourn";

export interface Data {
  cart: string[];
}

const kept = globalThis as { sojourn?: Sessions<Data> };

export function sessions(): Sessions<Data> {
  kept.sojourn ??= createSessions<Data>({
    secret: process.env.SESSION_SECRET,
    // Without a store: the memory of this process. `next start` has one; more than one server needs a store.
    ...(process.env.SESSION_SERVER
      ? { store: sessionServers({ members: [process.env.SESSION_SERVER], secret: process.env.STORE_SECRET }) }
      : {}),
    // TLS ends at the proxy in front; behind none, over plain HTTP, browsers keep no Secure cookie.
    cookie: { secure: process.env.SESSION_COOKIE_SECURE !== "false" },
  });
  return kept.sojourn;
}

/** Whether the browser's connection is TLS. Believe this header only behind a proxy that sets it. */
export function isSecure(request: { readonly headers: Headers }): boolean {
  return request.headers.get("x-forwarded-proto") === "https";
}
