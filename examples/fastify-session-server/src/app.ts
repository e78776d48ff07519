/** Notes of a visitor: a Fastify server that keeps nothing itself, so that any number of them are one application. */
import { readFileSync } from "node:fs";
import fastify from "fastify";
import { createSessions, sessionServers } from "sojourn";
import { fastifySessions } from "sojourn/fastify";

interface Data {
  notes: string[];
}

const {
  NAME = "a",
  PORT = "3001",
  SESSION_SERVER = "127.0.0.1:5701",
  SECRET_FILE = "./secret",
} = process.env;
const secret = readFileSync(SECRET_FILE, "utf8").trim();
const store = sessionServers({ members: [SESSION_SERVER], domain: "notes", secret });
const sessions = createSessions<Data>({ store, secret, cookie: { secure: false } });

const app = fastify();
await app.register(fastifySessions, { sessions });
// After the last request.
app.addHook("onClose", () => sessions.close().then(() => store.close()));

/** The router asks here every second; no session is opened for it. */
app.get("/health", async () => ({ server: NAME }));

app.get("/notes", async (request) => {
  const session = await sessions.of(request);
  return { server: NAME, user: session.principal, notes: session.get("notes") ?? [] };
});

app.post<{ Body: { text: string } }>("/notes", async (request) => {
  const session = await sessions.of(request);
  // Atomic on all servers at once: notes that are written at the same time all survive.
  const notes = await session.update("notes", (before = []) => [...before, request.body.text]);
  return { server: NAME, notes };
});

app.post<{ Body: { user: string } }>("/sign-in", async (request) => {
  const session = await sessions.of(request);
  await session.renew({ principal: request.body.user });
  return { server: NAME, user: session.principal };
});

const address = await app.listen({ port: Number(PORT), host: "127.0.0.1" });
console.log(`server ${NAME} on ${address}, pid ${process.pid}`);

for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => app.close());
