// A page follows a task by EventSource, which connects again after a crash of the server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server } from "../server.mjs";
import { open, shoot } from "./browser.mjs";

let server, browser;
before(async () => {
  server = await Server.start();
  browser = await open();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

test("an EventSource shows each step, through a crash, to the end", async () => {
  // What a browser says of a response that broke off, of a server that is away, and of one that starts.
  const page = await browser.blank(/ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|503/);
  await page.goto(server.url);
  await page.locator("#state", { hasText: "not started" }).waitFor();
  await page.click("button");
  const done = () => page.evaluate(() => document.querySelector("progress").value);
  await page.waitForFunction(() => document.querySelector("progress").value >= 3);
  assert.equal(await page.locator("button").isDisabled(), true);
  const before = await done();
  await server.kill();
  server = await Server.start({ port: server.port });
  await page.waitForFunction((before) => document.querySelector("progress").value > before, before);
  await shoot(page, "progress");
  await page.locator("#state", { hasText: "40 of 40" }).waitFor();
  assert.equal(await page.locator("button").isDisabled(), false);
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
