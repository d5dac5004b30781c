// Tabs in two rooms and one in the lobby: the rooms report to the lobby, and the lobby announces to the rooms.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BUILD_MS, edit } from "../server.mjs";
import { shoot, stage, stats } from "./browser.mjs";

const { server, browser } = await stage({ args: ["--ephemeral"] });
const lobby = await browser.tab(server.url);

const enter = (room) => browser.tab(`${server.url}/?room=${encodeURIComponent(room)}`);
const reads = (page, selector, text) => page.locator(selector, { hasText: text }).first().waitFor();
/** Waits until the lobby shows these rooms and no others. */
const shows = (rooms) =>
  lobby.waitForFunction((wanted) => {
    const items = [...document.querySelectorAll("#rooms a")];
    const found = items.map((item) => [item.querySelector("b").textContent, item.querySelector("span").textContent]);
    return JSON.stringify(found.sort()) === wanted;
  }, JSON.stringify(Object.entries(rooms).sort()));

test("the lobby counts the people of two rooms, as they come and go", async () => {
  await reads(lobby, "#sum", "0 rooms, 0 people");
  const red = await enter("red");
  const blue = await enter("blue");
  const second = await enter("red");
  await shows({ red: "2 people", blue: "1 person" });
  await reads(red, "#sum", "2 people here");
  await reads(lobby, "#sum", "2 rooms, 3 people");
  await second.getByRole("button", { name: "Wave" }).click();
  await reads(red, "#waves", "1 wave");

  // The lobby calls every room that it has counted.
  await lobby.getByLabel("Announcement").fill("<b>tea</b> is ready");
  await lobby.getByRole("button", { name: "Announce" }).click();
  for (const page of [red, blue, second, lobby]) await reads(page, "#notice", "<b>tea</b> is ready");
  await shoot(lobby, "lobby-ts");
  await shoot(red, "lobby-ts-meeting");

  // New code of both classes, the same sockets.
  await edit("src/lobby.ts", "const notice: ToClient = { type: \"notice\", text };", "const notice: ToClient = { type: \"notice\", text: `${text}!` };");
  await server.line(/4 sockets kept/, BUILD_MS);
  await lobby.getByLabel("Announcement").fill("again");
  await lobby.getByRole("button", { name: "Announce" }).click();
  await reads(lobby, "#notice", "again!");
  for (const page of [red, blue, second, lobby]) assert.deepEqual(await stats(page), { opens: 1, closes: 0 });

  await second.close();
  await shows({ red: "1 person", blue: "1 person" });
  await red.close();
  await blue.close();
  await shows({});
  assert.deepEqual(await (await fetch(`${server.url}/parties/lobby/all`)).json(), []);
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
