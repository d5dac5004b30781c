// A deployed project's page with the stock client's files as npm has them: it enters rooms by the project's own path,
// with a path below the room, a query, subprotocols and the browser's cookies.

import assert from "node:assert/strict";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { Server, project } from "../server.mjs";
import { open } from "./browser.mjs";

/** A page that keeps what its sockets hear. */
const PAGE = `<!doctype html><link rel="icon" href="data:,"><script type="module">
  import PartySocket from "/stock/index.js";
  window.join = (options) => {
    const socket = new PartySocket({ host: location.host, prefix: "api/rooms", ...options });
    const heard = { closes: [], messages: [] };
    socket.onmessage = ({ data }) => heard.messages.push(data);
    socket.onclose = ({ code, reason }) => { heard.closes.push([code, reason]); socket.close(); };
    return Object.assign(window, { socket, heard });
  };
  window.ready = true;
</script>`;

let server, browser, page;
before(async () => {
  await mkdir(join(project, "web"));
  await writeFile(join(project, "web/index.html"), PAGE);
  const dist = dirname(createRequire(import.meta.url).resolve("partysocket"));
  await cp(dist, join(project, "web/stock"), { recursive: true });
  server = await Server.serve();
  await server.deploy();
  browser = await open();
  page = await browser.blank();
  await page.goto(server.url);
  await page.waitForFunction(() => window.ready);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Joins a room. → What the room says of the handshake, and the subprotocol that the client got. */
async function enter(options) {
  await page.evaluate((options) => { window.join(options); }, options);
  await page.waitForFunction(() => window.heard.messages.length >= 2);
  return page.evaluate(() => {
    const { heard: { messages }, socket } = window;
    const { protocol } = socket;
    socket.close();
    return { ...JSON.parse(messages[1]), protocol };
  });
}

test("the client's prefix, path, query and subprotocols reach its room", async () => {
  const options = {
    party: "main", room: "deep down", path: "a/b", id: "ann",
    query: { token: "t 1", tag: "red", choose: "v2" }, protocols: ["v1", "v2"],
  };
  const { id, party, room, rest, token, user, tags, protocol } = await enter(options);
  assert.deepEqual({ id, party, room, rest, token, user, tags, protocol }, {
    id: "ann", party: "main", room: "deep down", rest: "/a/b", token: "t 1", user: "t 1", tags: ["red"], protocol: "v2",
  });
  const first = await enter({ party: "main", room: "deep down", protocols: ["v1", "v2"] });
  assert.equal(first.protocol, "v1");
});

test("a cookie that the hook sets is the browser's, for sockets and requests", async () => {
  const room = { party: "main", room: "cookies" };
  const setting = await enter({ ...room, query: { set: "user=ann" } });
  assert.equal(setting.cookie, null);
  assert.equal((await enter(room)).cookie, "user=ann");
  assert.equal(await page.evaluate(() => document.cookie), "", "no script reads it");
  // A socket that the hook refuses sets one, too.
  await page.evaluate((room) => { window.join({ ...room, query: { refuse: "ann", set: "user=none" } }); }, room);
  await page.waitForFunction(() => window.heard.closes.length > 0);
  assert.deepEqual(await page.evaluate(() => window.heard.closes), [[4403, "not you"]]);
  const seen = await page.evaluate(async () => (await fetch("/api/rooms/main/cookies/x?token=t")).json());
  const { cookie, rest, token } = seen;
  assert.deepEqual({ cookie, rest, token }, { cookie: "user=none", rest: "/x", token: "t" });
});

test("no page logged an error", () => assert.deepEqual(browser.errors, []));
