// Plain HTTP to rooms, with the stock client's `fetch` and with the platform's.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import PartySocket from "partysocket";
import { Server } from "../server.mjs";

let server;
before(async () => { server = await Server.start({ args: ["--ephemeral"] }); });
after(() => server.stop());

const ask = (options, init) => PartySocket.fetch({ host: server.host, room: "web", ...options }, init);

test("PartySocket.fetch asks the room", async () => {
  const response = await ask({});
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/json");
  assert.deepEqual(await response.json(), {
    method: "GET", rest: "/", room: "web", party: "main", token: null, user: "checked",
  });
});

test("party, path and query are the room's to read", async () => {
  const options = { party: "ChatRoom", path: "a/b%20c", query: async () => ({ token: "x y" }) };
  const { party, rest, token } = await (await ask(options)).json();
  assert.deepEqual({ party, rest, token }, { party: "chat-room", rest: "/a/b%20c", token: "x y" });
});

test("bodies go both ways, text and bytes", async () => {
  const text = await ask({ path: "echo" }, { method: "POST", body: "hällo" });
  assert.equal(text.status, 201);
  assert.match(text.headers.get("content-type"), /^text\/plain/);
  assert.equal(await text.text(), "hällo");

  const sent = new Uint8Array(50_000).map((_, i) => i % 251);
  const bytes = await ask({ path: "echo" }, { method: "POST", body: sent });
  assert.deepEqual(new Uint8Array(await bytes.arrayBuffer()), sent);
});

test("every method reaches the room", async () => {
  for (const method of ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
    const response = await fetch(`${server.url}/party/web/x`, { method });
    assert.equal((await response.json()).method, method);
  }
  const head = await fetch(`${server.url}/party/web/x`, { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal(await head.text(), "");
});

test("the hook before the room answers and refuses", async () => {
  const answer = await ask({ query: { answer: "1" } });
  assert.equal(answer.status, 418);
  assert.equal(await answer.text(), "from the door");
  const refusal = await ask({ query: { refuse: "1" } });
  assert.equal(refusal.status, 403);
  assert.match(await refusal.text(), /not you/);
});

test("an error of the room is 500, with its words for whoever develops it", async () => {
  const response = await ask({ path: "fail" });
  assert.equal(response.status, 500);
  assert.match(await response.text(), /as it was told/);
});

test("what is not there is 404", async () => {
  const nobody = await ask({ party: "nobody" });
  assert.equal(nobody.status, 404);
  assert.match(await nobody.text(), /party nobody not found/);
  for (const path of ["/", "/nothing.html", "/parties/main/", "/parties"]) {
    assert.equal((await fetch(server.url + path)).status, 404, path);
  }
});

test("health says that the node serves", async () => {
  const health = await (await fetch(`${server.url}/_room/health`)).json();
  assert.equal(health.status, "ok");
});

test("the client that the runtime serves is the npm package's, byte by byte", async () => {
  const dist = dirname(createRequire(import.meta.url).resolve("partysocket"));
  for (const file of ["index.js", "ws.js"]) {
    const response = await fetch(`${server.url}/_room/partysocket/${file}`);
    assert.equal(response.headers.get("content-type"), "text/javascript");
    const served = Buffer.from(await response.arrayBuffer());
    assert.ok(served.equals(await readFile(join(dist, file))), file);
  }
  assert.equal((await fetch(`${server.url}/_room/partysocket/react.js`)).status, 404);
});
