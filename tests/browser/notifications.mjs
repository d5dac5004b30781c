// Two pages without a WebSocket: one with an EventSource, one that polls. What one reads is read in the other.

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

const notify = async (page, text) => {
  await page.fill("input", text);
  await page.click("button");
};

test("two pages notify each other, through a crash of the server", async () => {
  // What a browser says of a response that broke off, of a server that is away, of one that starts, and of a post with a
  // secret of the time before.
  const away = /ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|503|403/;
  const [stream, poll] = [await browser.blank(away), await browser.blank(away)];
  await stream.goto(server.url);
  await poll.goto(`${server.url}/?by=poll`);
  await stream.locator("#by", { hasText: "sse" }).waitFor();
  await poll.locator("#by", { hasText: "long-poll" }).waitFor();
  await notify(stream, "tea is ready");
  await notify(poll, "so is the cake");
  for (const page of [stream, poll]) {
    await page.locator("li", { hasText: "tea is ready" }).waitFor();
    await page.locator("li", { hasText: "so is the cake" }).waitFor();
  }
  await poll.locator("li", { hasText: "tea" }).click();
  for (const page of [stream, poll]) {
    await page.locator("li.read", { hasText: "tea is ready" }).waitFor();
    await page.locator("#unread", { hasText: "(1)" }).waitFor();
  }
  await shoot(poll, "notifications");
  await server.kill();
  server = await Server.start({ port: server.port });
  // Both are back when both hear what comes now.
  const heard = async (text) => {
    await notify(stream, text);
    const seen = (page) => page.locator("li", { hasText: text }).waitFor({ timeout: 2000 }).then(() => true, () => false);
    return (await Promise.all([seen(stream), seen(poll)])).every(Boolean);
  };
  let tries = 0;
  while (!(await heard(`after the crash ${tries}.`))) assert.ok(++tries < 15, "both pages come back");
  for (const [page, by] of [[stream, "sse"], [poll, "long-poll"]]) {
    assert.equal(await page.locator("li.read").count(), 1);
    assert.equal(await page.locator("#by").textContent(), by);
  }
});

test("a page polls where no stream gets through", async () => {
  const page = await browser.blank();
  // A proxy that waits for the end of each answer never passes a stream on.
  await page.route(/\/parties\//, (route) => {
    if (route.request().headers().accept !== "text/event-stream") return route.continue();
  });
  await page.goto(`${server.url}/?room=held`);
  await page.locator("#by", { hasText: "long-poll" }).waitFor();
  await notify(page, "by another way");
  await page.locator("li", { hasText: "by another way" }).waitFor();
  await page.waitForFunction(() => document.querySelector("input").value === "");
});

test("a notice that was not sent stays in the form", async () => {
  const page = await browser.blank(/503/);
  await page.goto(`${server.url}/?room=full`);
  await page.locator("#by", { hasText: "sse" }).waitFor();
  const busy = (route) => (route.request().method() === "POST" ? route.fulfill({ status: 503 }) : route.continue());
  await page.route(/\/parties\//, busy);
  await notify(page, "not lost");
  await page.locator("#failed", { hasText: "503" }).waitFor();
  assert.equal(await page.inputValue("input"), "not lost");
  await page.unrouteAll();
  await page.click("button");
  await page.locator("li", { hasText: "not lost" }).waitFor();
  await page.waitForFunction(() => document.querySelector("#failed").textContent === "");
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
