/** A shop on Express that keeps nothing itself: carts and logins are in Redis, so every server is as good as the other. */
import type { AddressInfo } from "node:net";
import express from "express";
import { createSessions } from "sojourn";
import { expressSessions } from "sojourn/express";
import { redisStore } from "sojourn/redis";
import { type Cart, GOODS, shopPage } from "./page.ts";

interface Data {
  cart: Cart;
}

const { NAME = "a", PORT = "3001", REDIS_URL = "redis://127.0.0.1:6379", SESSION_SECRET = "" } = process.env;
const store = redisStore({ url: REDIS_URL, prefix: "example-shop" });
// Plain http on this machine: a secure cookie would never come back.
const sessions = createSessions<Data>({ store, secret: SESSION_SECRET, cookie: { secure: false } });

const app = express();
app.use(expressSessions(sessions));
app.use(express.urlencoded({ extended: false }));

app.get("/", async (req, res) => {
  const session = await sessions.of(req);
  res.send(shopPage(NAME, session.principal, session.get("cart") ?? {}));
});

app.post("/cart/:good", async (req, res) => {
  const { good } = req.params;
  if (!GOODS.includes(good)) return res.sendStatus(404);
  const session = await sessions.of(req);
  // Atomic on all servers at once: two clicks at the same time are two pieces.
  await session.update("cart", (cart = {}) => ({ ...cart, [good]: (cart[good] ?? 0) + 1 }));
  res.redirect(303, "/");
});

app.post("/login", async (req, res) => {
  const user = String(req.body?.user ?? "").trim();
  if (user === "") return res.sendStatus(400);
  const session = await sessions.of(req);
  // The same cart under a new id; whoever knew the old one knows nothing.
  await session.renew({ principal: user });
  res.redirect(303, "/");
});

app.post("/logout", async (req, res) => {
  const session = await sessions.of(req);
  await session.destroy();
  res.redirect(303, "/");
});

app.post("/logout-everywhere", async (req, res) => {
  const session = await sessions.of(req);
  if (session.principal !== null) await sessions.endAll(session.principal);
  await session.destroy();
  res.redirect(303, "/");
});

const server = app.listen(Number(PORT), "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  console.log(`shop ${NAME} on http://127.0.0.1:${port}, pid ${process.pid}`);
});

for (const ending of ["SIGTERM", "SIGINT", "disconnect"]) {
  process.once(ending, () => server.close(() => sessions.close().then(() => store.close())));
}
