// Two tabs with a page in React chat while the room's code is replaced; then the page itself is edited.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BUILD_MS, edit } from "../server.mjs";
import { shoot, stage } from "./browser.mjs";

const OLD = "Welcome! Everything here is live.";
const NEW = "The code was replaced, you were not.";

const { server, browser } = await stage({ args: ["--ephemeral"] });
let ada, bob;

const reads = (page, selector, text) => page.locator(selector, { hasText: text }).first().waitFor({ timeout: BUILD_MS });
const say = async (page, text) => {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
};

/** A tab that counts the sockets that its page opens. */
async function tab() {
  const page = await browser.blank();
  page.sockets = 0;
  page.on("websocket", () => (page.sockets += 1));
  await page.goto(server.url);
  await page.locator('#status[data-is="connected"]').waitFor();
  return page;
}

test("two tabs chat, and new code of the room reaches both by the same sockets", async () => {
  [ada, bob] = [await tab(), await tab()];
  await reads(ada, "#people", "2 here");
  await ada.fill("#name", "Ada");
  await say(ada, "hello from <b>React</b>");
  await reads(bob, "#log", "Ada");
  await reads(bob, "#log p", "hello from <b>React</b>");
  const before = [ada.sockets, bob.sockets];
  await edit("src/server.ts", OLD, NEW);
  assert.match(await server.line(/reloaded in/, BUILD_MS), /2 sockets kept/);
  for (const page of [ada, bob]) await reads(page, "#greeting", NEW);
  await say(bob, "still here");
  await reads(ada, "#log p", "still here");
  await shoot(ada, "react-ts");
  assert.deepEqual([ada.sockets, bob.sockets], before);
});

test("an error of the page has its file and line, and the last good page stays", async () => {
  await edit("page/chat.tsx", 'const TITLE = "Chat";', 'const TITLE: number = "Chat";');
  const error = await server.line(/page\/chat\.tsx:\d+:\d+/, BUILD_MS);
  assert.match(error, /TS2322/);
  await server.line(/the last good code keeps serving/, BUILD_MS);
  await ada.locator("room-overlay pre", { hasText: "page/chat.tsx" }).waitFor();
  assert.ok(!(await (await fetch(`${server.url}/dist/main.js`)).text()).includes("TITLE: number"));
  await edit("page/chat.tsx", 'const TITLE: number = "Chat";', 'const TITLE = "Talk" as;');
  assert.match(await server.line(/page\/chat\.tsx:\d+:\d+/, BUILD_MS), /chat\.tsx/);
});

test("a good save of the page is loaded by the tabs, and the room keeps its history", async () => {
  await edit("page/chat.tsx", 'const TITLE = "Talk" as;', 'const TITLE = "Talk";');
  for (const page of [ada, bob]) {
    await reads(page, "h1", "Talk");
    await reads(page, "#log p", "still here");
    await page.locator("room-overlay").waitFor({ state: "detached" });
  }
  await edit("page/style.css", "max-width: 720px", "max-width: 719px");
  // While a page loads it has no content.
  const isNarrow = () => {
    const main = document.querySelector("main");
    return main !== null && getComputedStyle(main).maxWidth === "719px";
  };
  await ada.waitForFunction(isNarrow, null, { timeout: BUILD_MS });
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
