// Two tabs count the same number, which HTTP counts, too.

import assert from "node:assert/strict";
import { test } from "node:test";
import { shoot, stage, stats } from "./browser.mjs";

const { server, browser } = await stage();

const shows = (page, count) => page.locator("#count", { hasText: new RegExp(`^${count}$`) }).waitFor();

test("both tabs show each step of the count", async () => {
  const [one, two] = [await browser.tab(server.url), await browser.tab(server.url)];
  for (const page of [one, two]) await shows(page, 0);
  await one.click("#increment");
  await shows(one, 1);
  await two.click("#increment");
  for (const page of [one, two]) await shows(page, 2);
  await fetch(`${server.url}/parties/main/lobby`, { method: "POST" });
  for (const page of [one, two]) await shows(page, 3);
  assert.deepEqual(await stats(one), { opens: 1, closes: 0 });
  await shoot(one, "counter");
  await two.emulateMedia({ colorScheme: "dark" });
  await shoot(two, "counter-dark");
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
