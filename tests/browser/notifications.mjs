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

test("two pages notify each other, through a crash of the server", async () => {
  // What a browser says of a response that broke off, of a server that is away, of one that starts, and of a post with a
  // secret of the time before.
  const away = /ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|503|403/;
  const [stream, poll] = [await browser.blank(away), await browser.blank(away)];
  await stream.goto(server.url);
  await poll.goto(`${server.url}/?by=poll`);
  await stream.locator("#by", { hasText: "sse" }).waitFor();
  await poll.locator("#by", { hasText: "long-poll" }).waitFor();
  const notify = async (page, text) => {
    await page.fill("input", text);
    await page.click("button");
  };
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
  for (const page of [stream, poll]) {
    await page.waitForFunction(() => document.querySelector("#by").textContent !== "…");
  }
  // Both are back when both hear what comes now.
  const heard = async () => {
    for (let number = 0; ; number += 1) {
      const text = `after the crash ${number}`;
      await notify(stream, text).catch(() => {});
      const seen = (page) => page.locator("li", { hasText: text }).waitFor({ timeout: 2000 }).then(() => true, () => false);
      if ((await Promise.all([seen(stream), seen(poll)])).every(Boolean)) return;
    }
  };
  await heard();
  assert.equal(await poll.locator("li.read").count(), 1);
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
