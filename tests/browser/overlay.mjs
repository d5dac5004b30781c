// A page that loads `/_room/overlay.js` shows what is wrong with the code behind it, until it is right.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { BUILD_MS, Server, edit } from "../server.mjs";
import { open, shoot, stats } from "./browser.mjs";

const SCRIPT = '<script src="/_room/overlay.js"></script>';
const BAD = 'const N: u64 = "<img src=x onerror=alert(1)>";';
const COUNTS = "        self.increment(ctx)\n    }\n\n    /// `GET`";
const FAILS = '        panic!("<b>failed</b> in {}", ctx.name())\n    }\n\n    /// `GET`';

let server, browser, page;
before(async () => {
  await edit("web/index.html", "</head>", `${SCRIPT}\n</head>`);
  server = await Server.start();
  browser = await open();
  page = await browser.tab(server.url);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const overlay = () => page.locator("room-overlay");
const text = () => overlay().locator("pre").textContent();
const gone = () => overlay().waitFor({ state: "detached", timeout: BUILD_MS });

/** Waits for an overlay with this text. */
const shows = (part) =>
  overlay().locator("pre", { hasText: part }).waitFor({ timeout: BUILD_MS });

test("an error of the compiler is shown as text, while the old code serves", async () => {
  assert.equal(await overlay().count(), 0);
  await edit("src/lib.rs", 'const KEY: &str = "count";', `const KEY: &str = "count";\n${BAD}`);
  await shows("error[E0308]: mismatched types");
  assert.match(await text(), /src\/lib\.rs:\d+:\d+/);
  assert.ok((await text()).includes("<img src=x onerror=alert(1)>"));
  assert.equal(await overlay().locator("img").count(), 0);
  assert.equal(await overlay().locator("h1").textContent(), "it does not compile");
  await shoot(page, "overlay-build");
  const counted = await fetch(`${server.url}/parties/main/lobby`, { method: "POST" });
  assert.deepEqual(await counted.json(), { count: 1 });
});

test("a page that loads during the error shows it as well, and Escape hides it", async () => {
  const late = await browser.tab(server.url);
  await late.locator("room-overlay pre", { hasText: "error[E0308]" }).waitFor();
  await late.keyboard.press("Escape");
  await late.locator("room-overlay").waitFor({ state: "detached" });
  await late.close();
});

test("it disappears when the next build succeeds", async () => {
  await edit("src/lib.rs", `\n${BAD}`, "");
  await gone();
  assert.deepEqual(await stats(page), { opens: 1, closes: 0 });
});

test("a fault of a room is shown, until the code is replaced", async () => {
  await edit("src/lib.rs", COUNTS, FAILS);
  await server.line(/reloaded in/, BUILD_MS);
  await page.click("#increment");
  await shows("<b>failed</b> in lobby");
  assert.match(await text(), /^main\/lobby failed in message\n/);
  // What the panic said is among it.
  assert.ok((await text()).includes("<b>failed</b> in lobby"), await text());
  assert.equal(await overlay().locator("b").count(), 0);
  await shoot(page, "overlay-fault");
  await edit("src/lib.rs", FAILS, COUNTS);
  await gone();
});

test("a mistake in room.toml is shown with its line", async () => {
  await edit("room.toml", "[assets]", "[asets]");
  await shows("did you mean `assets`?");
  assert.match(await text(), /^error\[R0004\]: room\.toml has no key `asets`/);
  await edit("room.toml", "[asets]", "[assets]");
  await gone();
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
