// Two tabs chat in a room in TypeScript while its code is replaced.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BUILD_MS, edit } from "../server.mjs";
import { shoot, stage } from "./browser.mjs";

const OLD = "Welcome! Everything here is live.";
const NEW = "The code was replaced, you were not.";

const { server, browser } = await stage({ args: ["--ephemeral"] });

const reads = (page, selector, text) => page.locator(selector, { hasText: text }).first().waitFor({ timeout: BUILD_MS });
const say = async (page, text) => {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
};

test("two tabs chat, one that comes later reads what was said, and new code reaches all by the same sockets", async () => {
  const [ada, bob] = [await browser.tab(server.url), await browser.tab(server.url)];
  await reads(ada, "#people", "2 here");
  await ada.fill("#name", "Ada");
  await say(ada, "hello from <b>TypeScript</b>");
  await reads(bob, "#log", "Ada");
  await reads(bob, "#log p", "hello from <b>TypeScript</b>");
  const late = await browser.tab(server.url);
  await reads(late, "#log p", "hello from <b>TypeScript</b>");
  await edit("src/server.ts", OLD, NEW);
  assert.match(await server.line(/reloaded in/, BUILD_MS), /3 sockets kept/);
  for (const page of [ada, bob, late]) await reads(page, "#greeting", NEW);
  await bob.fill("#name", "Bob");
  await say(bob, "still here");
  await reads(ada, "#log p", "still here");
  await shoot(ada, "chat-ts");
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
