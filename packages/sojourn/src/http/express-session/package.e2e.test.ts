/** The entry as programs load and compile it, from the build: ES module, CommonJS, and beside other declarations. */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../../../../../", import.meta.url));
/** Below the workspace's node_modules, so that `sojourn` and `express` are found. */
const PROJECT = join(ROOT, "node_modules/.cache/express-session");

beforeAll(() => {
  execFileSync(process.execPath, [join(ROOT, "tools/commonjs.mjs")]);
});

function project(name: string, files: Record<string, string>): string {
  const folder = join(PROJECT, name);
  rmSync(folder, { recursive: true, force: true });
  for (const [file, text] of Object.entries({ "package.json": '{ "private": true }', ...files })) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  return folder;
}

function run(folder: string, command: string, ...args: string[]): string {
  try {
    return execFileSync(command, args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    return `${stdout}${stderr}`;
  }
}

/** What tsc says of these files together: nothing when all is well. */
function compiled(name: string, files: Record<string, string>, options: object = {}): string {
  const sources = Object.keys(files).filter(
    (file) => /\.[mc]?ts$/.test(file) && !file.includes("node_modules"),
  );
  const compilerOptions = {
    target: "es2022",
    module: "nodenext",
    strict: true,
    noEmit: true,
    types: ["node"],
    skipLibCheck: true,
    ...options,
  };
  const folder = project(name, {
    ...files,
    "tsconfig.json": JSON.stringify({ compilerOptions, files: sources }),
  });
  return run(folder, join(ROOT, "node_modules/.bin/tsc"), "-p", ".");
}

describe("loads", () => {
  const report =
    "console.log(typeof session, Object.keys(session).sort().join(), new session.Cookie().path);";
  const expected = "function Cookie,MemoryStore,Session,Store,session /\n";

  test("by import", () => {
    const folder = project("import", {
      "a.mjs": `import session from "sojourn/express-session";\n${report}`,
    });
    expect(run(folder, process.execPath, "a.mjs")).toBe(expected);
  });

  test("by require, as the function itself", () => {
    const folder = project("require", {
      "a.cjs": `const session = require("sojourn/express-session");\n${report}`,
    });
    expect(run(folder, process.execPath, "--no-warnings", "a.cjs")).toBe(expected);
  });

  test("by require of the ES module itself, as Node does it", () => {
    const file = join(ROOT, "packages/sojourn/dist/http/express-session/index.js");
    const folder = project("module", {
      "a.cjs": `const session = require(${JSON.stringify(file)});\n${report}`,
    });
    expect(run(folder, process.execPath, "--no-warnings", "a.cjs")).toBe(expected);
  });
});

const USES = `
  app.use(session({ secret: "s", resave: false, saveUninitialized: false, cookie: { maxAge: 1000, sameSite: "lax" } }));
  app.get("/", async (req, res) => {
    req.session.user = "ada";
    const name: string | undefined = req.session.user;
    // @ts-expect-error it is a string
    req.session.user = 1;
    // @ts-expect-error nobody declared it
    req.session.unknown;
    const expires: Date | null | undefined = req.session.cookie.expires;
    await req.session.save();
    await req.session.regenerate();
    req.session.destroy((error) => void error);
    res.json({ name, expires, id: req.sessionID, is: req.session.id });
  });
`;
const APP = 'import express from "express";\nconst app = express();\n';
const MODULE = `import session from "sojourn/express-session";\nimport "sojourn/express-session/types";\n${APP}`;
const DECLARED = 'declare module "sojourn/express-session" { interface SessionData { user: string } }\n';

/** The shape of @types/express-session: what a program has installed while it migrates. */
const FOREIGN_TYPES = `
  import express = require("express");
  import { EventEmitter } from "node:events";
  export = session;
  declare function session(options?: session.SessionOptions): express.RequestHandler;
  declare namespace session {
    interface SessionOptions { secret: string; store?: Store }
    interface Cookie { expires?: Date | null; maxAge?: number }
    interface SessionData { cookie: Cookie }
    class Session { id: string; cookie: Cookie; save(callback?: (err: any) => void): this }
    abstract class Store extends EventEmitter {
      regenerate(req: express.Request, callback: (err?: any) => any): void;
      abstract get(sid: string, callback: (err: any, session?: SessionData | null) => void): void;
      abstract set(sid: string, session: SessionData, callback?: (err?: any) => void): void;
      abstract destroy(sid: string, callback?: (err?: any) => void): void;
      touch?(sid: string, session: SessionData, callback?: () => void): void;
    }
  }
  declare global {
    namespace Express {
      interface Request { session: session.Session & Partial<session.SessionData>; sessionID: string }
    }
  }
`;

describe("compiles", () => {
  test("alone, with the program's own attributes", () => {
    expect(compiled("alone", { "a.mts": MODULE + DECLARED + USES }, { skipLibCheck: false })).toBe("");
  });

  test("in CommonJS, with import, import = require and named imports", () => {
    const named = `import { Store, type SessionOptions } from "sojourn/express-session";
      const options: SessionOptions = { secret: "s" };
      console.log(Store, options);`;
    const types = `import session = require("sojourn/express-session");
      const options: session.SessionOptions = { secret: "s", store: new session.MemoryStore() };
      let data: Partial<session.SessionData> | undefined;
      let store: session.Store | undefined;
      console.log(session(options), data, store);`;
    const files = { "a.cts": MODULE + DECLARED + USES, "b.cts": types, "c.cts": named };
    expect(compiled("commonjs", files, { esModuleInterop: true })).toBe("");
  });

  test("in one program with sojourn/express, whose req.session is a function", () => {
    const native = `import { createSessions } from "sojourn";
      import { expressSessions } from "sojourn/express";
      ${APP}
      app.use(expressSessions(createSessions()));
      app.get("/", async (req, res) => void res.json((await req.session()).keys()));`;
    const files = { "a.mts": MODULE + DECLARED + USES, "b.mts": native };
    expect(compiled("both", files, { skipLibCheck: false })).toBe("");
    expect(compiled("native", { "b.mts": native }, { skipLibCheck: false })).toBe("");
  });

  test("beside @types/express-session, whose declarations stay in force", () => {
    const migrating = `import type {} from "express-session";
      import session from "sojourn/express-session";
      import { Store, type SessionData } from "express-session";
      ${APP}
      declare module "express-session" { interface SessionData { user: string } }
      class OldStore extends Store {
        get(_sid: string, callback: (err: any, session?: SessionData | null) => void): void { callback(null) }
        set(_sid: string, _session: SessionData, callback?: (err?: any) => void): void { callback?.() }
        destroy(_sid: string, callback?: (err?: any) => void): void { callback?.() }
      }
      app.use(session({ secret: "s", store: new OldStore() }));
      app.get("/", (req, res) => {
        const name: string | undefined = req.session.user;
        req.session.save((error) => void res.json({ name, error, id: req.sessionID }));
      });`;
    const at = "node_modules/@types/express-session";
    const types = {
      [`${at}/index.d.ts`]: FOREIGN_TYPES,
      [`${at}/package.json`]:
        '{ "name": "@types/express-session", "version": "1.19.0", "types": "index.d.ts" }',
    };
    expect(
      compiled("beside", { "a.mts": migrating, ...types }, { esModuleInterop: true, skipLibCheck: false }),
    ).toBe("");
  });

  test("stores written for it, as classes", () => {
    const store = `import session from "sojourn/express-session";
      import { memoryStore } from "sojourn";
      class Mine extends session.Store {
        override get(sid: string, callback: (error?: unknown, data?: null) => void): void { callback(null, null); void sid }
        override set(_sid: string, _data: object, callback?: () => void): void { callback?.() }
        override destroy(_sid: string, callback?: () => void): void { callback?.() }
      }
      session({ secret: ["new", "old"], store: new Mine() });
      session({ secret: "s", store: memoryStore(), principal: (s: { user?: string }) => s.user });
      session({ secret: "s", cookie: (req: { url: string }) => ({ path: req.url }) });
      // @ts-expect-error a store needs more
      session({ secret: "s", store: { get() {} } });`;
    expect(compiled("stores", { "a.mts": store })).toBe("");
  });
});
