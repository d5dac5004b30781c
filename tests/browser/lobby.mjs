// Tabs in two rooms, and a lobby that the rooms tell by calls how many people are in them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { shoot, stage } from "./browser.mjs";

const { server, browser } = await stage();
const lobby = await browser.tab(server.url);

const enter = (room) => browser.tab(`${server.url}/?room=${encodeURIComponent(room)}`);
/** Waits until the lobby shows these rooms and no others: `{name: "1 person"}`. */
const shows = (rooms) =>
  lobby.waitForFunction((wanted) => {
    const items = [...document.querySelectorAll("#rooms li a")];
    const found = items.map((item) => [item.firstChild.data, item.lastChild.textContent]);
    return JSON.stringify(found.sort()) === wanted;
  }, JSON.stringify(Object.entries(rooms).sort()));

test("the lobby shows the people of two rooms, as they come and go", async () => {
  await lobby.locator("#about", { hasText: "Nobody is in a room." }).waitFor();
  const red = await enter("red");
  const blue = await enter("blue");
  await shows({ red: "1 person", blue: "1 person" });
  await red.locator("#about", { hasText: "1 person here" }).waitFor();
  const second = await enter("red");
  await shows({ red: "2 people", blue: "1 person" });
  await red.locator("#about", { hasText: "2 people here" }).waitFor();
  await shoot(lobby, "lobby");
  await second.close();
  await blue.close();
  await shows({ red: "1 person" });
  await red.close();
  await shows({});
});

test("a name that a person writes is a room, and text", async () => {
  const name = "<b>green & co";
  const person = await browser.tab(server.url);
  await person.getByLabel("Room").fill(name);
  await person.getByRole("button", { name: "Enter" }).click();
  await person.locator("#about", { hasText: "1 person here" }).waitFor();
  await shows({ [name]: "1 person" });
  assert.equal(await lobby.locator("#rooms b").count(), 0);
  // The link in the lobby leads there, too.
  await lobby.locator("#rooms a").click();
  await lobby.locator("#about", { hasText: "2 people here" }).waitFor();
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
