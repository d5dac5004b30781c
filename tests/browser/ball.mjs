// Two tabs see one ball: a kick in one of them changes its way in both, and is counted.

import assert from "node:assert/strict";
import { test } from "node:test";
import { shoot, stage } from "./browser.mjs";

const { server, browser } = await stage();

const place = (page) => page.evaluate(() => document.getElementById("ball").style.translate);
const kicks = (page, count) => page.locator("#kicks", { hasText: new RegExp(`^${count}$`) }).waitFor();

test("the ball moves in both tabs, and a kick by key or by click counts in both", async () => {
  const [one, two] = [await browser.tab(server.url), await browser.tab(server.url)];
  for (const page of [one, two]) {
    await kicks(page, 0);
    const before = await place(page);
    await page.waitForFunction((old) => document.getElementById("ball").style.translate !== old, before);
  }
  await one.locator("#stage").press("ArrowRight");
  for (const page of [one, two]) await kicks(page, 1);
  await two.locator("#stage").click({ position: { x: 40, y: 300 } });
  for (const page of [one, two]) await kicks(page, 2);
  await shoot(one, "ball");
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
