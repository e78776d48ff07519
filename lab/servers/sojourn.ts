/** Our side of the measured applications: the store a configuration names, and what handlers do with a session. */
import { createSessions, memoryStore, type Session, type Sessions, sessionServers } from "sojourn";
import { redisStore } from "sojourn/redis";
import type { SessionStore } from "sojourn/store";
import { type Contents, newContents, pause, view } from "./contents.ts";

export type SojournKind = "memory" | "session-server" | "redis";

export async function sojournSessions(kind: SojournKind, store: string): Promise<Sessions<Contents>> {
  return createSessions<Contents>({
    store: await storeOf(kind, store),
    secret: "a secret of the laboratory",
    // Measured over plain HTTP.
    cookie: { secure: false },
  });
}

/** @param url  "redis://host:port", or "host:port" of a session server */
export async function storeOf(kind: SojournKind, url: string): Promise<SessionStore> {
  if (kind === "memory") return memoryStore({ maxBytes: 2e9 });
  return kind === "redis" ? redisStore({ url }) : sessionServers({ members: [url] });
}

export const actions = {
  read: (session: Session<Contents>) => view(session.get("user"), session.get("visits")),

  write(session: Session<Contents>) {
    session.set("visits", (session.get("visits") ?? 0) + 1);
    return view(session.get("user"), session.get("visits"));
  },

  login(session: Session<Contents>) {
    for (const [name, value] of Object.entries(newContents())) session.set(name, value);
  },

  async setLater(session: Session<Contents>, name: string, delayMs: number) {
    await pause(delayMs);
    session.set(name, "set");
  },
} as const;
