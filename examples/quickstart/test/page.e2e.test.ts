/** The shop in a real browser: what a newcomer does first, under the strategies whose difference it is about. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isAlive, Quickstart, routerSees, until } from "./quickstart.test.support.ts";

/** Set by `npm test` when the machine has one. */
const CHROMIUM = process.env.SOJOURN_CHROMIUM;
/** Set to keep the pictures: every language, theme and width of the page. */
const KEPT = process.env.SOJOURN_PICTURES;
const PICTURES = KEPT ?? mkdtempSync(join(tmpdir(), "quickstart-pictures-"));

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

describe.skipIf(CHROMIUM === undefined)("the page in Chromium (chromium)", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  });
  afterAll(async () => {
    if (KEPT === undefined) rmSync(PICTURES, { recursive: true, force: true });
    await browser.close();
  });

  /** Opens the page and fails the test on anything the browser complains about, answers of dying servers apart. */
  async function open(url: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({ locale: "en-US", ...options });
    const page = await context.newPage();
    page.on("pageerror", (error) => {
      throw error;
    });
    page.on("console", (message) => {
      if (/Content Security Policy/.test(message.text())) throw new Error(message.text());
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(url)) throw new Error(`the page asks ${request.url()}`);
    });
    await page.goto(url);
    await page.waitForSelector(":root[data-ready]");
    return page;
  }

  const count = async (page: Page, name: string): Promise<number> =>
    Number(await page.textContent(`#count-${name}`));
  const answeredBy = (page: Page): Promise<string> =>
    page.getAttribute("#answered-by .badge", "data-server").then(String);

  async function login(page: Page, user: string): Promise<void> {
    await page.fill("#user", user);
    await page.click("#login button");
  }

  async function buy(page: Page, name: string): Promise<void> {
    const rows = await page.locator("#log tr").count();
    await page.getByRole("button", { name: `Add to the cart: ${name}` }).click();
    // One row for the change, one for the look at the session after it.
    await until(async () => (await page.locator("#log tr").count()) >= rows + 2, `${name} is answered`);
  }

  test("session server: log in, fill the cart, kill the server that answered, go on shopping, bring it back", async () => {
    await using it = await Quickstart.start();
    const page = await open(it.url);
    await login(page, "ada");
    await page.waitForSelector("#logged-in:not([hidden])");
    await buy(page, "Tent");
    await buy(page, "Mug");
    await buy(page, "Mug");
    const server = await answeredBy(page);
    const { pid } = it.entry(server);

    const card = page.locator(`.server[data-name="${server}"]`);
    await card.getByRole("button", { name: `Kill this server: ${server}` }).click();
    await card.getByText("Stopped").waitFor();
    expect(isAlive(pid)).toBe(false);
    await buy(page, "Umbrella");
    expect(await answeredBy(page)).not.toBe(server);
    expect(await page.textContent("#principal")).toBe("ada");
    expect(await page.locator("#cart li output").allTextContents()).toEqual(["1", "2", "1"]);
    expect([await count(page, "lost"), await count(page, "stale")]).toEqual([0, 0]);

    await card.getByRole("button", { name: `Bring it back: ${server}` }).click();
    await card.getByText("Running").waitFor();
    expect(it.entry(server).pid).not.toBe(pid);
    await routerSees(it.url, server, "up");

    // Round robin for this browser: every server answers, and all say the same.
    await page.getByRole("radio", { name: "Round robin" }).check();
    // The page's own look at the servers goes round, too, so a turn may pass between two purchases.
    const answering = new Set<string>();
    for (let turns = 0; turns < 12 && answering.size < 3; turns++) {
      await buy(page, ["Tent", "Map", "Compass"][turns % 3] ?? "Tent");
      answering.add(await answeredBy(page));
    }
    expect(answering).toEqual(new Set(["express", "fastify", "node"]));
    expect([await count(page, "lost"), await count(page, "stale")]).toEqual([0, 0]);
    await page.context().close();
  });

  test("session server: five parallel requests lose nothing, on attributes and on a counter", async () => {
    await using it = await Quickstart.start();
    const page = await open(it.url);
    await page.getByRole("radio", { name: "Round robin" }).check();
    for (const button of ["#parallel-attributes", "#parallel-counter"]) {
      await page.click(button);
      await page.locator("#result", { hasText: "5 of 5 updates kept." }).waitFor();
      await page.evaluate(() => document.querySelector("#result")?.replaceChildren());
    }
    expect([await count(page, "lost"), await count(page, "stale")]).toEqual([0, 0]);
    await page.context().close();
  });

  test("none: the count of lost sessions rises while nothing at all is broken", async () => {
    await using it = await Quickstart.start("none");
    const page = await open(it.url);
    expect(await page.locator("input[name=affinity]:disabled").count()).toBe(2);
    await login(page, "ada");
    for (const name of ["Tent", "Mug", "Map"]) await buy(page, name);
    expect((await count(page, "lost")) + (await count(page, "stale"))).toBeGreaterThan(0);
    expect(await count(page, "lost")).toBeGreaterThan(0);
    expect(await page.locator("#log .row-lost").count()).toBe(await count(page, "lost"));
    await page.click("#parallel-attributes");
    await page.locator("#result.result-bad", { hasText: "lost" }).waitFor();
    await page.context().close();
  });

  test("sticky: nothing is lost until the server is killed, then the session is", async () => {
    await using it = await Quickstart.start("sticky");
    const page = await open(it.url);
    await login(page, "ada");
    for (const name of ["Tent", "Mug", "Map"]) await buy(page, name);
    expect([await count(page, "lost"), await count(page, "stale")]).toEqual([0, 0]);
    await page.locator(`.server[data-name="${await answeredBy(page)}"] button`).click();
    await page.locator("#login:not([hidden])").waitFor();
    expect([await count(page, "lost"), await count(page, "stale")]).toEqual([1, 0]);
    expect(await page.locator("#cart li").count()).toBe(0);
    await page.context().close();
  });

  test("two tabs of one browser change the cart in turn, and neither calls the other's change stale", async () => {
    await using it = await Quickstart.start();
    const one = await open(it.url);
    await login(one, "ada");
    await one.waitForSelector("#logged-in:not([hidden])");
    const two = await one.context().newPage();
    await two.goto(it.url);
    await two.waitForSelector(":root[data-ready]");
    for (const page of [one, two, one, two]) {
      await page.getByRole("button", { name: "Add to the cart: Tent" }).click();
      await page.getByRole("button", { name: "Add to the cart: Key" }).isVisible();
    }
    for (const page of [one, two]) {
      await page.locator('#cart [data-product="tent"] output', { hasText: "4" }).waitFor();
      expect([await count(page, "lost"), await count(page, "stale")]).toEqual([0, 0]);
    }
    await one.click("#logout");
    await two.locator("#login:not([hidden])").waitFor();
    expect([await count(two, "lost"), await count(two, "stale")]).toEqual([0, 0]);
    await one.context().close();
  });

  test("a page of another site cannot kill: its requests reach the shop and are refused", async () => {
    await using it = await Quickstart.start();
    const context = await browser.newContext();
    const page = await context.newPage();
    // Same machine, another origin: to a browser, as foreign as any other site.
    await page.goto(it.shopUrl("node").replace("127.0.0.1", "localhost"));
    const { pid } = it.entry("express");
    const outcome = await page.evaluate(async (address) => {
      const response = await fetch(address, { method: "POST", mode: "no-cors" }).catch(() => null);
      return response?.type ?? "failed";
    }, `${it.url}/control/servers/express/kill`);
    expect(["opaque", "failed"]).toContain(outcome);
    await page.waitForFunction(() => document.querySelector('[data-name="express"] .lamp-running') !== null);
    expect(isAlive(pid)).toBe(true);
    await context.close();
  });

  test("everything can be done with the keyboard alone", async () => {
    await using it = await Quickstart.start();
    const page = await open(it.url);
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement?.className)).toBe("skip");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.locator('#cart [data-product="tent"]').waitFor();
    await page.locator("#user").focus();
    await page.keyboard.press("Enter");
    await page.waitForSelector("#logged-in:not([hidden])");
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("logout");
    await page.context().close();
  });

  test.each([
    ["ko-KR", "light"],
    ["ko-KR", "dark"],
    ["en-US", "light"],
    ["en-US", "dark"],
  ] as const)("%s, %s: nothing overflows and nothing moves, narrow or wide", async (locale, colorScheme) => {
    await using it = await Quickstart.start();
    for (const [width, height] of [
      [1280, 800],
      [1920, 1080],
      [390, 844],
    ] as const) {
      const page = await open(it.url, { locale, colorScheme, viewport: { width, height } });
      expect(await page.getAttribute("html", "lang")).toBe(locale.slice(0, 2));
      const place = () =>
        page.evaluate(() => (document.querySelector(".columns")?.getBoundingClientRect().top ?? 0) + scrollY);
      const before = await place();
      await login(page, "ada");
      await page.waitForSelector("#logged-in:not([hidden])");
      for (const product of [1, 4, 4, 8]) await page.click(`#goods-list li:nth-child(${product}) button`);
      await page.locator("#cart li:nth-child(3)").waitFor();
      expect(await place()).toBe(before);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
      await page.evaluate(() => scrollTo(0, 0));
      const path = join(PICTURES, `${width}-${locale.slice(0, 2)}-${colorScheme}.png`);
      await page.screenshot({ path, fullPage: width < 1000 });
      await page.context().close();
    }
  });
});
