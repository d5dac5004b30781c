// Server-sent events in pages of another origin: Chromium's own EventSource, its `fetch` and its beacons.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server } from "../server.mjs";
import { open } from "./browser.mjs";
import { serve } from "./site.mjs";

/** A page that keeps what its event streams hear. */
const page = (host) => `<!doctype html><link rel="icon" href="data:,"><script type="module">
  window.join = (query) => {
    const heard = { opens: 0, closes: [], messages: [], welcome: null };
    const events = new EventSource("http://${host}/parties/main/page?" + query);
    events.onopen = () => { heard.opens += 1; };
    events.onmessage = ({ data }) => heard.messages.push(data);
    events.addEventListener("welcome", ({ data }) => { heard.welcome = JSON.parse(data); });
    events.addEventListener("close", ({ data }) => heard.closes.push(JSON.parse(data)));
    Object.assign(window, { events, heard });
  };
  const url = () => "http://${host}/parties/main/page?_connection=" + heard.welcome.connection;
  window.say = async (text) => {
    const headers = { "x-room-secret": heard.welcome.secret, "content-type": "text/plain" };
    return (await fetch(url(), { method: "POST", headers, body: text })).status;
  };
  window.beacon = (text) => navigator.sendBeacon(url() + "&_secret=" + heard.welcome.secret, text);
  window.ready = true;
</script>`;

let server, browser, site;
before(async () => {
  server = await Server.start();
  browser = await open();
  site = await serve(page(server.host));
});
after(async () => {
  site?.stop();
  await browser?.close();
  await server?.stop();
});

async function tab(query, expected) {
  const tab = await browser.blank(expected);
  await tab.goto(site.url);
  await tab.waitForFunction(() => window.ready);
  await tab.evaluate((query) => { window.join(query); }, query);
  return tab;
}

const said = (tab, text) => tab.waitForFunction((text) => window.heard.messages.includes(text), text);

test("two tabs of another origin talk through their room", async () => {
  const [one, other] = [await tab("_pk=one"), await tab("_pk=other")];
  await said(one, "joined other");
  assert.equal(await other.evaluate(() => window.say("mine")), 204);
  await said(other, "mine");
  assert.equal(await other.evaluate(() => window.say("others hello")), 204);
  await said(one, "hello");
  assert.equal(await one.evaluate(() => window.beacon("by beacon")), true);
  await said(one, "by beacon");
  await Promise.all([one.close(), other.close()]);
});

test("a page comes back after an end, and stays away after a final close", async () => {
  const one = await tab("_pk=back", /204/);
  await said(one, "first");
  assert.equal(await one.evaluate(() => window.say("close 1001 soon")), 204);
  await one.waitForFunction(() => window.heard.opens === 2 && window.heard.messages.length > 2);
  assert.equal(await one.evaluate(() => window.say("close 4001 bye")), 204);
  await one.waitForFunction(() => window.events.readyState === EventSource.CLOSED);
  assert.deepEqual(await one.evaluate(() => window.heard.closes), [
    { code: 1001, reason: "soon" }, { code: 4001, reason: "bye" },
  ]);
  assert.equal(await one.evaluate(() => window.heard.opens), 2);
  await one.close();
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
