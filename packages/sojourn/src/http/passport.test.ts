import { once } from "node:events";
import type { Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import express5, { type Express } from "express";
import { Passport } from "passport";
import { Strategy as LocalStrategy } from "passport-local";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { createSessions } from "../sessions/create-sessions.ts";
import { memoryStore } from "../store/memory.ts";
import { expressSessions } from "./express.ts";
import { type PassportSessionsOptions, passportSessions } from "./passport.ts";

const express4: () => Express = createRequire(import.meta.url)("express4");

interface User {
  readonly id: number;
  readonly name: string;
}

interface Data {
  cart: string[];
  passport: { user: number };
}

const accounts = new Map<number, User>();
const store = memoryStore();
const sessions = createSessions<Data>({ store, secret: "a secret of the passport tests" });

function app(express: () => Express, options?: PassportSessionsOptions): Express {
  const passport = new Passport();
  passport.serializeUser<number>((user, done) => done(null, (user as User).id));
  passport.deserializeUser<number>((id, done) => done(null, accounts.get(id) ?? false));
  passport.use(
    new LocalStrategy((name, password, done) => {
      const user = [...accounts.values()].find((one) => one.name === name);
      done(null, user && password === "right" ? user : false);
    }),
  );
  passportSessions(passport, sessions, options);
  const made = express();
  made.use(expressSessions(sessions));
  made.use(passport.initialize());
  made.use(passport.session());
  made.get("/", async (req, res) => {
    const session = await sessions.of(req);
    const { user } = req as { user?: User };
    res.json({ user: user?.name ?? null, principal: session.principal, keys: session.keys().sort() });
  });
  made.get("/cart", async (req, res) => {
    (await sessions.of(req)).set("cart", ["apple"]);
    res.json("added");
  });
  // passport-local looks at the query, too.
  made.get("/login", passport.authenticate("local"), (_, res) => void res.redirect("/"));
  made.get("/login-keeping", passport.authenticate("local", { keepSessionInfo: true }), (_, res) => {
    res.redirect("/");
  });
  made.get("/logout", (req, res, next) => {
    (req as unknown as Logout).logout((error) => (error ? next(error) : res.json("bye")));
  });
  made.get("/logout-keeping", (req, res, next) => {
    (req as unknown as Logout).logout({ keepSessionInfo: true }, (error) =>
      error ? next(error) : res.json("bye"),
    );
  });
  made.get("/leaking", (req, res) => {
    const given = req.session as unknown as { user?: string };
    const before = given.user ?? null;
    try {
      given.user = "everybody's";
    } catch {
      // Strict code is told; sloppy code is ignored.
    }
    res.json(before);
  });
  return made;
}

interface Logout {
  logout(done: (error?: unknown) => void): void;
  logout(options: { keepSessionInfo: boolean }, done: (error?: unknown) => void): void;
}

describe.each([
  ["Express 5", express5 as unknown as () => Express],
  ["Express 4", express4],
])("Passport on %s", (_, express) => {
  let server: Server;
  let origin: string;
  let cookie: string | undefined;

  beforeAll(async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    server = app(express).listen(0, "127.0.0.1");
    await once(server, "listening");
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterAll(() => {
    server.closeAllConnections();
    server.close();
    vi.restoreAllMocks();
  });

  beforeEach(() => {
    cookie = undefined;
    accounts.clear();
    accounts.set(7, { id: 7, name: "ada" });
  });

  async function visit(path: string): Promise<{ status: number; body: unknown }> {
    const headers: Record<string, string> = cookie ? { cookie } : {};
    const response = await fetch(`${origin}${path}`, { headers, redirect: "manual" });
    for (const line of response.headers.getSetCookie()) {
      cookie = /max-age=0/i.test(line) ? undefined : line.slice(0, line.indexOf(";"));
    }
    const text = await response.text();
    return { status: response.status, body: text.startsWith("{") ? JSON.parse(text) : text };
  }

  test("a login gets a new id and a principal, is stored before its redirect leaves, and drops what was before", async () => {
    await visit("/cart");
    const before = cookie;
    expect((await visit("/login?username=ada&password=right")).status).toBe(302);
    expect(cookie).not.toBe(before);
    expect((await visit("/")).body).toEqual({ user: "ada", principal: "7", keys: ["passport"] });
    expect(await sessions.count({ principal: "7" })).toBeGreaterThan(0);
  });

  test("keepSessionInfo keeps what was before, under the new id", async () => {
    await visit("/cart");
    const before = cookie;
    await visit("/login-keeping?username=ada&password=right");
    expect((await visit("/")).body).toEqual({ user: "ada", principal: "7", keys: ["cart", "passport"] });
    cookie = before;
    await visit("/cart");
    expect((await visit("/")).body).toMatchObject({ user: null, principal: null });
  });

  test("a wrong password is 401, and changes nothing", async () => {
    expect((await visit("/login?username=ada&password=wrong")).status).toBe(401);
    expect(cookie).toBe(undefined);
  });

  test("a logout ends the session; one that keeps it renews the id and takes the principal away", async () => {
    await visit("/login?username=ada&password=right");
    const old = cookie;
    expect((await visit("/logout")).status).toBe(200);
    expect(cookie).toBe(undefined);
    cookie = old;
    expect((await visit("/")).body).toEqual({ user: null, principal: null, keys: [] });

    cookie = undefined;
    await visit("/login?username=ada&password=right");
    await visit("/cart");
    const login = cookie;
    await visit("/logout-keeping");
    expect(cookie).not.toBe(login);
    expect((await visit("/")).body).toEqual({ user: null, principal: null, keys: ["cart"] });
  });

  test("endAll of the principal logs the user out", async () => {
    await visit("/login?username=ada&password=right");
    await sessions.endAll("7");
    expect((await visit("/")).body).toEqual({ user: null, principal: null, keys: [] });
  });

  test("a user that is gone is nobody, and the login leaves the session", async () => {
    await visit("/login?username=ada&password=right");
    accounts.clear();
    expect((await visit("/")).body).toMatchObject({ user: null });
    expect((await visit("/")).body).toMatchObject({ user: null, keys: [] });
  });

  test("a logout of a stranger is one, too", async () => {
    expect((await visit("/logout-keeping")).status).toBe(200);
    expect((await visit("/logout")).status).toBe(200);
    expect(cookie).toBe(undefined);
  });

  test("what is put on req.session is nobody else's", async () => {
    await visit("/leaking");
    expect((await visit("/leaking")).body).toBe("null");
  });
});

test("principalOf names the principal", async () => {
  accounts.set(7, { id: 7, name: "ada" });
  const server = app(express5, { principalOf: (user) => (user as User).name, key: "login" }).listen(
    0,
    "127.0.0.1",
  );
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await fetch(`http://127.0.0.1:${port}/login?username=ada&password=right`, { redirect: "manual" });
  expect(await sessions.count({ principal: "ada" })).toBe(1);
  server.close();
});

test("a Passport without a session manager is refused", () => {
  expect(() => passportSessions({}, sessions)).toThrow(/no Passport, or one older than 0.6/);
});
