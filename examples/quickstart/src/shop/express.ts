/** The shop on Express 5. */
import express, { type NextFunction, type Request, type Response } from "express";
import { expressSessions } from "sojourn/express";
import { shopConfig, shopSessions } from "./config.ts";
import { ControlProxy } from "./control.ts";
import { pageFile } from "./page.ts";
import { startReporting } from "./report.ts";
import {
  BODY_BYTES_MAX,
  parseJson,
  parseUser,
  pause,
  plusOne,
  problemOf,
  unmatched,
  viewOf,
} from "./shop.ts";
import { stopOnSignal } from "./stop.ts";

const config = shopConfig();
const sessions = shopSessions(config);
const control = new ControlProxy(config.control, config.origins);
const count = startReporting(config, sessions);

const app = express();
app.disable("x-powered-by");
app.use((_req, res, next) => {
  res.set("shop-server", config.name);
  next();
});

// Before the sessions are mounted: pages, health and control have none.
app.get("/health", (_req, res) => {
  res.json({ server: config.name });
});
app.all("/control/*path", async (req, res) => {
  const { status, headers, body } = await control.forward(req.method, req.originalUrl, req.headers);
  res.status(status).set(headers).send(body);
});
app.use((req, res, next) => {
  const file = pageFile(req.method, req.path, req.get("if-none-match"));
  if (file === undefined) next();
  else res.writeHead(file.status, file.headers).end(file.body);
});

app.use(expressSessions(sessions));
app.use(express.raw({ type: () => true, limit: BODY_BYTES_MAX }));
app.use((_req, res, next) => {
  count();
  res.set("cache-control", "no-store");
  next();
});

app.get("/session", async (req, res) => {
  const session = await req.session();
  await pause(req.query.delayMs);
  res.json(viewOf(session, config.name));
});

app.put("/session/attributes/:name", async (req, res) => {
  const value = parseJson(req.body);
  const session = await req.session();
  await pause(req.query.delayMs);
  session.set(req.params.name, value);
  res.status(204).end();
});

app.delete("/session/attributes/:name", async (req, res) => {
  const session = await req.session();
  await pause(req.query.delayMs);
  session.delete(req.params.name);
  res.status(204).end();
});

app.post("/session/counters/:name", async (req, res) => {
  const session = await req.session();
  await pause(req.query.delayMs);
  res.json({ value: await session.update(req.params.name, plusOne) });
});

app.post("/login", async (req, res) => {
  const user = parseUser(req.body);
  const session = await req.session();
  await pause(req.query.delayMs);
  await session.renew({ principal: user });
  res.redirect(303, "/session");
});

app.post("/logout", async (req, res) => {
  const session = await req.session();
  await pause(req.query.delayMs);
  await session.destroy();
  res.status(204).end();
});

app.post("/logout-everywhere", async (req, res) => {
  const session = await req.session();
  await pause(req.query.delayMs);
  if (session.principal !== null) await sessions.endAll(session.principal);
  await session.destroy();
  res.status(204).end();
});

app.use((req, res) => {
  const { status, headers, body } = unmatched(req.method, req.originalUrl);
  res.status(status).set(headers).json(body);
});
app.use((error: unknown, _req: Request, res: Response, next: NextFunction) => {
  if (res.headersSent) return next(error);
  const { status, headers, body } = problemOf(error);
  res.status(status).set(headers).json(body);
});

const server = app.listen(config.port, "127.0.0.1");
stopOnSignal(server, sessions);
