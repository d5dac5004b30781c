// A server that goes away and comes back, with the room's data kept on disk.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Server } from "../server.mjs";
import { clients } from "./client.mjs";

for (const { name, party } of clients) test(`${name} clients come back after a crash: same id, what they said meanwhile, what was stored`, async () => {
  let server = await Server.start();
  const client = party(server, { room: `home-${name}`, query: () => ({ token: "still me" }) });
  const { id } = await client.welcome();
  client.socket.send("count");
  assert.equal(await client.hears(), "count 1");

  await server.kill();
  assert.equal((await client.next("close")).code, 1006);
  assert.equal(client.socket.send("meanwhile"), false, "it is kept for later");
  client.socket.send("count");

  server = await Server.start({ port: server.port });
  const again = await client.welcome();
  assert.equal(again.id, id);
  assert.equal(again.token, "still me");
  assert.equal(await client.hears(), "meanwhile");
  assert.equal(await client.hears(), "count 2");

  client.forget("close"); // Each try in vain was one.
  assert.equal(await server.stop(), 0);
  assert.equal((await client.next("close")).code, 1012);
  server = await Server.start({ port: server.port });
  await client.welcome();
  client.socket.send("count");
  assert.equal(await client.hears(), "count 3");
  client.socket.close();
  await server.stop();
});
