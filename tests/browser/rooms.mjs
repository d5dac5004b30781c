// `RoomClient` that a server has, in pages of another origin: several rooms over one socket, event streams and polls.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Server } from "../server.mjs";
import "../client/project.mjs";
import { open } from "./browser.mjs";
import { serve } from "./site.mjs";

const page = (host) => `<!doctype html><link rel="icon" href="data:,"><script type="module">
  import { RoomClient } from "http://${host}/_room/client.js";
  const quick = { minReconnectionDelay: 50, maxReconnectionDelay: 200, minUptime: 1 };
  window.heard = [];
  window.keep = (name, room) => {
    room.binaryType = "arraybuffer";
    room.addEventListener("message", ({ data }) => heard.push(name + " " + (typeof data === "string" ? data : [...new Uint8Array(data)])));
    room.addEventListener("status", ({ status }) => heard.push(name + " is " + status));
    return room;
  };
  window.enter = (options) => { window.client = keep("first", new RoomClient({ host: "${host}", ...quick, ...options })); };
  window.ready = true;
</script>`;

let server, browser, site;
before(async () => {
  server = await Server.start();
  browser = await open();
  site = await serve(page(server.host), { "cross-origin-embedder-policy": "require-corp" });
});
after(async () => {
  site?.stop();
  await browser?.close();
  await server?.stop();
});

let tabs = [];
afterEach(() => Promise.all(tabs.splice(0).map((tab) => tab.close())));

/** A tab whose client has entered a room. `expected` are complaints of the browser that belong to the test. */
async function enter(options, expected) {
  const tab = await browser.blank(expected);
  tabs.push(tab);
  tab.sockets = 0;
  tab.on("websocket", () => { tab.sockets += 1; });
  await tab.goto(site.url);
  await tab.waitForFunction(() => window.ready);
  await tab.evaluate((options) => window.enter(options), options);
  return tab;
}

const hears = (tab, text) => tab.waitForFunction((text) => window.heard.includes(text), text);

test("two rooms share one socket, with texts, bytes and acknowledgements", async () => {
  const tab = await enter({ room: "lobby", id: "ada" });
  await hears(tab, "first hello ada");
  await tab.evaluate(async () => {
    window.den = keep("den", client.join("den"));
    await client.send("all acknowledged", { ack: true });
    den.send(new Blob([new Uint8Array([1, 2])]));
    den.send(new Uint8Array([0, 255]));
  });
  for (const text of ["den hello ada", "first acknowledged", "den 1,2", "den 0,255", "den is open"]) await hears(tab, text);
  assert.equal(tab.sockets, 1);
  assert.equal(await tab.evaluate(() => client.protocol), "room.1");
});

test("a tab comes back after the death of its server, and says what it kept", async () => {
  const tab = await enter({ room: "home", party: "durable", id: "ada" }, /ERR_CONNECTION|WebSocket connection/);
  await hears(tab, "first hello ada");
  await server.kill();
  await hears(tab, "first is waiting");
  const answered = tab.evaluate(() => client.send("all kept", { ack: true, timeout: 60_000 }));
  server = await Server.start({ port: server.port });
  await answered;
  await hears(tab, "first kept");
  assert.equal(await tab.evaluate(() => client.arrival), "continued");
});

for (const way of ["sse", "poll"]) test(`a page of another origin talks by ${way}`, async () => {
  const tab = await enter({ room: way, id: "ada", transports: [way] });
  await hears(tab, "first hello ada");
  await tab.evaluate(async () => {
    await client.send("all by post", { ack: true });
    client.send(new Uint8Array([7]));
  });
  await hears(tab, "first by post");
  await hears(tab, "first 7");
  assert.deepEqual([tab.sockets, await tab.evaluate(() => client.transport)], [0, way]);
});

test("where a WebSocket fails, the tab falls back by itself", async () => {
  const tab = await browser.blank();
  tabs.push(tab);
  await tab.addInitScript(() => {
    // As behind a proxy that lets none pass.
    window.WebSocket = class extends EventTarget {
      constructor() {
        super();
        queueMicrotask(() => this.dispatchEvent(Object.assign(new Event("close"), { code: 1006, reason: "", wasClean: false })));
      }
      close() {}
    };
  });
  await tab.goto(site.url);
  await tab.waitForFunction(() => window.ready);
  await tab.evaluate(() => window.enter({ room: "fallen", id: "ada" }));
  await hears(tab, "first hello ada");
  assert.equal(await tab.evaluate(() => client.transport), "sse");
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
