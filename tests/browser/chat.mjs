// Two people chat in two tabs, while somebody changes the room's code under them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BUILD_MS, edit } from "../server.mjs";
import { shoot, stage, stats } from "./browser.mjs";

const OLD = "Welcome! Everything here is live.";
const NEW = "The code was replaced, you were not.";
const LAST = "And once more.";

const { server, browser } = await stage();
let ada, bob;

const has = (page, selector, text) => page.locator(selector, { hasText: text }).first().waitFor();
const people = (page) => page.locator("#who .called").allTextContents();
const say = async (page, text) => {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
};

/** Both sockets are the ones of the beginning. */
async function assertNobodyLeft() {
  for (const page of [ada, bob]) assert.deepEqual(await stats(page), { opens: 1, closes: 0 });
}

test("both pages show the members and each other's messages", async () => {
  [ada, bob] = [await browser.tab(server.url), await browser.tab(server.url)];
  for (const [page, name] of [[ada, "Ada"], [bob, "Bob"]]) {
    await page.fill("#name", name);
    await page.press("#name", "Tab");
    await has(page, "#who", name);
  }
  await has(ada, "#who", "Bob");
  assert.deepEqual((await people(ada)).sort(), ["Ada", "Bob"]);
  assert.deepEqual((await people(bob)).sort(), ["Ada", "Bob"]);

  await say(ada, "Hello, is anyone here?");
  await has(bob, "#log p", "Hello, is anyone here?");
  await say(bob, "<b>Yes</b> & I am typing HTML");
  await has(ada, "#log p", "<b>Yes</b> & I am typing HTML");
  assert.deepEqual(await ada.locator("#log b").allTextContents(), ["Ada", "Bob"]);
  assert.equal(await bob.locator("#greeting").textContent(), OLD);
  await shoot(ada, "chat");
});

test("a save reaches both pages, and both sockets stay", async () => {
  await edit("src/lib.rs", OLD, NEW);
  await server.line(/reloaded in .* 1 room, 2 sockets kept/, BUILD_MS);
  for (const page of [ada, bob]) await has(page, "#greeting", NEW);
  await assertNobodyLeft();
  await say(ada, "Still here after the reload");
  await has(bob, "#log p", "Still here after the reload");
  await shoot(bob, "chat-reloaded");
});

test("code that does not compile changes nothing, and the page shows the compiler's error", async () => {
  await edit("src/lib.rs", `"${NEW}"`, `"${NEW}" + 1`);
  await server.line(/^error\[E\d+\]: cannot add/, BUILD_MS);
  await server.line(/^ *--> src\/lib\.rs:\d+:\d+/);
  await server.line(/it does not compile: the last good code keeps serving/, BUILD_MS);
  await say(bob, "The old code still serves");
  await has(ada, "#log p", "The old code still serves");

  await edit("src/lib.rs", `"${NEW}" + 1`, `"${LAST}"`);
  await server.line(/reloaded in .* 2 sockets kept/, BUILD_MS);
  for (const page of [ada, bob]) await has(page, "#greeting", LAST);
  await assertNobodyLeft();
});

test("a later page reads the history, also on a narrow dark screen", async () => {
  const late = await browser.tab(`${server.url}/?room=lobby`);
  await late.setViewportSize({ width: 390, height: 760 });
  await late.emulateMedia({ colorScheme: "dark" });
  assert.equal(await late.locator("#log li").count(), 4);
  await has(ada, "#who li:nth-child(3)", "");
  await shoot(late, "chat-narrow-dark");
  await late.close();
  await ada.waitForFunction(() => document.querySelectorAll("#who li").length === 2);
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
