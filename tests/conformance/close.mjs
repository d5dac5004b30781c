// How connections end, and how they are turned away.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Server } from "../server.mjs";
import { clients, plain } from "./client.mjs";

/** What the stock client has to be told, and our own knows: 44xx is final. */
const FINAL = { shouldReconnectOnClose: ({ code }) => code < 4400 || code > 4499 };

for (const { name, party } of clients) describe(name, () => {
  const stop = name === "own" ? {} : FINAL;
  let server;
  before(async () => { server = await Server.start({ args: ["--ephemeral"] }); });
  after(() => server.stop());

  /** Somebody in a room who sees others come and go. */
  async function witness(room) {
    const client = party(server, { room });
    await client.welcome();
    return client;
  }

  test("the room reads the code and the reason of a client's close", async () => {
    const watching = await witness("codes");
    const client = plain(server, "/parties/main/codes?_pk=ann");
    await client.welcome();
    assert.equal(await watching.hears(), "joined ann");
    client.socket.close(3005, "done");
    assert.equal(await watching.hears(), "left ann 3005 done clean");
    const { code, reason, wasClean } = await client.next("close");
    assert.deepEqual({ code, reason, wasClean }, { code: 3005, reason: "done", wasClean: true });

    const stock = party(server, { room: "codes", id: "bob" });
    await stock.welcome();
    assert.equal(await watching.hears(), "joined bob");
    stock.socket.close(3005, "done");
    assert.equal(await watching.hears(), "left bob 3005 done clean");
    watching.socket.close();
  });

  test("a close without a code is 1005 to the room, a lost connection is 1006", async () => {
    const watching = await witness("lost");
    const client = plain(server, "/parties/main/lost?_pk=ann");
    await client.welcome();
    assert.equal(await watching.hears(), "joined ann");
    client.socket.close();
    assert.equal(await watching.hears(), "left ann 1005  clean");

    const dropped = plain(server, "/parties/main/lost?_pk=bob");
    await dropped.welcome();
    assert.equal(await watching.hears(), "joined bob");
    dropped.socket.terminate();
    assert.match(await watching.hears(), /^left bob 1006 .*broken$/);
    watching.socket.close();
  });

  test("the client reads the code and the reason of the room's close", async () => {
    const watching = await witness("bye");
    const client = party(server, { room: "bye", id: "ann", shouldReconnectOnClose: () => false });
    await client.welcome();
    assert.equal(await watching.hears(), "joined ann");
    client.socket.send("close 4001 bye");
    const { code, reason, wasClean } = await client.next("close");
    assert.deepEqual({ code, reason, wasClean }, { code: 4001, reason: "bye", wasClean: true });
    assert.equal(await watching.hears(), "left ann 4001 bye clean");
    watching.socket.close();
  });

  test("the room closes with codes of the protocol, and without one", async () => {
    for (const [said, heard] of [["close 1001 away", 1001], ["close 1012 again", 1012], ["close", 1005]]) {
      const client = party(server, { room: "codes-of-all-kinds", shouldReconnectOnClose: () => false });
      await client.welcome();
      client.socket.send(said);
      assert.equal((await client.next("close")).code, heard);
    }
  });

  test("a client that the room closed comes back with the same id", async () => {
    const client = party(server, { room: "again", id: "ann" });
    await client.welcome();
    client.socket.send("close 4001 bye");
    assert.equal((await client.next("close")).code, 4001);
    assert.equal((await client.welcome()).id, "ann");
    client.socket.close();
  });

  test("a second socket with the same id takes the place of the first", async () => {
    const watching = await witness("twice");
    const first = party(server, { room: "twice", id: "ann", ...stop });
    await first.welcome();
    assert.equal(await watching.hears(), "joined ann");
    const second = party(server, { room: "twice", id: "ann", ...stop });
    await second.welcome();
    const { code, reason } = await first.next("close");
    assert.deepEqual({ code, reason }, { code: 4409, reason: "replaced by a newer connection with the same id" });
    assert.match(await watching.hears(), /^left ann 4409 /);
    assert.equal(await watching.hears(), "joined ann");
    second.socket.send("still here");
    assert.equal(await second.hears(), "still here");
    second.socket.close();
    watching.socket.close();
  });

  test("a refused client reads the reason, and can stop", async () => {
    let tries = 0;
    const client = party(server, {
      room: "refused",
      query: () => { tries += 1; return { refuse: "ann" }; },
      ...stop,
    });
    const { code, reason } = await client.next("close");
    assert.deepEqual({ code, reason }, { code: 4403, reason: "not you" });
    assert.equal(client.socket.shouldReconnect, false);

    // A later client is logged later, so the terminal has all tries of the first by then.
    const later = plain(server, "/parties/main/refused?refuse=bob");
    assert.equal((await later.next("close")).code, 4403);
    await server.line(/refused bob in main\/refused/);
    assert.equal(server.lines.filter((line) => line.includes("refused ann")).length, 1);
    assert.equal(tries, 1);
  });

  test("an error in the hook before the room is 4401 with its text", async () => {
    const client = plain(server, "/parties/main/refused?throw=1");
    const { code, reason } = await client.next("close");
    assert.deepEqual({ code, reason }, { code: 4401, reason: "bad token" });
  });

  test("an error in on_connect is 1011", async () => {
    const client = plain(server, "/parties/main/refused?fail=1");
    await client.next("open");
    const { code, reason } = await client.next("close");
    assert.equal(code, 1011);
    assert.match(reason, /the room said no/);
    assert.equal(client.waiting("message"), 0);
  });

  test("a party that is not there is 4404", async () => {
    const client = party(server, {
      party: "nobody",
      room: "x",
      ...stop,
    });
    const { code, reason } = await client.next("close");
    assert.deepEqual({ code, reason }, { code: 4404, reason: "party nobody not found" });
    assert.equal(client.socket.shouldReconnect, false);
  });

  test("a message that is too large is 1009", async () => {
    const client = plain(server, "/parties/main/large");
    await client.welcome();
    client.socket.send("x".repeat(40 * 1024 * 1024));
    assert.equal((await client.next("close")).code, 1009);
  });

  test("Ctrl-C closes everyone with 1012 and ends with 0", async () => {
    const other = await Server.start({ args: ["--ephemeral"] });
    const clients = ["a", "b", "c"].map((id) => plain(other, `/parties/main/end?_pk=${id}`));
    for (const client of clients) await client.welcome();
    assert.equal(await other.stop(), 0);
    for (const client of clients) assert.equal((await client.next("close")).code, 1012);
  });

  test("a client that sends too much reads why, and its end is clean", async () => {
    const client = plain(server, "/parties/main/large");
    await client.welcome();
    client.socket.send(new Uint8Array(2 << 20));
    const { code, wasClean } = await client.next("close");
    assert.deepEqual({ code, wasClean }, { code: 1009, wasClean: true });
  });

  test("a path that leads to no room is closed with a final code", async () => {
    const client = plain(server, "/nowhere");
    const { code, reason } = await client.next("close");
    assert.deepEqual({ code, reason }, { code: 4404, reason: "not found" });
  });
});
