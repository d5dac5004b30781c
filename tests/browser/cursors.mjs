// Two tabs see each other's cursor.

import assert from "node:assert/strict";
import { test } from "node:test";
import { shoot, stage, stats } from "./browser.mjs";

const { server, browser } = await stage();

test("a cursor shows the other page's position, and disappears with its page", async () => {
  const [one, two] = [await browser.tab(server.url), await browser.tab(server.url)];
  await two.bringToFront();
  await two.mouse.move(700, 360);
  await one.locator(".cursor").waitFor();
  await one.waitForFunction(() => {
    const { x, y } = document.querySelector(".cursor").getBoundingClientRect();
    return Math.abs(x - 700) < 3 && Math.abs(y - 360) < 3;
  });
  assert.equal(await one.locator("#online").textContent(), "1 other cursor");
  await one.bringToFront();
  await one.mouse.move(300, 200);
  await two.locator(".cursor").waitFor();

  // A later client receives all positions.
  const late = await browser.tab(server.url);
  await late.locator(".cursor").nth(1).waitFor();
  await shoot(late, "cursors");
  assert.deepEqual(await stats(one), { opens: 1, closes: 0 });

  await two.close();
  await late.waitForFunction(() => document.querySelectorAll(".cursor").length === 1);
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
