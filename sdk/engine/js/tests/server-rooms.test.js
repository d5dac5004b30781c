// The kinds of rooms, what they get, and what they ask of others.

import { equal, rejects, test, throws } from "room:test";
import { makeRoom } from "room:server/adapters.js";
import { bind, classOf, currentEnv } from "room:server/context.js";
import { DurableObject, env, WorkerEntrypoint } from "room:server/cloudflare.js";
import { Connection, outgoing } from "room:server/connection.js";
import { messageOf, describe, cutToBytes } from "room:server/errors.js";
import { fromResponse, toRequest, toResponse } from "room:server/http.js";
import { choose } from "room:server/load.js";
import { methodOf, parties, stub } from "room:server/outcalls.js";
import { Server } from "room:server/partyserver.js";

const bytes = (text) => new TextEncoder().encode(text);
const client = new Connection({ id: "ada", uri: "http://h/r?_pk=ada", tags: ["t"], state: bytes('{"n":1}') });

test("each kind of room gets its own arguments", () => {
  const seen = [];
  class ByServer extends Server {
    onMessage(connection, message) {
      seen.push([connection.id, message]);
    }
    onClose(connection, code, reason, clean) {
      seen.push([connection.id, code, reason, clean]);
    }
  }
  class ByPartyKit {
    constructor(room) {
      this.room = room;
    }
    onMessage(message, connection) {
      seen.push([message, connection.id, this.room.id, this.room.name]);
    }
  }
  const byObject = { onMessage: (message, connection, room) => seen.push([message, connection.id, room.id]) };
  class ByDurable extends DurableObject {
    webSocketMessage(connection, message) {
      seen.push([connection.id, message, this.ctx.id.name]);
    }
  }
  for (const kind of [ByServer, ByPartyKit, byObject, ByDurable]) {
    const room = makeRoom(choose({ default: kind }));
    if (room.isDirect) room.it.onMessage(client, "m");
    else room.message(client, "m");
    if (kind === ByServer) room.close(client, 4000, "bye", true);
  }
  const direct = [["ada", "m"], ["ada", 4000, "bye", true]];
  equal(seen, [...direct, ["m", "ada", "tests", "main"], ["m", "ada", "tests"], ["ada", "m", "tests"]]);
});

test("a room without a handler answers as its generation does", async () => {
  const kit = makeRoom(choose({ default: class { onMessage() {} } })).request(new Request("http://h/"));
  equal([kit.status, await kit.text()], [500, "No onRequest handler"]);
  const server = makeRoom(choose({ default: class extends Server {} })).request(new Request("http://h/"));
  equal([server.status, await server.text()], [404, "Not implemented"]);
});

test("only public methods can be called from other rooms", () => {
  class Counter extends Server {
    own = () => 1;
    add(a, b) {
      return a + b;
    }
    onRequest() {}
  }
  const room = makeRoom(choose({ default: Counter }));
  equal(room.method("add", [1, 2]), 3);
  for (const name of ["own", "onRequest", "constructor", "toString", "__proto__", "none", "ctx", "hasOwnProperty"]) {
    throws(() => room.method(name, []), `no public method ${name}()`);
  }
  throws(() => room.own("onTimer", 'the timer "x" is due'), 'the timer "x" is due, and the room has no onTimer()');
});

test("a connection", () => {
  equal([client.id, client.uri, client.tags, client.state, client.readyState], [
    "ada",
    "http://h/r?_pk=ada",
    ["ada", "t"],
    { n: 1 },
    WebSocketState.open,
  ]);
  equal([client.server, client.deserializeAttachment(), client.OPEN, Connection.CLOSED], ["tests", { n: 1 }, 1, 3]);
  throws(() => client.send({}), "send an object as JSON.stringify(object)");
  throws(() => client.close(undefined, "why"), "you must also specify a code");
  equal([outgoing(5), outgoing("t"), outgoing(new Uint16Array([1]))], ["5", "t", new Uint8Array([1, 0])]);
  throws(() => outgoing(null) && outgoing([]), "send an object");
});

const WebSocketState = { open: 1 };

test("requests and responses keep what they have", async () => {
  const request = toRequest({ method: "POST", uri: "http://h/a?b", headers: [["x", "1"], ["x", "2"]], body: bytes("hi") });
  equal([request.method, request.url, request.headers.get("x"), await request.text()], ["POST", "http://h/a?b", "1, 2", "hi"]);
  const response = toResponse({ status: 201, headers: [["set-cookie", "a"], ["set-cookie", "b"]], body: bytes("ok") });
  equal([response.status, response.headers.getSetCookie(), await response.text()], [201, ["a", "b"], "ok"]);
  equal(toResponse({ status: 204, headers: [], body: bytes("") }).body, null);
  const sent = fromResponse(Response.json({ a: 1 }), "onRequest");
  equal([sent.status, sent.headers, new TextDecoder().decode(sent.body)], [
    200,
    [["content-type", "application/json"]],
    '{"a":1}',
  ]);
  throws(() => fromResponse(undefined, "onRequest"), "onRequest must return a Response, and returned undefined");
  const read = new Response("x");
  await read.text();
  throws(() => fromResponse(read, "onRequest"), "TypeError");
});

test("stubs of other rooms", async () => {
  const other = parties.ChatRoom.get("a b");
  equal([other.party, other.name, String(other.id), other.then], ["chat-room", "a b", "a b", undefined]);
  throws(() => other.socket(), "use fetch() or call() of it");
  throws(() => stub("chat", ""), "must not be empty");
  await rejects(other.fetch("no-slash"), "Path must start with /");
  await rejects(other.fetch("/", { signal: AbortSignal.abort(new Error("gone")) }), "gone");
  equal(methodOf(new Uint8Array([0xfe, ...bytes('["add",[1]]')])), { method: "add", args: [1] });
  equal(methodOf(bytes("[1]")), undefined);
  throws(() => methodOf(new Uint8Array([0xfe, ...bytes("[1]")])), "the call of a method is invalid");
});

test("env has the exported classes, and the manifest's parties in the spellings of bindings", () => {
  const told = Symbol.for("room.parties");
  globalThis[told] = [["rooms", "Chat"], ["room-list", "RoomList"], ["elsewhere", null], ["main", "default"]];
  bind(["Chat", "RoomList", "Unlisted"]);
  try {
    const all = currentEnv();
    equal(Object.keys(all).slice(0, 3), ["Chat", "RoomList", "Unlisted"]);
    const names = ["Chat", "CHAT", "ROOMS", "Rooms", "RoomList", "ROOM_LIST", "Unlisted", "ELSEWHERE", "Elsewhere", "MAIN"];
    const parties = ["rooms", "rooms", "rooms", "rooms", "room-list", "room-list", "unlisted", "elsewhere", "elsewhere", "main"];
    equal(names.map((name) => all[name]?.party), parties);
    equal([classOf("rooms"), classOf("room-list"), classOf("main")], ["Chat", "RoomList", "main"]);
  } finally {
    delete globalThis[told];
    bind([]);
  }
});

test("what is not there says so", () => {
  throws(() => new WorkerEntrypoint(), "WorkerEntrypoint does not exist here");
  equal(env.NOT_SET, undefined);
  const room = makeRoom(choose({ default: class { constructor(room) { this.room = room; } onMessage() {} } })).it.room;
  throws(() => room.context.ai, "room.context.ai does not exist here");
  throws(() => room.context.assets, "static files are served without the room");
});

test("whatever is thrown has a text", () => {
  equal([messageOf("s"), messageOf(new Error("e")), messageOf(new TypeError()), messageOf(null)], ["s", "e", "TypeError", "null"]);
  equal(messageOf(Object.create(null)), "a value that cannot be converted to text was thrown");
  equal(describe(new Error("outer", { cause: "inner" })).endsWith("caused by: inner"), true);
  equal([cutToBytes("abc", 2), cutToBytes("aé", 2), cutToBytes("😀b", 4)], ["ab", "a", "😀"]);
});
