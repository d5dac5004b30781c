// A page that uses the stock client's files as npm has them: two tabs count together.

import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { Server, edit, project } from "../server.mjs";
import { open, stats } from "./browser.mjs";

let server, browser;
before(async () => {
  const dist = dirname(createRequire(import.meta.url).resolve("partysocket"));
  await cp(dist, join(project, "web/stock"), { recursive: true });
  await edit("web/index.html", '"/_room/client.js"', '"./stock/index.js"');
  server = await Server.start();
  browser = await open();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

test("both tabs show each step of the count", async () => {
  const [one, two] = [await browser.tab(server.url), await browser.tab(server.url)];
  const shows = (page, count) => page.locator("#count", { hasText: new RegExp(`^${count}$`) }).waitFor();
  for (const page of [one, two]) await shows(page, 0);
  await one.click("#increment");
  await two.click("#increment");
  for (const page of [one, two]) await shows(page, 2);
  assert.deepEqual(await stats(one), { opens: 1, closes: 0 });
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
