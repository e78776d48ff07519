/** One line changes: Express 4, Express 5, Passport, and what lives in a session besides (flash messages, other hooks). */
import { createServer, type RequestListener } from "node:http";
import { createRequire } from "node:module";
import express, { type Express, type NextFunction, type Request, type Response } from "express";
import passport from "passport";
import { describe, expect, test } from "vitest";
import session, { type SessionOptions } from "./index.ts";
import "./global.ts";
import { Browser, listening, OPTIONS } from "./site.test.support.ts";

declare module "./session-data.ts" {
  interface SessionData {
    views: number;
    flash: Record<string, string[]>;
  }
}

const require = createRequire(import.meta.url);
// The same types serve: what is called here is the same in both.
const express4 = require("express4") as typeof express;
const { Strategy } = require("passport-local") as { Strategy: new (verify: unknown) => passport.Strategy };

const frameworks = [
  ["Express 4", express4],
  ["Express 5", express],
] as const;

async function site(app: Express): Promise<string> {
  return (await listening(createServer(app as unknown as RequestListener))).origin;
}

describe.each(frameworks)("%s", (_name, framework) => {
  function shop(options: SessionOptions = {}): Express {
    const app = framework();
    app.set("env", "test");
    app.use(session({ ...OPTIONS, ...options }));
    return app;
  }

  test("counts views, types included", async () => {
    const app = shop();
    app.get("/", (req, res) => {
      req.session.views = (req.session.views ?? 0) + 1;
      res.json({ views: req.session.views, id: req.sessionID === req.session.id });
    });
    const browser = new Browser();
    const origin = await site(app);
    expect(JSON.parse((await browser.visit(origin)).text)).toEqual({ views: 1, id: true });
    expect(JSON.parse((await browser.visit(origin)).text)).toEqual({ views: 2, id: true });
  });

  test("a failed save is a 503, and error handlers hear of it", async () => {
    const store = new session.MemoryStore();
    store.set = (_sid, _data, callback) => callback?.(new Error("down"));
    const heard: string[] = [];
    const app = shop({ store });
    app.post("/login", (req, res) => {
      req.session.views = 1;
      res.redirect("/");
    });
    app.use((error: Error, _req: Request, res: Response, next: NextFunction) => {
      heard.push(`${error.message}, headers sent: ${res.headersSent}`);
      next(error);
    });
    const answer = await new Browser().visit(await site(app), "/login", { method: "POST" });
    expect(answer.status).toBe(503);
    expect(JSON.parse(answer.text)).toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(heard).toEqual(["down, headers sent: true"]);
  });

  test("a failed save is a 503 also where an error handler answers without looking", async () => {
    const store = new session.MemoryStore();
    store.set = (_sid, _data, callback) => callback?.(new Error("down"));
    const app = shop({ store });
    app.post("/login", (req, res) => {
      req.session.views = 1;
      res.redirect("/");
    });
    app.use((_error: Error, _req: Request, res: Response, _next: NextFunction) => {
      res.status(500).json({ sorry: true });
    });
    expect((await new Browser().visit(await site(app), "/login", { method: "POST" })).status).toBe(503);
  });

  test("mounted at a path, and behind trust proxy, it sees what Express sees", async () => {
    const app = framework();
    app.set("trust proxy", 1);
    app.use(
      "/shop",
      session({ ...OPTIONS, saveUninitialized: true, cookie: { secure: true, path: "/shop" } }),
    );
    app.use((req: Request, res: Response) => void res.end(typeof req.session));
    const origin = await site(app);
    const https = { headers: { "x-forwarded-proto": "https" } };
    expect((await new Browser().visit(origin, "/shop/tea", https)).setCookies[0]).toMatch(
      /Path=\/shop; HttpOnly; Secure$/,
    );
    expect((await new Browser().visit(origin, "/shop/tea")).setCookies).toEqual([]);
    expect((await new Browser().visit(origin, "/elsewhere", https)).text).toBe("undefined");
  });

  test("flash messages live until they are read", async () => {
    const app = shop();
    // What connect-flash does: appends to `req.session.flash`, and deletes what it gives.
    app.use((req, _res, next) => {
      Object.assign(req, {
        flash(kind: string, message?: string): string[] {
          req.session.flash ??= {};
          const all = req.session.flash;
          if (message !== undefined) {
            all[kind] = [...(all[kind] ?? []), message];
            return [message];
          }
          const given = all[kind] ?? [];
          delete all[kind];
          return given;
        },
      });
      next();
    });
    type Flashing = Request & { flash(kind: string, message?: string): string[] };
    app.post("/", (req, res) => {
      (req as Flashing).flash("info", "saved");
      res.redirect("/");
    });
    app.get("/", (req, res) => void res.json((req as Flashing).flash("info")));
    const browser = new Browser();
    const origin = await site(app);
    expect((await browser.visit(origin, "/", { method: "POST" })).status).toBe(302);
    expect((await browser.visit(origin)).text).toBe('["saved"]');
    expect((await browser.visit(origin)).text).toBe("[]");
  });

  test("Passport logs in under a new id, and out", async () => {
    const authenticator = new passport.Authenticator();
    authenticator.use(
      new Strategy((user: string, password: string, done: (error: null, user: unknown) => void) => {
        done(null, password === "lovelace" && { name: user });
      }),
    );
    authenticator.serializeUser((user, done) => done(null, (user as { name: string }).name));
    authenticator.deserializeUser((name: string, done) => done(null, { name }));
    const store = new session.MemoryStore();
    const app = shop({ store });
    app.use(framework.urlencoded({ extended: false }));
    app.use(authenticator.initialize());
    app.use(authenticator.session());
    app.get("/", (req, res) => {
      req.session.views = (req.session.views ?? 0) + 1;
      res.end((req.user as { name: string } | undefined)?.name ?? "nobody");
    });
    app.post("/login", authenticator.authenticate("local", { successRedirect: "/", failureRedirect: "/no" }));
    app.post("/logout", (req, res, next) => {
      req.logout((error) => (error ? next(error) : res.redirect("/")));
    });
    const origin = await site(app);
    const browser = new Browser();
    const form = (password: string) => ({
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: `username=ada&password=${password}`,
    });
    expect((await browser.visit(origin)).text).toBe("nobody");
    const anonymous = browser.cookies.get("connect.sid");
    expect((await browser.visit(origin, "/login", form("guess"))).headers.get("location")).toBe("/no");
    expect((await browser.visit(origin, "/login", form("lovelace"))).headers.get("location")).toBe("/");
    const known = browser.cookies.get("connect.sid");
    expect(known).not.toBe(anonymous);
    expect((await browser.visit(origin)).text).toBe("ada");
    await browser.visit(origin, "/logout", { method: "POST" });
    expect((await browser.visit(origin)).text).toBe("nobody");
    expect(browser.cookies.get("connect.sid")).not.toBe(known);
    expect(Object.values(store.sessions).filter((text) => text.includes("ada"))).toEqual([]);
  });
});
