// Chromium for the tests, with a profile of its own, and pages that may not log errors.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { chromium } from "playwright-core";
import { STEP_MS, Server } from "../server.mjs";

const ARGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

/** What is asked for ends with the page or view that asked, be it an icon that nobody waits for. */
const ENDED_BY_PAGE = "net::ERR_ABORTED";

/** A browser; `errors` gathers what its pages complain about. */
export async function open() {
  const profile = await mkdtemp(join(tmpdir(), "room-browser-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM,
    args: ARGS,
    viewport: { width: 1100, height: 720 },
  });
  context.setDefaultTimeout(STEP_MS);
  const errors = [];
  return {
    errors,
    /** A tab with a page, once its socket is open. */
    async tab(url) {
      const page = await this.blank();
      await page.goto(url);
      await page.locator('#status[data-is="connected"]').waitFor();
      return page;
    },
    /** A tab with nothing in it yet; `expected` are complaints that belong to its test. */
    async blank(expected = /(?!)/) {
      const page = await context.newPage();
      const complain = (text) => expected.test(text) || errors.push(text);
      page.on("pageerror", (error) => complain(String(error)));
      page.on("requestfailed", (request) => {
        const { errorText } = request.failure();
        if (errorText !== ENDED_BY_PAGE) complain(`${request.url()} failed: ${errorText}`);
      });
      page.on("console", (message) => {
        if (message.type() === "error" || message.type() === "warning") complain(message.text());
      });
      return page;
    },
    async close() {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}

/** A server of the project and a browser, for all tests of a file. `options` are those of `Server.start`. */
export async function stage(options) {
  const server = await Server.start(options);
  let browser;
  after(async () => {
    await browser?.close();
    await server.stop();
  });
  browser = await open();
  return { server, browser };
}

/** Keeps a picture for inspection. */
export const shoot = (page, name) =>
  page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`) });

/** What a page's socket went through. */
export const stats = (page) => page.evaluate(() => window.roomStats);
