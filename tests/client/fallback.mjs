// The client where WebSockets do not pass, and where event streams do not either: the same room by other ways.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request as ask } from "node:http";
import { after, afterEach, describe, test } from "node:test";
import WebSocket from "ws";
import { Server } from "../server.mjs";
import { load } from "./packed.mjs";
import { events } from "./peer.mjs";
import { tokenOf } from "./project.mjs";

const { PartySocket, RoomClient } = await load("client.js");

const server = await Server.start();
after(() => server.stop());

const clients = [];
const proxies = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  for (const proxy of proxies.splice(0)) {
    proxy.close();
    proxy.closeAllConnections();
  }
});

const QUICK = { minReconnectionDelay: 20, maxReconnectionDelay: 100, minUptime: 1, connectionTimeout: 2_000 };
const isStream = ({ headers }) => headers.accept === "text/event-stream";

/** A proxy that knows only HTTP. What `stops` says of a request has no answer. */
async function proxy(stops = () => false) {
  const [hostname, port] = server.host.split(":");
  const seen = { upgrades: 0, streams: 0, polls: 0, posts: 0, authorized: 0 };
  const open = new Set();
  const http = createServer((request, response) => {
    if (isStream(request)) seen.streams += 1;
    else if (request.method === "POST") seen.posts += 1;
    else if (/[?&]_poll/.test(request.url)) seen.polls += 1;
    if (request.headers.authorization) seen.authorized += 1;
    if (stops(request)) return;
    const { method, url: path, headers } = request;
    const far = ask({ hostname, port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    open.add(request.socket);
    far.on("error", () => request.socket.destroy());
    response.on("close", () => far.destroy());
    request.pipe(far);
  });
  http.on("upgrade", (_, socket) => {
    seen.upgrades += 1;
    socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  proxies.push(http);
  return { host: `127.0.0.1:${http.address().port}`, seen, cut: () => open.forEach((socket) => socket.destroy()) };
}

async function visit(options) {
  const client = new RoomClient({ room: "lobby", WebSocket, ...QUICK, ...options });
  clients.push(client);
  client.addEventListener("error", () => {});
  const messages = events(client, "message");
  const heard = { client, messages, says: async () => (await messages.next()).data };
  heard.opens = events(client, "open");
  heard.closes = events(client, "close");
  await heard.opens.next();
  return heard;
}

const failure = (promise) => promise.then(() => assert.fail("it is acknowledged"), (error) => error);

const WAYS = [
  ["sse", () => false, (seen) => seen.streams],
  ["poll", isStream, (seen) => seen.polls],
];

for (const [way, stops, count] of WAYS) {
  describe(way, () => {
    /** Long answers that are held back are given up after this. */
    const options = { connectionTimeout: 300 };

    test("it carries texts and bytes both ways, and acknowledges them", async () => {
      const { host, seen } = await proxy(stops);
      const { client, messages, says } = await visit({ host, id: "ada", room: `${way}-talk`, ...options });
      assert.equal(client.transport, way);
      assert.deepEqual([seen.upgrades, client.status, client.readyState], [1, "open", 1]);
      const hello = await messages.next();
      assert.equal(hello.data, "hello ada");
      assert.match(hello.lastEventId, /^\d+-\d+$/);
      const other = await visit({ host: server.host, room: `${way}-talk` });
      assert.equal(other.client.transport, "websocket");
      assert.match(await says(), /^joined/);
      assert.match(await other.says(), /^hello/);
      client.send("others one\ntwo");
      await client.send("others three", { ack: true });
      assert.deepEqual([await other.says(), await other.says()], ["one\ntwo", "three"]);
      client.binaryType = "arraybuffer";
      client.send(new Uint8Array([0, 255, 7]));
      assert.deepEqual([...new Uint8Array(await says())], [0, 255, 7]);
      const failed = await failure(client.send("fail", { ack: true }));
      assert.equal(failed.code, "failed");
    });

    test("the way is remembered for the page, and a second room has a connection of its own", async () => {
      const { host, seen } = await proxy(stops);
      const { client } = await visit({ host, room: `${way}-first`, ...options });
      const den = client.join(`${way}-second`, { id: "bob" });
      const messages = events(den, "message");
      assert.equal((await messages.next()).data, "hello bob");
      await visit({ host, room: `${way}-third`, ...options });
      assert.equal(seen.upgrades, 1, "no further WebSocket was tried");
      assert.ok(count(seen) >= 3);
      await den.send("quiet", { ack: true });
    });

    test("a client whose network is cut comes back to its connection, and misses nothing", async () => {
      const { host, cut } = await proxy(stops);
      const { client, opens, says } = await visit({ host, id: "ada", room: `${way}-cut`, ...options });
      assert.equal(await says(), "hello ada");
      const speaker = await visit({ host: server.host, room: `${way}-cut` });
      assert.match(await says(), /^joined/);
      const heard = [];
      for (let round = 0; round < 4; round++) {
        speaker.client.send(`others ${2 * round}`);
        speaker.client.send(`others ${2 * round + 1}`);
        cut();
        // Between two polls there is nothing to lose.
        if (way === "sse") assert.equal((await opens.next()).arrival, "resumed");
        else heard.push(Number(await says()));
      }
      while (heard.length < 8) heard.push(Number(await says()));
      while (opens.waiting > 0) assert.equal((await opens.next()).arrival, "resumed");
      assert.deepEqual(heard, [0, 1, 2, 3, 4, 5, 6, 7]);
      assert.equal(client.transport, way);
    });

    test("a client comes back to a room that says nothing, and sends to it", async () => {
      const { host, cut } = await proxy(stops);
      const { client, opens, closes, says } = await visit({ host, id: "ada", room: `${way}-silent`, ...options });
      // The next poll is on its way, when the room has answered.
      assert.equal(await says(), "hello ada");
      await client.send("quiet", { ack: true });
      while (closes.waiting > 0) await closes.next();
      cut();
      assert.equal((await closes.next()).code, 1006);
      assert.equal((await opens.next()).arrival, "resumed");
      await client.send("quiet", { ack: true });
      assert.deepEqual([closes.waiting, client.transport], [0, way]);
    });

    test("what was sent before a close arrives, and in order", async () => {
      const { host } = await proxy(stops);
      const witness = await visit({ host: server.host, room: `${way}-drained` });
      assert.match(await witness.says(), /^hello/);
      const { client } = await visit({ host, room: `${way}-drained`, id: "ada", ...options });
      assert.equal(await witness.says(), "joined ada");
      for (const word of ["one", "two", "three"]) client.send(`others ${word}`);
      client.close();
      for (const word of ["one", "two", "three"]) assert.equal(await witness.says(), word);
    });

    test("it sees who is here, what they show, and that they leave", async () => {
      const { host } = await proxy(stops);
      const room = { party: "lounge", room: `${way}-present` };
      const { client: bob } = await visit({ host, id: "bob", ...room, ...options });
      const changes = events(bob, "presence");
      const { client: ada } = await visit({ host: server.host, id: "ada", ...room });
      assert.deepEqual([bob.transport, ada.transport], [way, "websocket"]);
      const shows = async (color) => {
        while (bob.presence.users.get("ada")?.data.color !== color) await changes.next();
      };
      ada.presence.set({ color: "red" });
      await shows("red");
      ada.presence.set({ color: "blue" });
      await shows("blue");
      ada.presence.set(null);
      await shows(undefined);
      assert.equal(bob.presence.users.size, 0);
      const errors = events(bob, "error");
      bob.presence.set({});
      assert.equal((await errors.next()).error.code, "no_socket");
    });

    test("a close has its code, and a final one is final", async () => {
      const { host } = await proxy(stops);
      const { client, closes } = await visit({ host, room: `${way}-close`, ...options });
      client.send("close 4409 enough");
      const { code, reason } = await closes.next();
      // The tries that led here are closes, too.
      const end = code === 1006 ? await last(closes, 4409) : { code, reason };
      assert.deepEqual([end.code, end.reason, client.status], [4409, "enough", "closed"]);
    });

    test("the token admits the client as a header, and a refusal is final", async () => {
      const { host, seen } = await proxy(stops);
      const token = await tokenOf("ada");
      const { client, says } = await visit({ host, party: "members", room: way, id: "tab", token, ...options });
      assert.equal(await says(), "hello tab");
      client.send("who");
      assert.equal(JSON.parse((await says()).slice("you are ".length)).sub, "ada");
      assert.ok(seen.authorized >= 1);
      const stranger = new RoomClient({ host, party: "members", room: way, WebSocket, ...QUICK, ...options });
      clients.push(stranger);
      assert.equal((await last(events(stranger, "close"), 4401)).code, 4401);
      assert.equal(stranger.status, "closed");
    });
  });
}

/** The close with this code, behind those of tries before. */
async function last(closes, wanted) {
  for (;;) {
    const close = await closes.next();
    if (close.code === wanted) return close;
    assert.equal(close.code, 1006);
  }
}

test("posts that wait are bounded, by their number and their bytes, and those that wait stay", async () => {
  for (const [count, text] of [[1_000, "quiet"], [2, "x".repeat(500_000)]]) {
    const { host } = await proxy(({ method }) => method === "POST");
    const { client } = await visit({ host, room: "bounded", transports: ["sse"] });
    const errors = events(client, "error");
    for (let at = 0; at < count; at++) client.send(text);
    client.send(text);
    assert.equal((await errors.next()).error.code, "queue_full");
    assert.equal((await failure(client.send(text, { ack: true }))).code, "queue_full");
    assert.deepEqual([errors.waiting, client.bufferedAmount], [0, count * text.length]);
  }
});

test("a platform without a WebSocket takes an event stream, and PartySocket says what is missing", async () => {
  const had = globalThis.WebSocket;
  globalThis.WebSocket = undefined;
  try {
    const { client, says } = await visit({ host: server.host, room: "bare", id: "ada", WebSocket: undefined });
    assert.equal(client.transport, "sse");
    assert.equal(await says(), "hello ada");
    const socket = new PartySocket({ host: server.host, room: "bare", maxRetries: 0 });
    assert.match((await events(socket, "error").next()).message, /this platform has no WebSocket: pass one/);
    socket.close();
  } finally {
    globalThis.WebSocket = had;
  }
});

test("a party that has neither streams nor polls is tried by a WebSocket again", async () => {
  const { host, seen } = await proxy();
  const client = new RoomClient({ host, party: "plain", room: "r", WebSocket, ...QUICK });
  clients.push(client);
  const errors = events(client, "error");
  const texts = [];
  while (seen.upgrades < 2) texts.push((await errors.next()).message);
  assert.ok(texts.some((text) => text.includes("event stream")), texts.join("\n"));
  assert.ok(texts.some((text) => text.includes("polls")), texts.join("\n"));
  assert.deepEqual([seen.streams, seen.polls], [1, 1]);
});

test("a page on which a WebSocket was open tries no other way", async () => {
  const args = ["--ephemeral"];
  const first = await Server.start({ args });
  const { client, closes } = await visit({ host: first.host, room: "open" });
  assert.equal(client.transport, "websocket");
  await first.kill();
  for (let at = 0; at < 3; at++) assert.equal((await closes.next()).code, 1006);
  const again = await Server.start({ port: first.port, args });
  const opens = events(client, "open");
  await opens.next();
  assert.equal(client.transport, "websocket");
  client.close();
  await again.stop();
});
