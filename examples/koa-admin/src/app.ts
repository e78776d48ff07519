/** "Where am I signed in?": an account page that lists a user's sessions and ends them, on whichever server they began. */
import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import Koa, { type Context } from "koa";
import { createSessions, type Session, sessionServers } from "sojourn";
import { koaSessions } from "sojourn/koa";
import { formOf } from "./form.ts";
import { type Device, devicesPage, signInPage } from "./pages.ts";

interface Data {
  /** What this session looks like to its user. */
  device: { id: string; name: string };
}

const {
  NAME = "a",
  PORT = "3001",
  SESSION_SERVER = "127.0.0.1:5701",
  SESSION_SECRET: secret = "",
} = process.env;
const store = sessionServers({ members: [SESSION_SERVER], domain: "account", secret });
const sessions = createSessions<Data>({ store, secret, cookie: { secure: false } });

type Handler = (ctx: Context, session: Session<Data>) => Promise<void>;

const handlers: Record<string, Handler> = {
  async "GET /"(ctx, session) {
    ctx.body =
      session.principal === null
        ? signInPage()
        : devicesPage(session.principal, NAME, await devicesOf(session));
  },

  async "POST /sign-in"(ctx, session) {
    const user = (await formOf(ctx)).get("user")?.trim();
    if (user) {
      session.set("device", { id: randomUUID(), name: ctx.get("user-agent") });
      await session.renew({ principal: user });
    }
    ctx.redirect("/");
  },

  async "POST /sign-out"(ctx, session) {
    await session.destroy();
    ctx.redirect("/");
  },

  async "POST /end"(ctx, session) {
    const found = await sessions.find((await formOf(ctx)).get("key") ?? "");
    // A key is no secret: what counts is whose session it names.
    if (found !== null && found.principal === session.principal) await found.destroy();
    ctx.redirect("/");
  },

  async "POST /end-others"(ctx, session) {
    if (session.principal !== null) await sessions.endAll(session.principal, { except: session });
    ctx.redirect("/");
  },

  async "POST /end-all"(ctx, session) {
    if (session.principal !== null) await sessions.endAll(session.principal);
    await session.destroy();
    ctx.redirect("/");
  },
};

async function devicesOf(session: Session<Data>): Promise<Device[]> {
  const page = await sessions.list({ principal: session.principal! });
  const found = await Promise.all(page.sessions.map(({ key }) => sessions.find(key)));
  return found.flatMap((each) => {
    const device = each?.get("device");
    // One that ended meanwhile is no longer there to be listed.
    if (!each || !device) return [];
    const isThisOne = device.id === session.get("device")?.id;
    return { key: each.key, name: device.name, lastSeen: new Date(each.touchedAtMs), isThisOne };
  });
}

const app = new Koa();
app.use(koaSessions(sessions));
app.use(async (ctx) => {
  const handler = handlers[`${ctx.method} ${ctx.path}`];
  if (handler !== undefined) await handler(ctx, await sessions.of(ctx));
});

const server = app.listen(Number(PORT), "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  console.log(`server ${NAME} on http://127.0.0.1:${port}, pid ${process.pid}`);
});

for (const ending of ["SIGTERM", "SIGINT", "disconnect"]) {
  process.once(ending, () => server.close(() => sessions.close().then(() => store.close())));
}
