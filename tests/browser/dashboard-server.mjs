// The dashboard of `room serve`: projects, versions, scopes, and a client that comes by another port.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { STEP_MS, Server, edit, within } from "../server.mjs";
import WebSocket from "ws";
import { open, shoot } from "./browser.mjs";

let server, browser, page, socket;
let closes = 0;

/** Asks the server as its operator. */
async function ask(method, path, body) {
  const answer = await fetch(`${server.admin}/_room/admin/${path}`, {
    method,
    body,
    headers: { authorization: `Bearer ${server.token}` },
  });
  assert.equal(answer.status, 200);
  return answer.json();
}

const version = async () =>
  (await (await fetch(`${server.url}/parties/main/lobby`)).json()).version;
const section = (name) =>
  page.locator("section.panel", { has: page.getByRole("heading", { name, exact: true }) });
const reads = (locator, pattern) => locator.filter({ hasText: pattern }).first().waitFor();

before(async () => {
  server = await Server.serve();
  await server.deploy();
  await edit("room.toml", 'VERSION = "1"', 'VERSION = "2"');
  await server.deploy();
  browser = await open();
  page = await browser.blank();
  await page.addInitScript(() => {
    window.violations = [];
    addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
      window.violations.push(`${violatedDirective} ${blockedURI}`),
    );
  });
  socket = new WebSocket(`ws://${server.host}/parties/main/lobby?_pk=watcher`);
  socket.addEventListener("close", () => (closes += 1));
  await within(STEP_MS, "open socket", once(socket, "open"));
});
after(async () => {
  await browser?.close();
  socket?.close();
  await server?.stop();
});

test("one click rolls back, and no client's socket closes", async () => {
  await page.goto(`${server.dashboard}#token=${server.token}`);
  await reads(page.locator("figure", { hasText: "Connections" }).locator("b"), /^1$/);
  await page.getByRole("link", { name: "Versions" }).click();
  assert.equal(await version(), "2");
  await reads(section("Versions").locator("tr.current"), /2/);
  await page.getByRole("button", { name: "Serve version 1" }).click();
  await reads(
    page.locator("#notice"),
    /Version 1 serves: 1 room took it over, 1 connection stayed/,
  );
  await reads(section("Versions").locator("tr.current"), /^1/);
  await shoot(page, "dashboard-versions");
  assert.equal(await version(), "1");
  socket.send("still here");
  const [data] = await within(STEP_MS, "echo", once(socket, "message"));
  assert.deepEqual([String(data), closes, socket.readyState], ["still here", 0, WebSocket.OPEN]);
});

test("the client in the page connects to the clients' port", async () => {
  await page.goto(`${server.dashboard}#/@dash/room/main/lobby`);
  const pane = section("Client");
  await reads(pane, new RegExp(`ws://${server.host.replaceAll(".", "\\.")}/parties/main/lobby`));
  await pane.getByRole("button", { name: "Connect", exact: true }).click();
  await reads(pane.getByRole("status"), /^connected$/);
  await pane.getByLabel("Text to send").fill("from the page");
  await pane.getByRole("button", { name: "Send" }).click();
  await reads(pane.locator("li.in"), "from the page");
  await reads(section("Live messages").getByRole("listitem"), "from the page");
  await pane.getByRole("button", { name: "Disconnect" }).click();
  await reads(pane.locator("li.note"), /closed with 1000/);
});

test("a token with the read scope shows everything and changes nothing", async () => {
  const { secret } = await ask("POST", "tokens", JSON.stringify({ name: "looks", scope: "read" }));
  const other = await browser.blank();
  await other.goto(`${server.dashboard}#token=${secret}`);
  await reads(other.locator("#bar"), /read token/);
  await other.getByRole("link", { name: "Versions" }).click();
  await reads(other.locator("tbody tr"), /needs a deploy token/);
  await other.goto(`${server.dashboard}#/@dash/room/main/lobby`);
  await reads(other.locator("main"), /it looks, and changes nothing/);
  for (const name of ["Close…", "Delete…", "New key…", "Kick watcher"]) {
    await other.getByRole("button", { name, disabled: true }).waitFor();
  }
  await other.close();
});

test("a page whose origin is not listed shows what to do", async () => {
  await edit("room.toml", "[serve]", '[serve]\norigins = ["https://chat.example.com"]');
  await server.deploy();
  const pane = section("Client");
  await pane.getByRole("button", { name: "Connect", exact: true }).click();
  await reads(
    pane.locator("li.note"),
    /4403.*Add http:\/\/127\.0\.0\.1:\d+ to origins under \[serve\]/,
  );
});

test("a project that lists its hosts is reached by one of them", async () => {
  await edit("room.toml", "[serve]", '[serve]\nhosts = ["dash.localhost"]');
  await edit("room.toml", 'origins = ["https://chat.example.com"]\n', "");
  await server.deploy();
  await page.reload();
  const pane = section("Client");
  await reads(pane, /answers to dash\.localhost/);
  await pane.getByRole("button", { name: "Use this name" }).click();
  await reads(pane, /ws:\/\/dash\.localhost:\d+\/parties\/main\/lobby/);
  await pane.getByRole("button", { name: "Connect", exact: true }).click();
  await reads(pane.getByRole("status"), /^connected$/);
});

test("the page violated no policy and logged no error", async () => {
  assert.deepEqual(await page.evaluate(() => window.violations), []);
  assert.deepEqual(browser.errors, []);
  assert.equal(closes, 0);
});
