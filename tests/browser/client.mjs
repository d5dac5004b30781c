// The client that a server has, in pages of another origin: rooms, files and sockets are the server's alone.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Server } from "../server.mjs";
import { open } from "./browser.mjs";
import { serve } from "./site.mjs";

/** A page that keeps what its sockets hear. */
const page = (host) => `<!doctype html><link rel="icon" href="data:,"><script type="module">
  import PartySocket from "http://${host}/_room/client.js";
  const quick = { minReconnectionDelay: 50, maxReconnectionDelay: 200, minUptime: 1 };
  window.join = (options) => {
    const heard = { opens: 0, closes: [], messages: [] };
    const socket = new PartySocket({ host: "${host}", ...quick, ...options });
    socket.onopen = () => { heard.opens += 1; };
    socket.onclose = ({ code, wasClean }) => heard.closes.push([code, wasClean]);
    socket.onmessage = ({ data }) => heard.messages.push(data);
    return Object.assign(window, { socket, heard });
  };
  window.ready = true;
</script>`;

let server, browser, site;
before(async () => {
  server = await Server.start();
  browser = await open();
  // Such a page loads from elsewhere only what says that it may be.
  site = await serve(page(server.host), { "cross-origin-embedder-policy": "require-corp" });
});
after(async () => {
  site?.stop();
  await browser?.close();
  await server?.stop();
});

let tabs = [];
// Their sockets would try again while another test has the server down.
afterEach(() => Promise.all(tabs.splice(0).map((tab) => tab.close())));

/** A tab whose socket has joined a room. `expected` are complaints of the browser that belong to the test. */
async function tab(options, expected) {
  const tab = await browser.blank(expected);
  tabs.push(tab);
  await tab.goto(site.url);
  await tab.waitForFunction(() => window.ready);
  await tab.evaluate((options) => { window.join(options); }, options);
  return tab;
}

const said = (tab, text) => tab.waitForFunction((text) => window.heard.messages.includes(text), text);
const state = (tab) => tab.evaluate(() => {
  const { socket: { readyState, shouldReconnect }, heard: { closes, opens } } = window;
  return { readyState, shouldReconnect, closes, opens };
});
const closed = (tab) => tab.waitForFunction(() => window.heard.closes.length > 0);

test("it sends the messages that it kept, and reads text and bytes", async () => {
  const one = await tab({ room: "talk" });
  await one.evaluate(() => window.socket.send("early"));
  await said(one, "early");
  const bytes = await one.evaluate(async () => {
    window.socket.binaryType = "arraybuffer";
    const heard = new Promise((resolve) => window.socket.addEventListener("message", resolve, { once: true }));
    window.socket.send(new Uint8Array([0, 255, 7]));
    return [...new Uint8Array((await heard).data)];
  });
  assert.deepEqual(bytes, [0, 255, 7]);
});

test("two tabs with one id: the older one reads a final code, and stays away", async () => {
  const older = await tab({ room: "twice", id: "ann" });
  await said(older, "first");
  const newer = await tab({ room: "twice", id: "ann" });
  await said(newer, "first");
  await closed(older);
  assert.deepEqual(await state(older), { readyState: 3, shouldReconnect: false, closes: [[4409, true]], opens: 1 });
  await newer.evaluate(() => window.socket.send("still here"));
  await said(newer, "still here");
  assert.deepEqual(await state(newer), { readyState: 1, shouldReconnect: true, closes: [], opens: 1 });
});

test("a client that the hook refuses stays away", async () => {
  const refused = await tab({ room: "refused", query: { refuse: "ann" } });
  await closed(refused);
  const { closes, shouldReconnect } = await state(refused);
  assert.deepEqual({ closes, shouldReconnect }, { closes: [[4403, true]], shouldReconnect: false });
});

test("what is too large is answered with a clean end, however much is queued", async () => {
  for (const [count, bytes] of [[1, 20 << 20], [20, (1 << 20) + 1]]) {
    const client = await tab({ room: `large${count}` });
    await said(client, "first");
    await client.evaluate(([count, bytes]) => {
      for (let left = count; left > 0; left--) window.socket.send(new Uint8Array(bytes));
    }, [count, bytes]);
    await closed(client);
    assert.deepEqual((await state(client)).closes[0], [1009, true]);
  }
});

test("a close without a code is 1005, and it comes back", async () => {
  const client = await tab({ room: "back" });
  await said(client, "first");
  await client.evaluate(() => window.socket.send("close"));
  await client.waitForFunction(() => window.heard.opens === 2);
  assert.deepEqual((await state(client)).closes, [[1005, true]]);
});

test("it reconnects when the server is back, with its id and its waiting messages", async () => {
  const client = await tab({ room: "home" }, /ERR_CONNECTION|WebSocket connection/);
  await said(client, "first");
  const id = await client.evaluate(() => window.socket.id);
  await server.kill();
  await closed(client);
  assert.deepEqual((await state(client)).closes[0], [1006, false]);
  await client.evaluate(() => {
    window.heard.messages.length = 0;
    window.socket.send("meanwhile");
  });
  server = await Server.start({ port: server.port });
  await said(client, "meanwhile");
  const welcome = await client.evaluate(() => JSON.parse(window.heard.messages[1]));
  assert.equal(welcome.id, id);
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
