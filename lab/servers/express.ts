/** The measured application on Express 5. */
import express, { type ErrorRequestHandler, type Express } from "express";
import { expressSessions } from "sojourn/express";
import type { ApplicationConfig } from "./application.ts";
import { newContents, pause, VISITOR, view } from "./contents.ts";
import { expressSession, plainSession } from "./incumbents.ts";
import { actions, sojournSessions } from "./sojourn.ts";

export async function expressApplication({ sessions: kind, store }: ApplicationConfig): Promise<Express> {
  const app = express();
  app.disable("x-powered-by");
  app.set("etag", false);
  if (kind === "none") return withoutSessions(app);
  if (kind === "express-session-memory" || kind === "connect-redis") {
    app.use(await expressSession(kind, store));
    return withPlainSessions(app);
  }
  const sessions = await sojournSessions(kind, store);
  app.use(expressSessions(sessions));
  app.get("/anonymous", (_req, res) => void res.json(VISITOR));
  app.get("/", async (req, res) => void res.json(actions.read(await sessions.of(req))));
  app.post("/visits", async (req, res) => void res.json(actions.write(await sessions.of(req))));
  app.post("/login", async (req, res) => {
    actions.login(await sessions.of(req));
    res.redirect(303, "/");
  });
  app.post("/logout", async (req, res) => {
    await (await sessions.of(req)).destroy();
    res.sendStatus(204);
  });
  app.put("/attributes/:name", async (req, res) => {
    await actions.setLater(await sessions.of(req), req.params.name, Number(req.query.delayMs ?? 0));
    res.sendStatus(204);
  });
  app.get("/attributes", async (req, res) => void res.json((await sessions.of(req)).keys()));
  app.use(forgetsWhoLeft);
  return app;
}

/** A load that ends hangs up in the middle; Express would print an error for each. */
const forgetsWhoLeft: ErrorRequestHandler = (error, req, _res, next) => {
  if (!req.socket.destroyed) next(error);
};

function withoutSessions(app: Express): Express {
  app.get("/", (_req, res) => void res.json(view(VISITOR.user, VISITOR.visits)));
  app.post("/visits", (_req, res) => void res.json(view(VISITOR.user, VISITOR.visits)));
  return app;
}

function withPlainSessions(app: Express): Express {
  app.get("/anonymous", (_req, res) => void res.json(VISITOR));
  app.get("/", (req, res) => {
    const session = plainSession(req);
    res.json(view(session.user, session.visits));
  });
  app.post("/visits", (req, res) => {
    const session = plainSession(req);
    session.visits = (session.visits ?? 0) + 1;
    res.json(view(session.user, session.visits));
  });
  app.post("/login", (req, res) => {
    Object.assign(plainSession(req), newContents());
    res.redirect(303, "/");
  });
  app.post("/logout", (req, res, next) => {
    plainSession(req).destroy((error) => (error ? next(error) : res.sendStatus(204)));
  });
  app.put("/attributes/:name", async (req, res) => {
    await pause(Number(req.query.delayMs ?? 0));
    plainSession(req)[req.params.name] = "set";
    res.sendStatus(204);
  });
  app.get("/attributes", (req, res) => {
    res.json(Object.keys(plainSession(req)).filter((name) => name !== "cookie"));
  });
  return app;
}
