// Two pages that see each other: who is here, who is away, who is typing, and a page that loads again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { shoot, stage } from "./browser.mjs";

const { server, browser } = await stage();

const person = (page, name) => page.locator("#users li", { hasText: name });

test("two pages see who is here and who types, also through a page that loads again", async () => {
  const ada = await browser.tab(`${server.url}/?name=Ada`);
  const bob = await browser.tab(`${server.url}/?name=Bob`);
  for (const page of [ada, bob]) for (const name of ["Ada", "Bob"]) await person(page, name).waitFor();
  await bob.locator("form input").pressSequentially("hello");
  await ada.locator("#users li.typing", { hasText: "Bob" }).waitFor();
  await shoot(ada, "lounge");
  await bob.click("button");
  await ada.locator("#said li", { hasText: "Bob hello" }).waitFor();
  await ada.waitForFunction(() => document.querySelector("#users li.typing") === null);
  // Bob has another name without another user.
  const user = await person(ada, "Bob").getAttribute("data-user");
  await bob.fill("[name=me]", "Robert");
  await bob.locator("form input").focus();
  await person(ada, "Robert").waitFor();
  assert.equal(await person(ada, "Robert").getAttribute("data-user"), user);
  // A page that is gone is away for a while, and gone after its grace.
  await bob.close();
  await ada.locator("#users li.away", { hasText: "Robert" }).waitFor();
  await person(ada, "Robert").waitFor({ state: "detached", timeout: 20_000 });
  assert.equal(await ada.locator("#users li").count(), 1);
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
