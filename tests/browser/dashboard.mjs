// The dashboard of `room dev`: what an operator sees, changes, and is not shown.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import WebSocket from "ws";
import { Server, STEP_MS, project, within } from "../server.mjs";
import { open, shoot } from "./browser.mjs";

const HOSTILE = `<img src=x onerror="alert('x')">`;
const PHONE = { width: 360, height: 740 };
/** A room is asked for that is not there yet. */
const EXPECTED = /status of 404/;

let server, browser, page, token, link;
before(async () => {
  server = await Server.start();
  browser = await open();
  ({ token } = JSON.parse(await readFile(join(project, ".room/state/control.json"), "utf8")));
  page = await browser.blank(EXPECTED);
  await count(page);
  // The link from the terminal, which signs one page in.
  link = server.lines.find((line) => line.includes("#link=")).match(/http:\S+/)[0];
  await page.goto(link);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Counts what the page's policy had to keep it from, from its beginning on. */
const count = (page) =>
  page.addInitScript(() => {
    window.violations = [];
    addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
      window.violations.push(`${violatedDirective} ${blockedURI}`),
    );
  });

/** A client of a room, and what it hears. */
async function client(room, id) {
  const socket = new WebSocket(
    `ws://${server.host}/parties/main/${encodeURIComponent(room)}?_pk=${id}&quiet=1`,
  );
  const heard = [];
  let wake = () => {};
  const closed = new Promise((resolve) =>
    socket.addEventListener("close", ({ code, reason }) => resolve([code, reason])),
  );
  socket.addEventListener("message", ({ data }) => {
    heard.push(data);
    wake();
  });
  await within(
    STEP_MS,
    "open socket",
    new Promise((resolve) => socket.addEventListener("open", resolve)),
  );
  const next = async () => {
    while (!heard.length) await new Promise((resolve) => (wake = resolve));
    return heard.shift();
  };
  return {
    closed: () => within(STEP_MS, "close", closed),
    close: () => socket.close(),
    /** Sends a text, or a script, and hears one text. */
    ask(said) {
      socket.send(typeof said === "string" ? said : JSON.stringify(said));
      return within(STEP_MS, "answer", next());
    },
  };
}

// On the origin of the link, as the tab keeps its token for that.
const go = (hash) => page.goto(`${new URL(link).origin}/_room/#/${hash}`);
const panel = (name) => page.getByRole("region", { name, exact: true }).first();
const section = (name) =>
  page.locator("section.panel", { has: page.getByRole("heading", { name, exact: true }) });
const figure = (title) => page.locator("figure", { hasText: title });
const see = (locator) => locator.waitFor();
const fill = (label, text, within = page) => within.getByLabel(label, { exact: true }).fill(text);
/** Waits until a locator's text is as it should be. */
async function reads(locator, pattern) {
  await see(locator.filter({ hasText: pattern }).first());
}

test("the token moves from the address into the tab, and nowhere else", async () => {
  await see(figure("Connections"));
  assert.ok(!page.url().includes("token"), page.url());
  assert.equal(await page.evaluate(() => sessionStorage.getItem("room-token")), token);
});

test("a wrong token is refused with a message, and the right one signs in", async () => {
  const other = await browser.blank(/401/);
  await other.goto(`${server.url}/_room/#token=wrong`);
  await see(other.getByRole("alert").filter({ hasText: "does not know this token" }));
  await shoot(other, "dashboard-sign-in");
  await other.getByLabel("Token").fill(token);
  await other.getByRole("button", { name: "Sign in" }).click();
  await see(other.locator("figure", { hasText: "Connections" }));
  await other.close();
});

test("a used link is refused with a message", async () => {
  const other = await browser.blank(/403/);
  await other.goto(link);
  await see(other.getByRole("alert").filter({ hasText: "this link has been used" }));
  assert.ok(!other.url().includes("link="), other.url());
  assert.equal(await other.evaluate(() => sessionStorage.getItem("room-token")), null);
  await other.close();
});

test("the overview shows live figures", async () => {
  const a = await client("lobby", "a");
  const b = await client("lobby", "b");
  await reads(figure("Connections").locator("b"), /^2$/);
  let asking = true;
  const talk = (async () => {
    while (asking) await a.ask([{ add: "n" }]);
  })();
  await reads(figure("Messages a second").locator("b").first(), /[1-9]/);
  await reads(figure("Turn").locator("b").first(), /\d (µs|ms)/);
  await reads(figure("Commit").locator("b").first(), /\d (µs|ms)/);
  await reads(figure("Memory of guests").locator("b"), /[1-9].* [KM]iB/);
  await page.locator("figure .line-0[d*=L]").first().waitFor({ state: "attached" });
  await reads(section("Busiest rooms").locator("tbody tr"), /lobby/);
  await shoot(page, "dashboard-overview");
  asking = false;
  await talk;
  a.close();
  b.close();
  await reads(figure("Connections").locator("b"), /^0$/);
});

test("the overview shows the crons, and how their last calls ended", async () => {
  const rows = section("Crons").locator("tbody tr");
  await reads(rows, /^index0 0 1 1 \*UTCmain\/indexin \d+ d.*–––$/);
  await reads(rows, /^prune0 3 \* \* \*Europe\/Berlineach room of mainin \d+ (h|min|s)/);
  const run = await fetch(`${server.url}/_room/admin/crons/index/run`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
  });
  assert.equal(run.status, 200);
  await reads(rows, /^index.*(now|ago)10$/);
  const found = { name: "bad", schedule: "@daily", zone: "UTC", party: "main", room: "x", next_ms: null };
  const last = { at_ms: 1, rooms: 3, dropped: 2, error: HOSTILE };
  await page.route("**/admin/crons", (route) => {
    const crons = [{ ...found, running_ms: null, last: { ...last, ended_ms: Date.now() } }];
    return route.fulfill({ json: { crons } });
  });
  await reads(rows, /^bad.*never.*now.*32$/);
  await reads(rows.locator(".problem"), HOSTILE);
  assert.equal(await section("Crons").locator("img").count(), 0);
  await section("Crons").scrollIntoViewIfNeeded();
  await shoot(page, "dashboard-crons-failed");
  await page.unroute("**/admin/crons");
  await reads(rows, /^prune/);
  await section("Crons").scrollIntoViewIfNeeded();
  await shoot(page, "dashboard-crons");
  await section("Crons").locator("tbody").getByRole("link", { name: "main/index" }).click();
  await see(page.getByRole("heading", { level: 1, name: "index" }));
  await go("overview");
  await see(section("Crons"));
  await look("dashboard-crons", "phone");
});

test("a room is found among many, and a hostile name is text", async () => {
  const script = JSON.stringify([{ put: ["k", 1] }]);
  for (const name of [...Array(60).keys()].map((n) => `game-${n}`).concat(HOSTILE)) {
    await fetch(`${server.url}/parties/main/${encodeURIComponent(name)}`, {
      method: "POST",
      body: script,
    });
  }
  await page.getByRole("link", { name: "Rooms" }).click();
  const rows = section("Rooms").locator("tbody tr");
  await reads(section("Rooms").getByRole("status"), /Page 1/);
  await page.getByRole("button", { name: "Next" }).click();
  await reads(section("Rooms").getByRole("status"), /Page 2/);
  await fill("Name", "game-59");
  await reads(rows, /game-59/);
  await rows.nth(1).waitFor({ state: "detached" });
  await page.getByLabel("Sort by").selectOption("bytes");
  await fill("Name", "onerror");
  await reads(rows, HOSTILE);
  await shoot(page, "dashboard-rooms");
  await rows.getByRole("link").click();
  await see(page.getByRole("heading", { level: 1, name: HOSTILE }));
  assert.equal(await page.locator("main img").count(), 0);
});

test("the room reads an edited value, and the socket stays", async () => {
  const a = await client("edited", "a");
  await a.ask([{ put: ["count", 41] }, { put: [HOSTILE, { html: HOSTILE }] }, { say: "put" }]);
  await go("room/main/edited");
  const storage = section("Storage");
  await reads(storage.locator("tbody tr"), HOSTILE);
  assert.equal(await storage.locator("tbody img").count(), 0);
  await storage.getByRole("button", { name: "count" }).click();
  await fill("Value", "{ nonsense", page.getByRole("dialog"));
  await page.getByRole("button", { name: "Save" }).click();
  await see(page.getByRole("dialog").getByRole("alert"));
  await fill("Value", "12345678901234567890", page.getByRole("dialog"));
  await shoot(page, "dashboard-storage");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(await a.ask([{ get: "count" }]), "12345678901234567890");
  // A number that JavaScript cannot hold is shown as it is stored.
  await reads(storage.locator("tbody tr"), /12345678901234567890/);
  await storage.getByRole("button", { name: "New key" }).click();
  await fill("Key", "new/key?", page.getByRole("dialog"));
  await fill("Value", '"made here"', page.getByRole("dialog"));
  await page.getByRole("button", { name: "Save" }).click();
  await reads(storage.locator("tbody tr"), /new\/key\?/);
  assert.equal(await a.ask([{ get: "new/key?" }]), '"made here"');
  await storage.getByRole("button", { name: "count" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Delete the key" }).click();
  await storage.getByRole("button", { name: "count" }).waitFor({ state: "detached" });
  assert.equal(await a.ask([{ get: "count" }]), "null");
  a.close();
});

test("live messages can be paused and filtered, and are shown as text", async () => {
  await go("room/main/watched");
  const live = section("Live messages");
  await reads(live.getByRole("status"), /live/);
  const a = await client("watched", "a");
  const lines = live.getByRole("listitem");
  await reads(lines, /open/);
  await a.ask("first words");
  await reads(lines, /first words/);
  await a.ask(HOSTILE);
  await reads(lines, HOSTILE);
  assert.equal(await live.locator("img").count(), 0);
  await live.getByRole("button", { name: "Pause" }).click();
  await a.ask("said meanwhile");
  await reads(live.getByRole("button"), /Resume \(2 new\)/);
  assert.equal(await lines.filter({ hasText: "said meanwhile" }).count(), 0);
  await live.getByRole("button", { name: "Resume" }).click();
  await reads(lines, /said meanwhile/);
  await live.getByLabel("Filter live messages").fill("FIRST");
  await lines.filter({ hasText: "meanwhile" }).first().waitFor({ state: "detached" });
  assert.equal(await lines.count(), 2);
  await live.getByLabel("Filter live messages").fill("");
  a.close();
  await reads(lines, /close 1005/);
});

test("the client in the page connects, sends a message and receives it", async () => {
  const pane = section("Client");
  await fill("Id", "dash", pane);
  await pane.getByRole("button", { name: "Connect", exact: true }).click();
  await reads(pane.getByRole("status"), /^connected$/);
  await fill("Text to send", HOSTILE, pane);
  await pane.getByRole("button", { name: "Send" }).click();
  await reads(pane.locator("li.in"), HOSTILE);
  assert.equal(await pane.locator("img").count(), 0);
  await reads(section("Live messages").getByRole("listitem"), /dash/);
});

test("a client is closed, and its page shows the reason", async () => {
  await page.getByRole("button", { name: "Kick dash" }).click();
  await fill("Reason", "enough", page.getByRole("dialog"));
  await shoot(page, "dashboard-kick");
  await page.getByRole("dialog").getByRole("button", { name: "Kick" }).click();
  await reads(section("Client").locator("li.note"), /closed with 4403: enough/);
  await see(section("Connections").getByText("Nobody is connected."));
});

test("a fault is shown with its backtrace", async () => {
  const a = await client("watched", "a");
  const answer = await fetch(`${server.url}/parties/main/watched`, {
    method: "POST",
    body: '[{"panic":"ouch"}]',
  });
  assert.equal(answer.status, 500);
  const faults = section("Recent faults");
  await reads(faults.getByRole("listitem"), /the guest trapped/);
  await faults.locator("summary").click();
  await reads(faults.locator("pre"), /wasm backtrace/);
  await a.ask([
    { alarm_in: 3_600_000 },
    { put: ["count", 7] },
    { put: ["name", "Ada"] },
    { set_state: { name: "Ada" } },
    { say: "so be it" },
  ]);
  await reads(section("State"), /in 59 min/);
  await shoot(page, "dashboard-room");
  await look("dashboard-room", "dark");
  await look("dashboard-room", "phone");
  a.close();
});

test("a room is closed and deleted after a confirmation", async () => {
  const a = await client("gone", "a");
  await a.ask([{ put: ["k", 1] }, { say: "put" }]);
  await go("room/main/gone");
  await page.getByRole("button", { name: "Close…" }).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  assert.equal(await a.ask("still here"), "still here");
  await page.getByRole("button", { name: "Close…" }).click();
  await page.getByRole("button", { name: "Close the room" }).click();
  assert.equal((await a.closed())[0], 1012);
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("button", { name: "Delete permanently" }).click();
  await see(section("Rooms"));
  const left = await fetch(`${server.url}/_room/admin/rooms?search=gone`, {
    headers: { authorization: `Bearer ${token}` },
  });
  assert.deepEqual((await left.json()).rooms, []);
});

test("logs are filtered at the server, and are shown as text", async () => {
  await page.getByRole("link", { name: "Logs" }).click();
  const lines = section("Logs").getByRole("listitem");
  const log = (room, text) =>
    fetch(`${server.url}/parties/main/${room}`, {
      method: "POST",
      body: JSON.stringify([{ log: text }]),
    });
  await log("game-1", HOSTILE);
  await reads(lines, HOSTILE);
  assert.equal(await section("Logs").locator("img").count(), 0);
  await reads(lines, /ouch/);
  await shoot(page, "dashboard-logs");
  await look("dashboard-logs", "phone");
  await fill("Room", "game-*");
  // The field keeps its focus while the list restarts.
  await page.getByLabel("Text", { exact: true }).pressSequentially("w");
  await lines.filter({ hasText: HOSTILE }).waitFor({ state: "detached" });
  await page.keyboard.type("in");
  assert.equal(await page.getByLabel("Text", { exact: true }).inputValue(), "win");
  await log("lobby", "a win elsewhere");
  await log("game-2", "a loss");
  await log("game-2", "a win");
  // The list restarts with each letter, and shows the same lines again.
  await reads(lines, /a win/);
  await lines.nth(1).waitFor({ state: "detached" });
  await reads(lines, /a win/);
  await page.getByLabel("Level").selectOption("error");
  await lines.first().waitFor({ state: "detached" });
});

test("the page works by keyboard and on a phone", async () => {
  await go("overview");
  await see(figure("Connections"));
  await page.reload();
  await see(figure("Connections"));
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
  await page.getByRole("link", { name: "Rooms" }).focus();
  await page.keyboard.press("Enter");
  await see(section("Rooms"));
  for (const view of ["overview", "rooms", "room/main/watched", "logs"]) {
    await page.setViewportSize(PHONE);
    await go(view);
    await see(page.locator("main h2").first());
    assert.equal(
      await page.evaluate(() => document.documentElement.scrollWidth),
      PHONE.width,
      view,
    );
    await page.setViewportSize({ width: 1100, height: 720 });
  }
  await go("overview");
  await see(figure("Connections"));
  await look("dashboard-overview", "dark");
  await look("dashboard-overview", "phone");
  await go("rooms");
  await reads(section("Rooms").locator("tbody tr"), /game/);
  await look("dashboard-rooms", "phone");
});

/** Keeps a picture as it is in the dark, or on a phone. */
async function look(name, how) {
  await page.emulateMedia({ colorScheme: how === "dark" ? "dark" : "light" });
  if (how === "phone") await page.setViewportSize(PHONE);
  await shoot(page, `${name}-${how}`);
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1100, height: 720 });
}

test("the page violated no policy and logged no error", async () => {
  assert.deepEqual(await page.evaluate(() => window.violations), []);
  assert.deepEqual(browser.errors, []);
});
