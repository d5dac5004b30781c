// A save while clients are connected: they stay, and meet the new code.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BUILD_MS, Server, edit } from "../server.mjs";
import { clients, plain } from "./client.mjs";

test("the same sockets get the new code, and no close", async () => {
  const server = await Server.start();
  const parties = clients.map(({ name, party }) => party(server, { room: `live-${name}` }));
  const bare = plain(server, "/parties/chat-room/live");
  const all = [...parties, bare];
  for (const client of all) {
    await client.welcome();
    client.socket.send("version");
    assert.equal(await client.hears(), "one");
  }
  await edit("src/lib.rs", 'VERSION: &str = "one"', 'VERSION: &str = "two"');
  assert.match(await server.line(/reloaded in/, BUILD_MS), /3 rooms, 3 sockets kept/);
  for (const client of all) {
    client.socket.send("version");
    assert.equal(await client.hears(), "two");
    assert.equal(client.waiting("close"), 0);
  }
  for (const client of parties) assert.equal(client.waiting("open"), 1, "it was opened once");
  all.forEach(({ socket }) => socket.close());
  await server.stop();
});
