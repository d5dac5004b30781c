// How clients get into a room, and what they can say there.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Server } from "../server.mjs";
import { clients, plain } from "./client.mjs";

for (const { name, party } of clients) describe(name, () => {
  let server;
  before(async () => { server = await Server.start({ args: ["--ephemeral"] }); });
  after(() => server.stop());

  test("the id of the socket is the id of the connection", async () => {
    const client = party(server, { room: "ids" });
    assert.equal((await client.welcome()).id, client.socket.id);
    client.socket.close();

    const chosen = party(server, { room: "ids", id: "ada lovelace/é" });
    assert.equal((await chosen.welcome()).id, "ada lovelace/é");
    chosen.socket.close();
  });

  test("without an id, the server makes one", async () => {
    for (const query of ["", "?", "?_pk="]) {
      const client = plain(server, `/parties/main/ids${query}`);
      assert.match((await client.welcome()).id, /^[0-9a-f-]{36}$/);
      client.socket.close();
    }
  });

  test("what is sent in on_connect comes before anything else, after open", async () => {
    const client = party(server, { room: "order" });
    client.socket.send("early");
    await client.next("open");
    await client.welcome();
    assert.equal(await client.hears(), "early");
    client.socket.close();
  });

  test("text and binary go both ways and stay what they are", async () => {
    const client = party(server, { room: "kinds" });
    await client.welcome();
    for (const text of ["hello", "", "ü 🙂 \u0000", "x".repeat(200_000)]) {
      client.socket.send(text);
      assert.equal(await client.hears(), text);
    }
    for (const bytes of [[], [0, 255, 128, 10], new Array(100_000).fill(7)]) {
      client.socket.send(new Uint8Array(bytes));
      const answer = await client.hears();
      assert.ok(answer instanceof ArrayBuffer);
      assert.deepEqual(new Uint8Array(answer), new Uint8Array(bytes));
    }
    client.socket.close();
  });

  test("a room may say more than a client may", async () => {
    const client = party(server, { room: "large" });
    await client.welcome();
    for (const bytes of [2 * 1024 * 1024, 32 * 1024 * 1024]) {
      client.socket.send(`large ${bytes}`);
      assert.equal((await client.hears()).length, bytes);
    }
    client.socket.close();
  });

  test("query parameters arrive, and a function is asked for them again", async () => {
    const still = party(server, { room: "query", query: { token: "a b&c=d", none: null } });
    assert.equal((await still.welcome()).token, "a b&c=d");
    still.socket.close();

    let asked = 0;
    const client = party(server, { room: "query", query: async () => ({ token: `t${++asked}` }) });
    assert.equal((await client.welcome()).token, "t1");
    client.socket.reconnect();
    const again = await client.welcome();
    assert.equal(again.token, "t2");
    assert.equal(again.user, "t2", "the hook before the room sees it, and hands it on as a header");
    assert.equal(again.id, client.socket.id);
    client.socket.close();
  });

  test("the default party is main, others are found however they are spelled", async () => {
    const main = party(server, { room: "names" });
    assert.equal((await main.welcome()).party, "main");
    const short = plain(server, "/party/names");
    assert.equal((await short.welcome()).party, "main");
    assert.match(await main.hears(), /^joined /, "both paths lead to the same room");
    main.socket.close();
    short.socket.close();

    for (const name of ["chat-room", "ChatRoom", "chatRoom", "chat_room", "CHAT_ROOM"]) {
      const client = party(server, { party: name, room: "names" });
      assert.equal((await client.welcome()).party, "chat-room", name);
      client.socket.close();
    }
  });

  test("a path below the room is the room's to read", async () => {
    const client = party(server, { room: "paths", path: "deep/er" });
    const { room, rest } = await client.welcome();
    assert.deepEqual({ room, rest }, { room: "paths", rest: "/deep/er" });
    client.socket.close();
  });

  test("a room's name is what the client wrote", async () => {
    for (const name of ["a b", "é", "100%25"]) {
      const client = party(server, { room: name });
      assert.equal((await client.welcome()).room, decodeURIComponent(name));
      client.socket.close();
    }
  });

  test("the first subprotocol that is offered is accepted", async () => {
    const client = party(server, { room: "protocols", protocols: ["room.v1", "room.v0"] });
    await client.next("open");
    assert.equal(client.socket.protocol, "room.v1");
    client.socket.close();
  });

  test("tags and headers of the handshake reach the room", async () => {
    const client = party(server, { room: "tags", query: { tag: "red" } });
    assert.deepEqual((await client.welcome()).tags.slice(-1), ["red"]);
    client.socket.close();
  });

  test("a broadcast reaches everyone but those it leaves out, in order", async () => {
    const [a, b] = [party(server, { room: "all" }), party(server, { room: "all" })];
    await a.welcome();
    await b.welcome();
    a.socket.send("others 1");
    a.socket.send("others 2");
    a.socket.send("mine");
    const heard = [];
    while (heard.length < 2) {
      const text = await b.hears();
      if (!text.startsWith("joined")) heard.push(text);
    }
    assert.deepEqual(heard, ["1", "2"]);
    const own = [];
    while (own.at(-1) !== "mine") own.push(await a.hears());
    assert.ok(!own.includes("1") && !own.includes("2"));
    a.socket.close();
    b.socket.close();
  });

  test("a message that fails costs nothing but itself", async () => {
    const client = party(server, { room: "fails" });
    await client.welcome();
    client.socket.send("fail");
    client.socket.send("after");
    assert.equal(await client.hears(), "after");
    assert.equal(client.waiting("close"), 0);
    client.socket.close();
  });
});
