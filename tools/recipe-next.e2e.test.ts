/**
 * recipes/next as its reader runs it: installed from its lockfile beside this package as npm delivers it, built, started
 * and visited. Next.js is too large to be a dependency of everybody, so it is installed here, into the cache, and kept.
 * Without a registry to install it from the tests are skipped, and listed with the reason; never with CI=true.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Program, startProgram } from "@sojourn/testbed";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOT } from "./source.ts";

const RECIPE = join(ROOT, "recipes/next");
/** Not below a node_modules: what is there is a package to Turbopack, not the application. */
const FOLDER = join(ROOT, ".sojourn/recipes/next");
const STEP_TIMEOUT_MS = 240_000;
/** Words in npm's output that mean "no registry" rather than "broken recipe". */
const NETWORK_WORDS =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH)\b|ENOTCACHED/;

function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    timeout: STEP_TIMEOUT_MS,
    env: { ...process.env, NEXT_TELEMETRY_DISABLED: "1" },
  });
  const output = `${stdout}\n${stderr}`;
  if (status === 0) return output;
  throw new Error(`${command} ${args.join(" ")} failed${error ? `: ${error.message}` : ""}:\n${output}`);
}

/** The lockfile as it was when the packages were installed; written last. */
const INSTALLED = join(FOLDER, "installed-lock.json");

function isInstalled(): boolean {
  const wanted = readFileSync(join(RECIPE, "package-lock.json"), "utf8");
  return existsSync(INSTALLED) && readFileSync(INSTALLED, "utf8") === wanted;
}

/** @returns why it cannot be installed here, or undefined */
function install(): string | undefined {
  if (!isInstalled()) rmSync(FOLDER, { recursive: true, force: true });
  for (const name of ["app", "lib"]) rmSync(join(FOLDER, name), { recursive: true, force: true });
  const isOurs = (path: string) => !/node_modules|\.next/.test(path.slice(RECIPE.length));
  cpSync(RECIPE, FOLDER, { recursive: true, filter: isOurs });
  if (isInstalled()) return undefined;
  // Not `ci`: a lockfile may lack the compilers of other systems, which are optional packages, and `ci` insists on them.
  const args = ["install", "--prefer-offline", "--no-audit", "--no-fund"];
  const retries = ["--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"];
  try {
    run("npm", [...args, ...retries], FOLDER);
  } catch (error) {
    const found = NETWORK_WORDS.exec(String(error));
    if (found === null || process.env.CI === "true") throw error;
    return `npm cannot reach its registry: ${found[0]}`;
  }
  cpSync(join(RECIPE, "package-lock.json"), INSTALLED);
  return undefined;
}

/** This package as npm delivers it. */
function addSojourn(): void {
  const home = join(FOLDER, "node_modules/sojourn");
  rmSync(home, { recursive: true, force: true });
  mkdirSync(home, { recursive: true });
  const packed = run(
    "npm",
    ["pack", "--silent", "--pack-destination", FOLDER],
    join(ROOT, "packages/sojourn"),
  );
  const file = /\S+\.tgz/.exec(packed)?.[0] ?? "";
  run("tar", ["-xzf", join(FOLDER, file), "-C", home, "--strip-components", "1"], FOLDER);
}

const obstacle = install();
const NEXT = join(FOLDER, "node_modules/next/dist/bin/next");

describe.skipIf(obstacle !== undefined)(`Next.js${obstacle ? ` (${obstacle})` : ""}`, () => {
  let server: Program;
  let origin: string;

  beforeAll(async () => {
    addSojourn();
    run(process.execPath, [NEXT, "build"], FOLDER);
    server = startProgram([NEXT, "start", "-H", "127.0.0.1", "-p", "0", FOLDER], {
      SESSION_SECRET: "a secret of the recipe for Next.js",
      NEXT_TELEMETRY_DISABLED: "1",
    });
    await server.said(/Ready in/);
    origin = /http:\/\/127\.0\.0\.1:\d+/.exec(server.output())?.[0] ?? "";
  }, 2 * STEP_TIMEOUT_MS);

  afterAll(() => server?.stop());

  /** A browser behind a proxy that ends TLS. */
  function browser() {
    let cookie = "";
    return {
      cookie: () => cookie,
      async send(path: string, init: RequestInit = {}, as = cookie): Promise<Response> {
        const headers = {
          ...(init.headers as Record<string, string>),
          "x-forwarded-proto": "https",
          cookie: as,
        };
        const response = await fetch(`${origin}${path}`, { redirect: "manual", ...init, headers });
        for (const line of response.headers.getSetCookie()) {
          cookie = /max-age=0|expires=thu, 01 jan 1970/i.test(line) ? "" : (line.split(";")[0] ?? "");
        }
        return response;
      },
    };
  }

  function adding(item: string): RequestInit {
    return {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ item }),
    };
  }

  /** As a browser without scripts sends the form of the page. */
  async function login(visitor: ReturnType<typeof browser>, user: string): Promise<Response> {
    const page = await (await visitor.send("/")).text();
    const form = new FormData();
    form.set(/name="(\$ACTION_ID_\w+)"/.exec(page)?.[1] ?? "", "");
    form.set("user", user);
    return visitor.send("/", { method: "POST", body: form });
  }

  async function pageOf(visitor: ReturnType<typeof browser>): Promise<string> {
    return (await (await visitor.send("/")).text()).replaceAll("<!-- -->", "");
  }

  test("route handlers: a reader gets no cookie, and what parallel requests write survives", async () => {
    const visitor = browser();
    expect(await (await visitor.send("/api/cart")).json()).toEqual({ principal: null, cart: [] });
    expect(visitor.cookie()).toBe("");
    await visitor.send("/api/cart", adding("tea"));
    expect(visitor.cookie()).toMatch(/^__Host-sid=/);
    const items = Array.from({ length: 10 }, (_, index) => `item ${index}`);
    await Promise.all(items.map((item) => visitor.send("/api/cart", adding(item))));
    const { cart } = (await (await visitor.send("/api/cart")).json()) as { cart: string[] };
    expect(cart.sort()).toEqual([...items, "tea"].sort());
  });

  test("server components read the session that route handlers write", async () => {
    const visitor = browser();
    await visitor.send("/api/cart", adding("tea"));
    expect(await pageOf(visitor)).toContain("Hello stranger, your cart holds 1.");
    expect(await pageOf(browser())).toContain("your cart holds 0.");
  });

  test("a server action logs in: a new id, the cart is kept, and the old id can no longer write", async () => {
    const visitor = browser();
    await visitor.send("/api/cart", adding("tea"));
    const old = visitor.cookie();
    expect((await login(visitor, "ada")).status).toBe(303);
    expect(visitor.cookie()).not.toBe(old);
    expect(await pageOf(visitor)).toContain("Hello ada, your cart holds 1.");
    const late = await visitor.send("/api/cart", adding("milk"), old);
    expect([late.status, await late.json()]).toEqual([
      409,
      expect.objectContaining({ code: "SESSION_ENDED" }),
    ]);
  });

  test("a logout ends the session and clears its cookie", async () => {
    const visitor = browser();
    await login(visitor, "eve");
    const held = visitor.cookie();
    const response = await visitor.send("/api/logout", { method: "POST" });
    expect([response.status, visitor.cookie()]).toEqual([303, ""]);
    const late = await visitor.send("/api/cart", {}, held);
    expect(await late.json()).toEqual({ principal: null, cart: [] });
  });
});
