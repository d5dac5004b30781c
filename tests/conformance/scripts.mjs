// Rooms in TypeScript, as they are written for both generations of PartyKit, seen by the stock client and by plain sockets.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Stock from "partysocket";
import WebSocket from "ws";
import { Server, STEP_MS, within } from "../server.mjs";
import { Ear, plain, QUICK } from "./client.mjs";

let server;
before(async () => { server = await Server.start({ args: ["--ephemeral"] }); });
after(() => server.stop());

/** A stock client of a room. */
const stock = (options) => new Ear(new Stock({ host: server.host, WebSocket, ...QUICK, ...options }));

/** Asks a room in `kit.ts` or `served.ts` something. */
async function ask(client, question) {
  if (client.socket.readyState === WebSocket.CONNECTING) await client.next("open");
  client.socket.send(question);
  return JSON.parse(await client.hears());
}

/** The events that a room kept, once so many connections have closed: a client's close is answered before the room has it. */
async function events(client, closed) {
  const look = async () => {
    for (;;) {
      const all = await ask(client, "events");
      if (all.filter((event) => event.startsWith("close ")).length >= closed) return all;
    }
  };
  return within(STEP_MS, `events with ${closed} closes`, look());
}

/** Status, text and headers of an answer. */
async function get(path, options) {
  const response = await fetch(server.url + path, options);
  return { status: response.status, text: await response.text(), headers: response.headers };
}

/** Code and reason of a socket's end. */
async function end(client) {
  const { code, reason } = await client.next("close");
  return [code, reason];
}

test("both paths of a room lead to it, and its name is decoded once", async () => {
  const client = stock({ room: "names", query: { ask: "user" } });
  assert.equal(await client.hears(), "user ada of names");
  client.socket.close();
  const short = plain(server, "/party/names?ask=user");
  assert.equal(await short.hears(), "user ada of names");
  short.socket.close();
  for (const [segment, name] of [["a%20b", "a b"], ["100%2525", "100%25"], ["r%2F1", "r/1"]]) {
    const { headers } = await get(`/parties/kit/${segment}`);
    assert.equal(headers.get("x-room"), name, segment);
  }
});

test("a party is found by every spelling of its name, and one that is not there is 404", async () => {
  for (const party of ["chat-room", "ChatRoom", "chatRoom", "chat_room", "CHAT_ROOM"]) {
    assert.match((await get(`/parties/${party}/x`)).text, /^GET\nx/, party);
  }
  const nobody = await get("/parties/nobody/x");
  assert.equal(nobody.status, 404);
  assert.match(nobody.text, /party nobody not found/);
  assert.equal((await end(plain(server, "/parties/nobody/x")))[0], 4404);
});

test("who brings no id gets one", async () => {
  for (const query of ["", "?", "?_pk="]) {
    const client = plain(server, `/parties/kit/ids${query}`);
    assert.match((await ask(client, "connection"))[0], /^[0-9a-f-]{36}$/);
    client.socket.close();
  }
  const chosen = stock({ party: "kit", room: "ids", id: "ada lovelace/é" });
  assert.equal((await ask(chosen, "connection"))[0], "ada lovelace/é");
  chosen.socket.close();
});

test("the URL of a connection has its path and its query", async () => {
  const client = stock({ party: "kit", room: "urls", path: "deep/er", query: { token: "a b&c", none: null } });
  const [, uri] = await ask(client, "connection");
  const { protocol, host, pathname, searchParams } = new URL(uri);
  assert.deepEqual([protocol, host, pathname, searchParams.get("token")], ["http:", server.host, "/parties/kit/urls/deep/er", "a b&c"]);
  client.socket.close();
});

test("what onConnect sends is the first message, whatever the client sent before it was open", async () => {
  const client = stock({ party: "kit", room: "first", query: { hello: "" } });
  client.socket.send("one nobody");
  await client.next("open");
  assert.equal(await client.hears(), "hello null");
  assert.deepEqual(JSON.parse(await client.hears()), [false, null]);
  client.socket.close();
});

test("events of a connection come in the order of PartyKit", async () => {
  const first = stock({ party: "kit", room: "order", id: "ann" });
  await first.next("open");
  const second = stock({ party: "kit", room: "order", id: "bob" });
  assert.deepEqual(await ask(second, "list"), ["ann", "bob"]);
  first.socket.close(1000, "done");
  await first.next("close");
  assert.deepEqual(await events(second, 1), [
    "constructor order", "start", "tags ann", "connect ann", "tags bob", "connect bob", "close ann 3 false",
  ]);
  second.socket.close();
});

test("a second connection with an id takes the place of the first, and loses nothing with its end", async () => {
  const first = plain(server, "/parties/kit/twice?_pk=ann");
  assert.deepEqual(await ask(first, "list"), ["ann"]);
  const second = plain(server, "/parties/kit/twice?_pk=ann");
  assert.equal((await end(first))[0], 4409);
  assert.deepEqual(await ask(second, "one ann"), [true, null]);
  assert.deepEqual((await events(second, 1)).slice(2), ["tags ann", "connect ann", "close ann 3 false", "tags ann", "connect ann"]);
  second.socket.close();
});

test("codes and reasons of closes go both ways", async () => {
  const watching = plain(server, "/parties/served/closes?_pk=watch");
  for (const [id, leave] of [
    ["ann", (socket) => socket.close(3005, "done")],
    ["bob", (socket) => socket.close()],
    ["cy", (socket) => socket.terminate()],
  ]) {
    const client = plain(server, `/parties/served/closes?_pk=${id}`);
    await client.next("open");
    leave(client.socket);
    const [code, reason] = await end(client);
    if (id !== "cy") assert.deepEqual([code, reason], id === "ann" ? [3005, "done"] : [1005, ""]);
  }
  const [ann, bob, cy] = (await events(watching, 3)).filter((event) => event.startsWith("close "));
  assert.deepEqual([ann, bob], ["close ann 3005 done true 3", "close bob 1005  true 3"]);
  assert.match(cy, /^close cy 1006 .*false 3$/);
  watching.socket.close();

  for (const [question, expected] of [["close 4001 bye", [4001, "bye"]], ["close", [1005, ""]]]) {
    const client = plain(server, "/parties/kit/closes");
    await client.next("open");
    client.socket.send(question);
    assert.deepEqual(await end(client), expected);
  }
});

test("onBeforeConnect goes on, answers and refuses", async () => {
  const answered = new WebSocket(`ws://${server.host}/parties/main/door?ask=answer`);
  const status = await new Promise((resolve) => answered.on("unexpected-response", (_, response) => resolve(response.statusCode)));
  answered.on("error", () => {});
  assert.equal(status, 403);
  for (const [asked, expected] of [["error", [4401, "no token"]], ["string", [4401, "no token at all"]], ["refuse", [4403, "not you"]]]) {
    assert.deepEqual(await end(plain(server, `/parties/main/door?ask=${asked}`)), expected);
  }
  const client = plain(server, "/parties/main/door?ask=user");
  assert.equal(await client.hears(), "user ada of door");
  client.socket.close();
});

test("onBeforeRequest goes on, answers and refuses", async () => {
  assert.equal((await get("/parties/main/door")).text, "user null");
  assert.equal((await get("/parties/main/door?ask=change")).text, "user eve");
  const { status, text } = await get("/parties/main/door?ask=error");
  assert.deepEqual([status, text], [401, "not for you"]);
});

test("onFetch and onSocket get what belongs to no room", async () => {
  assert.equal((await get("/about")).text, "fetched /about false");
  assert.equal((await get("/parties/main/")).status, 404, "paths below /parties are the server's");
  assert.equal((await get("/nothing")).status, 404);
  const client = plain(server, "/ws");
  assert.equal(await client.hears(), "user null");
  client.socket.close();
  assert.deepEqual(await end(plain(server, "/closed")), [4000, "closed by onSocket"]);
});

test("every method and path reaches onRequest, and an error its status", async () => {
  for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
    const body = method === "GET" ? undefined : "body";
    const { text } = await get("/parties/kit/r/deep/path?q=1", { method, body });
    assert.equal(text, `${method} /parties/kit/r/deep/path?q=1 ${body ?? ""}`);
  }
  const head = await get("/parties/kit/r", { method: "HEAD" });
  assert.deepEqual([head.status, head.headers.get("x-room")], [200, "r"]);
  const teapot = await get("/parties/kit/r/teapot");
  assert.deepEqual([teapot.status, teapot.text], [418, "short and stout"]);
  const failed = await get("/parties/kit/r/fail");
  assert.equal(failed.status, 500);
  assert.match(failed.text, /a secret of the author/, "in development the developer reads why");
});

test("tags beyond their bounds close with 1011", async () => {
  const tags = (count) => Array.from({ length: count }, (_, at) => `tag=${at}`).join("&");
  const [code, reason] = await end(plain(server, `/parties/kit/tags?${tags(10)}`));
  assert.equal(code, 1011);
  assert.match(reason, /A connection can only have 10 tags/, "in development the developer reads why");
  const client = plain(server, `/parties/kit/tags?_pk=ann&${tags(9)}`);
  assert.deepEqual(await ask(client, "list 8"), ["ann"]);
  client.socket.close();
});

test("a handler that waits for a timer lets others run", async () => {
  const client = plain(server, "/parties/kit/waits");
  await client.next("open");
  client.socket.send("wait");
  client.socket.send("one nobody");
  assert.deepEqual(JSON.parse(await client.hears()), [false, null]);
  assert.equal(await client.hears(), '"waited"');
  client.socket.close();
});

test("the first subprotocol that is offered is accepted, which no PartyKit does", async () => {
  const client = stock({ party: "kit", room: "protocols", protocols: ["app.v2", "app.v1"] });
  await client.next("open");
  assert.equal(client.socket.protocol, "app.v2");
  client.socket.close();
});

test("a message of more than a mebibyte is 1009", async () => {
  const client = plain(server, "/parties/kit/large");
  await client.next("open");
  client.socket.send("x".repeat((1 << 20) + 1));
  assert.equal((await end(client))[0], 1009);
});

test("the worker of a PartyServer project adds its CORS headers and answers OPTIONS", async () => {
  const origin = "access-control-allow-origin";
  const answer = await get("/parties/served/x/sub?ask=seen");
  assert.deepEqual([answer.text, answer.headers.get(origin)], ["/parties/served/x/sub?ask=seen served Served x", "*"]);
  const preflight = await get("/parties/served/x", { method: "OPTIONS" });
  assert.deepEqual([preflight.status, preflight.text, preflight.headers.get(origin)], [200, "", "*"]);
  assert.equal((await get("/parties/served/x?ask=answer")).status, 403);
  assert.equal((await get("/parties/served/x?ask=throw")).status, 401);
});

test("rooms call each other's methods and ask each other by fetch", async () => {
  const client = plain(server, "/parties/served/a");
  await client.next("open");
  assert.equal(await ask(client, "add b 2"), 2);
  assert.equal(await ask(client, "add b 3"), 5);
  assert.equal(await ask(client, "ask b"), "/parties/served/b/sub?x=1 null");
  client.socket.close();
});

test("an alarm of a room calls onAlarm", async () => {
  const client = plain(server, "/parties/served/alarms");
  await client.next("open");
  client.socket.send(`alarm ${Date.now()}`);
  const heard = [await client.hears(), await client.hears()];
  assert.deepEqual(heard, ["null", "alarm of alarms"]);
  client.socket.close();
});
