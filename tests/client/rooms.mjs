// The client against a real server: losses of the network, acknowledgements, refusals, tokens, several rooms, the time before.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as dial, createServer } from "node:net";
import { after, afterEach, test } from "node:test";
import WebSocket from "ws";
import { Server } from "../server.mjs";
import { load } from "./packed.mjs";
import { events } from "./peer.mjs";
import { tokenOf } from "./project.mjs";

const { RoomClient } = await load("client.js");

let server = await Server.start();
after(() => server.stop());

const clients = [];
const proxies = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  for (const proxy of proxies.splice(0)) proxy.close();
});

const QUICK = { minReconnectionDelay: 20, maxReconnectionDelay: 100, minUptime: 1 };

/** A network on the way to the server, which can be cut, and which can hold back what the server says. */
async function network() {
  const [host, port] = server.host.split(":");
  const pairs = new Set();
  const proxy = createServer((near) => {
    const pair = { near, far: dial(Number(port), host) };
    pairs.add(pair);
    for (const [from, to] of [[near, pair.far], [pair.far, near]]) {
      from.pipe(to);
      from.on("error", () => {});
      from.on("close", () => {
        pairs.delete(pair);
        to.destroy();
      });
    }
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  proxies.push(proxy);
  return {
    host: `127.0.0.1:${proxy.address().port}`,
    cut: () => pairs.forEach(({ near }) => near.destroy()),
    mute: () => pairs.forEach(({ near, far }) => far.unpipe(near)),
  };
}

/** A client, and what it hears, with the open event already taken. */
async function visit(options = {}) {
  const client = new RoomClient({ host: server.host, room: "lobby", WebSocket, ...QUICK, ...options });
  clients.push(client);
  client.addEventListener("error", () => {});
  const heard = hear(client);
  await heard.opens.next();
  return { client, ...heard };
}

function hear(room) {
  const messages = events(room, "message");
  return {
    opens: events(room, "open"), closes: events(room, "close"), gaps: events(room, "gap"), messages,
    says: async () => (await messages.next()).data,
  };
}

const failure = (promise) => promise.then(() => assert.fail("it is acknowledged"), (error) => error);

test("a client whose network is cut again and again hears everything once and in order", async () => {
  const way = await network();
  const { client, opens, says } = await visit({ host: way.host, room: "cut", id: "ada" });
  assert.equal(await says(), "hello ada");
  const speaker = await visit({ room: "cut" });
  assert.match(await says(), /^joined /);
  const heard = [];
  let said = 0;
  for (let round = 0; round < 6; round++) {
    for (let more = 0; more < 5; more++) speaker.client.send(`others ${said++}`);
    // Somewhere among the messages.
    if (round % 2) heard.push(await says());
    way.cut();
    assert.equal((await opens.next()).arrival, "resumed");
  }
  while (heard.length < said) heard.push(await says());
  assert.deepEqual(heard, Array.from({ length: said }, (_, number) => String(number)));
  assert.equal(client.transport, "websocket");
});

test("a message whose acknowledgement was lost is sent again, and happens once", async () => {
  const way = await network();
  const { client, opens } = await visit({ host: way.host, room: "once" });
  const witness = await visit({ room: "once" });
  assert.match(await witness.says(), /^hello/);
  way.mute();
  const counted = client.send("count", { ack: true });
  // The room has handled it, and its client does not know.
  assert.equal(await witness.says(), "count 1");
  way.cut();
  assert.equal((await opens.next()).arrival, "resumed");
  await counted;
  await client.send("count", { ack: true });
  assert.equal(await witness.says(), "count 2");
});

test("messages that are sent while it is away arrive in their order", async () => {
  const way = await network();
  const { client } = await visit({ host: way.host, room: "away" });
  const witness = await visit({ room: "away" });
  assert.match(await witness.says(), /^hello/);
  const closes = events(client, "close");
  way.cut();
  await closes.next();
  client.send("others one");
  const two = client.send("others two", { ack: true });
  client.send(new Uint8Array([1]));
  await two;
  assert.deepEqual([await witness.says(), await witness.says()], ["one", "two"]);
});

test("a failed turn, a closed room and a refusal have their names", async () => {
  const { client, closes } = await visit({ room: "names" });
  const failed = await failure(client.send("fail", { ack: true }));
  assert.equal(failed.code, "failed");
  assert.match(failed.message, /as asked/);
  client.send("close 4001 enough");
  const { code, reason } = await closes.next();
  assert.deepEqual([code, reason], [4001, "enough"]);
  const refused = new RoomClient({ host: server.host, room: "names", WebSocket, ...QUICK, query: { refuse: 4403 } });
  clients.push(refused);
  const end = await events(refused, "close").next();
  assert.deepEqual([end.code, end.reason, refused.status], [4403, "as asked", "closed"]);
});

test("two rooms share a socket, a third of another party joins them, and a fourth is one too many", async () => {
  const way = await network();
  const { client, opens } = await visit({ host: way.host, room: "lobby", id: "ada" });
  const den = client.join("den", { query: { word: "hi" } });
  const heard = hear(den);
  assert.equal((await heard.opens.next()).arrival, "new");
  assert.equal(await heard.says(), "hello ada hi");
  await den.send("quiet", { ack: true });
  const other = client.join("other", { party: "durable", id: "bob" });
  const others = hear(other);
  assert.equal((await others.opens.next()).arrival, "new");
  assert.equal(await others.says(), "hello bob");
  const full = client.join("full");
  const error = await events(full, "error").next();
  assert.equal(error.error.code, "session_full");
  full.leave();
  // One loss is a loss of all, and each comes back to its own.
  way.cut();
  assert.equal((await opens.next()).arrival, "resumed");
  assert.equal((await heard.opens.next()).arrival, "resumed");
  assert.equal((await others.opens.next()).arrival, "resumed");
  den.send(new Uint8Array([1, 2, 3]));
  den.binaryType = "arraybuffer";
  assert.deepEqual([...new Uint8Array(await heard.says())], [1, 2, 3]);
  assert.equal((await heard.closes.next()).code, 1006);
  den.leave();
  assert.equal((await heard.closes.next()).code, 1000);
  assert.equal(await other.send("quiet", { ack: true }), undefined);
  const nobody = client.join("x", { party: "nobody" });
  const end = await events(nobody, "close").next();
  assert.deepEqual([end.code, nobody.status], [4404, "closed"]);
});

test("a new client gets the history that it asks for, and sees which messages are replayed", async () => {
  const speaker = await visit({ room: "before" });
  for (const word of ["a", "b", "c"]) await speaker.client.send(`all ${word}`, { ack: true });
  const { client, messages } = await visit({ room: "before", id: "late", rewind: 2 });
  const first = [await messages.next(), await messages.next(), await messages.next()];
  assert.deepEqual(first.map(({ data, replayed }) => [data, replayed]), [["b", true], ["c", true], ["hello late", false]]);
  const join = client.join("before", { id: "later", rewind: "1m" });
  const joined = hear(join);
  assert.equal((await joined.messages.next()).replayed, true);
});

test("after a gap a client gets of the time before what a new one gets, and after a loss nothing twice", async () => {
  const way = await network();
  const speaker = await visit({ room: "afresh" });
  for (const word of ["a", "b"]) await speaker.client.send(`all ${word}`, { ack: true });
  const { client, opens, messages } = await visit({ host: way.host, room: "afresh", id: "ada", rewind: 1 });
  const next = async () => {
    const { data, replayed } = await messages.next();
    return [data, replayed];
  };
  assert.deepEqual([await next(), await next()], [["b", true], ["hello ada", false]]);
  way.cut();
  assert.equal((await opens.next()).arrival, "resumed");
  await speaker.client.send("all c", { ack: true });
  assert.deepEqual(await next(), ["c", false]);
  // A goodbye ends the connection.
  client.reconnect();
  assert.equal((await opens.next()).arrival, "gap");
  const [data, replayed] = await next();
  assert.equal(replayed, true);
  assert.ok(["c", "left ada 1000"].includes(data), data);
});

test("a server that restarts is continued where it stores messages, and the client hears of a gap where it does not", async () => {
  const port = server.port;
  const kept = await visit({ room: "kept", party: "durable", id: "ada" });
  assert.equal(await kept.says(), "hello ada");
  const lost = await visit({ room: "lost", id: "ada" });
  assert.equal(await lost.says(), "hello ada");
  for (const { client } of [kept, lost]) await client.send("all before", { ack: true });
  assert.equal(await server.stop(), 0);
  for (const { closes } of [kept, lost]) assert.equal((await closes.next()).code, 1012);
  server = await Server.start({ port });
  assert.equal((await kept.opens.next()).arrival, "continued");
  assert.equal((await lost.opens.next()).arrival, "gap");
  assert.equal((await lost.gaps.next()).gap, "unknown_connection");
  assert.deepEqual([await kept.says(), await kept.says()], ["before", "hello ada"]);
});

test("a token is shown and renewed before it ends, without a new connection", async () => {
  let asked = 0;
  const token = () => tokenOf("ada", (asked += 1) === 1 ? 1 : 3_600);
  const { client, closes, says } = await visit({ party: "members", room: "renewed", id: "tab", token });
  assert.equal(await says(), "hello tab");
  // The server asks for a newer one at once, as the first ends soon.
  client.send("who");
  const who = JSON.parse((await says()).slice("you are ".length));
  assert.equal(who.sub, "ada");
  for (let claims = who; claims.exp === who.exp;) {
    await client.send("quiet", { ack: true });
    client.send("who");
    claims = JSON.parse((await says()).slice("you are ".length));
  }
  assert.deepEqual([asked, closes.waiting, client.status], [2, 0, "open"]);
});

test("without a token the room is closed, and with an invalid one it is tried once more", async () => {
  for (const [shown, tries] of [[undefined, 0], ["no.token.at-all", 2]]) {
    let asked = 0;
    const options = shown ? { token: () => { asked += 1; return shown; } } : {};
    const client = new RoomClient({ host: server.host, party: "members", room: "closed", WebSocket, ...QUICK, ...options });
    clients.push(client);
    const closes = events(client, "close");
    for (let at = 0; at < Math.max(1, tries); at++) assert.equal((await closes.next()).code, 4401);
    assert.deepEqual([asked, client.status], [tries, "closed"]);
  }
});

test("a client that leaves is gone at once, and one that is lost is expected back", async () => {
  const way = await network();
  const witness = await visit({ room: "leaves" });
  assert.match(await witness.says(), /^hello/);
  const { client, opens } = await visit({ host: way.host, room: "leaves", id: "ada" });
  assert.equal(await witness.says(), "joined ada");
  way.cut();
  assert.equal((await opens.next()).arrival, "resumed");
  client.close();
  assert.equal(await witness.says(), "left ada 1000");
});

test("what a client shows is seen by the others, also if it shows it while it is away, and a flag ends by itself", async () => {
  const way = await network();
  const room = { party: "lounge", room: "present" };
  const { client: bob } = await visit({ ...room, id: "bob" });
  const changes = events(bob, "presence");
  const { client: ada, opens, closes } = await visit({ ...room, host: way.host, id: "ada" });
  const seen = async (holds) => {
    while (!holds(bob.presence.users.get("ada"))) await changes.next();
  };
  ada.presence.set({ color: "red" });
  await seen((user) => user?.data.color === "red");
  ada.presence.flag("typing", 2_000);
  await seen((user) => user.flags.includes("typing"));
  await seen((user) => user.flags.length === 0);
  assert.deepEqual(bob.presence.users.get("ada").data, { color: "red" });
  way.cut();
  await closes.next();
  ada.presence.set({ color: "blue" });
  assert.equal((await opens.next()).arrival, "resumed");
  await seen((user) => user.data.color === "blue");
  way.cut();
  await closes.next();
  ada.presence.set(null);
  assert.equal((await opens.next()).arrival, "resumed");
  await seen((user) => user === undefined);
});
