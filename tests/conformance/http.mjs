// Plain HTTP to rooms, with the clients' `fetch` and with the platform's.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { Server } from "../server.mjs";
import { clients } from "./client.mjs";

for (const { name, Client } of clients) describe(name, () => {
  let server;
  before(async () => { server = await Server.start({ args: ["--ephemeral"] }); });
  after(() => server.stop());

  const ask = (options, init) => Client.fetch({ host: server.host, room: "web", ...options }, init);

  test("fetch asks the room", async () => {
    const response = await ask({});
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "application/json");
    assert.deepEqual(await response.json(), {
      method: "GET", rest: "/", room: "web", party: "main", token: null, user: "checked", cookie: null,
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

  test("all values of a parameter reach the room, and both of its cookies the client", async () => {
    const response = await fetch(`${server.url}/party/web/cookies?tag=a&x=1&tag=b%20c&tag=a`);
    assert.deepEqual(await response.json(), ["a", "b c", "a"]);
    assert.deepEqual(response.headers.getSetCookie(), ["a=1; Path=/", "b=2; Path=/"]);
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

  test("an error of the room is 500, with its text for the developer", async () => {
    const response = await ask({ path: "fail" });
    assert.equal(response.status, 500);
    assert.match(await response.text(), /as requested/);
  });

  test("what is not there is 404", async () => {
    const nobody = await ask({ party: "nobody" });
    assert.equal(nobody.status, 404);
    assert.match(await nobody.text(), /party nobody not found/);
    for (const path of ["/", "/nothing.html", "/parties/main/", "/parties"]) {
      assert.equal((await fetch(server.url + path)).status, 404, path);
    }
  });

  test("an answer that comes while the body is still sent is read", async () => {
    const body = new Uint8Array(5 << 20);
    for (let round = 0; round < 20; round++) {
      const response = await fetch(`${server.url}/party/web/x`, { method: "POST", body });
      assert.equal(response.status, 413);
      assert.match(await response.text(), /^the body is larger than/);
    }
  });

  test("health says that the node serves", async () => {
    const health = await (await fetch(`${server.url}/_room/health`)).text();
    assert.equal(health, "ok\n");
  });

  test("the client that the server has is the one of sdk/js, for pages of any origin", async () => {
    const response = await fetch(`${server.url}/_room/client.js`);
    assert.equal(response.headers.get("content-type"), "text/javascript; charset=utf-8");
    assert.equal(response.headers.get("access-control-allow-origin"), "*");
    const served = Buffer.from(await response.arrayBuffer());
    assert.ok(served.equals(await readFile(new URL("../../sdk/js/client.js", import.meta.url))));
  });
});
