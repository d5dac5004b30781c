// How the client reaches its server and comes back to it. The other end is a script: it says what each case needs.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import WebSocket from "ws";
import { connect, failure, joined, peer } from "./connect.mjs";
import { load } from "./packed.mjs";
import { events } from "./peer.mjs";

const { PartySocket, RoomClient, RoomError } = await load("client.js");

describe("what a page sees", () => {
  test("the status says what becomes of the connection", async () => {
    const client = connect();
    const seen = [];
    client.onstatus = ({ status }) => seen.push(status);
    const opens = events(client, "open");
    const visit = await peer.visits.next();
    assert.equal(client.status, "connecting");
    visit.joined();
    assert.equal((await opens.next()).arrival, "new");
    assert.deepEqual([client.status, client.transport, client.readyState, client.protocol], ["open", "websocket", 1, "room.1"]);
    const closes = events(client, "close");
    visit.socket.close(1012, "new version");
    const { code, reason, wasClean } = await closes.next();
    assert.deepEqual([code, reason, wasClean], [1012, "new version", true]);
    assert.deepEqual([client.status, client.readyState, client.transport], ["waiting", 3, undefined]);
    (await peer.visits.next()).joined({ arrival: "resumed" });
    assert.equal((await opens.next()).arrival, "resumed");
    client.close();
    assert.deepEqual(seen, ["open", "waiting", "connecting", "open", "closed"]);
  });

  test("a gap is dispatched before the connection is open, with its reason", async () => {
    const { client, visit } = await joined();
    const log = [];
    client.ongap = ({ gap }) => log.push(`gap ${gap}`);
    client.onopen = ({ arrival }) => log.push(`open ${arrival}`);
    const opens = events(client, "open");
    visit.socket.terminate();
    const back = await peer.visits.next();
    assert.deepEqual([back.query.get("_since"), back.query.get("_resume")], ["1-1", "0".repeat(32)]);
    back.joined({ arrival: "gap", gap: "too_old" });
    await opens.next();
    assert.deepEqual([log, client.arrival], [["gap too_old", "open gap"], "gap"]);
  });

  test("messages have their id, texts and bytes as the page wants them", async () => {
    const { client, visit } = await joined();
    const messages = events(client, "message");
    visit.say({ type: "message", channel: 0, id: "1-2", data: "text" });
    const text = await messages.next();
    assert.deepEqual([text.data, text.lastEventId, text.replayed, text.origin], ["text", "1-2", false, `ws://${peer.host}`]);
    const bytes = new Uint8Array([...new Uint8Array(20), 7]);
    visit.socket.send(bytes);
    assert.deepEqual([...new Uint8Array(await (await messages.next()).data.arrayBuffer())], [7]);
    client.binaryType = "arraybuffer";
    visit.socket.send(bytes);
    assert.deepEqual([...new Uint8Array((await messages.next()).data)], [7]);
  });

  test("what is neither text nor bytes is sent as text, as by a WebSocket", async () => {
    const { client, visit } = await joined();
    for (const [data, text] of [[7, "7"], [null, "null"], [["a", "b"], "a,b"]]) {
      client.send(data);
      assert.equal((await visit.frames.next()).data, text);
    }
    assert.equal(client.bufferedAmount, 0);
  });

  test("a blob keeps its place among what is sent", async () => {
    const { client, visit } = await joined();
    assert.equal(client.send(new Blob(["blob"])), false);
    client.send("after");
    assert.equal((await visit.frames.next()).subarray(13).toString(), "blob");
    assert.equal((await visit.frames.next()).data, "after");
  });
});

describe("acknowledgements and the queue", () => {
  test("send with ack resolves with the answer, and a lost answer is asked for with the same id", async () => {
    const { client, visit } = await joined();
    const first = client.send("one", { ack: true });
    const { ref, id } = await visit.frames.next();
    visit.say({ type: "ack", channel: 0, ref });
    assert.equal(await first, undefined);
    const second = client.send("two", { ack: true });
    const sent = await visit.frames.next();
    assert.notEqual(sent.id, id);
    visit.socket.terminate();
    const back = await peer.visits.next();
    back.joined({ arrival: "resumed" });
    const again = await back.frames.next();
    assert.deepEqual([again.data, again.id], ["two", sent.id]);
    back.say({ type: "ack", channel: 0, ref: again.ref });
    await second;
  });

  test("an answer that does not come in time is an error, and the message is not sent later", async () => {
    const client = connect({ startClosed: true });
    const error = await failure(client.send("x", { ack: true, timeout: 5 }));
    assert.ok(error instanceof RoomError);
    assert.equal(error.code, "no_answer");
    client.send("y");
    client.reconnect();
    const visit = await peer.visits.next();
    visit.joined();
    assert.equal((await visit.frames.next()).data, "y");
  });

  test("a message takes the place of one that had no answer in time", async () => {
    const { client, visit } = await joined({ ackTimeout: Infinity });
    const none = client.send("0", { ack: true, timeout: 50 });
    const owed = Array.from({ length: 128 }, (_, at) => failure(client.send(`${at + 1}`, { ack: true })));
    assert.equal((await failure(none)).code, "no_answer");
    for (let at = 0; at <= 128; at++) assert.equal((await visit.frames.next()).data, `${at}`);
    client.close();
    for (const error of await Promise.all(owed)) assert.equal(error.code, "closed");
  });

  test("a time without an end is none for a timer", async () => {
    const warnings = [];
    const warned = ({ name }) => warnings.push(name);
    process.on("warning", warned);
    try {
      const times = ["heartbeat", "ackTimeout", "connectionTimeout", "minUptime", "pauseAfter", "maxReconnectionDelay"];
      const endless = Object.fromEntries(times.map((name) => [name, Infinity]));
      const { client, visit } = await joined({ ...endless, reconnectionDelayGrowFactor: Infinity });
      const sent = client.send("x", { ack: true });
      const { type, ref } = await visit.frames.next();
      assert.equal(type, "send");
      visit.say({ type: "ack", channel: 0, ref });
      await sent;
      assert.deepEqual(warnings, []);
    } finally {
      process.off("warning", warned);
    }
  });

  test("a full queue refuses further messages and keeps the ones it has", async () => {
    for (const [bound, texts] of [[{ maxEnqueuedMessages: 2 }, ["a", "b"]], [{ maxEnqueuedBytes: 4 }, ["aa", "ü"]]]) {
      const client = connect({ startClosed: true, ...bound });
      const errors = events(client, "error");
      for (const text of texts) assert.equal(client.send(text), false);
      client.send("c");
      assert.equal((await errors.next()).error.code, "queue_full");
      assert.equal((await failure(client.send("c", { ack: true }))).code, "queue_full");
      client.reconnect();
      const visit = await peer.visits.next();
      visit.joined();
      for (const text of [...texts, "d"]) {
        if (text === "d") client.send("d");
        assert.equal((await visit.frames.next()).data, text);
      }
    }
  });

  test("a closed client refuses what it has sent, and keeps what waits", async () => {
    const { client, visit } = await joined();
    const sent = client.send("sent", { ack: true });
    await visit.frames.next();
    client.close();
    assert.equal((await failure(sent)).code, "closed");
    client.send("kept");
    client.reconnect();
    const back = await peer.visits.next();
    back.joined();
    assert.equal((await back.frames.next()).data, "kept");
  });

  test("what is taken out of the queue is refused", async () => {
    const client = connect({ startClosed: true });
    const taken = client.send("a", { ack: true });
    client.send("b");
    assert.deepEqual(client.drainQueuedMessages(), ["a", "b"]);
    assert.equal((await failure(taken)).code, "dropped");
  });
});

describe("a network or a page that goes away", () => {
  /** Globals of a page, for the time of a case. */
  function page() {
    const [window, document, navigator] = [new EventTarget(), new EventTarget(), { onLine: true }];
    document.hidden = false;
    const had = ["document", "navigator"].map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
    Object.defineProperty(globalThis, "document", { value: document, configurable: true });
    Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
    const signals = [];
    globalThis.addEventListener = (type, heard, options) => {
      signals.push(options.signal);
      window.addEventListener(type, heard, options);
    };
    return {
      /** True if nobody listens to the page. */
      isAlone: () => signals.length > 0 && signals.every((signal) => signal.aborted),
      hide(hidden) {
        document.hidden = hidden;
        document.dispatchEvent(new Event("visibilitychange"));
      },
      online(onLine) {
        navigator.onLine = onLine;
        window.dispatchEvent(new Event(onLine ? "online" : "offline"));
      },
      restore() {
        delete globalThis.addEventListener;
        for (const [name, property] of had) {
          if (property) Object.defineProperty(globalThis, name, property);
          else delete globalThis[name];
        }
      },
    };
  }

  /** A host that is far away, and is the peer all the same. */
  function far() {
    const { host } = peer;
    return { host: "rooms.example", WebSocket: class extends WebSocket {
      constructor(url, protocols) {
        super(url.replace("wss://rooms.example", `ws://${host}`), protocols);
      }
    } };
  }

  test("without a network it waits for it, and connects when it is back", async () => {
    const at = page();
    try {
      const { client, visit, opens } = await joined(far());
      const statuses = events(client, "status");
      at.online(false);
      visit.socket.terminate();
      assert.equal((await statuses.next()).status, "offline");
      at.online(true);
      assert.equal((await statuses.next()).status, "connecting");
      (await peer.visits.next()).joined({ arrival: "resumed" });
      assert.equal((await opens.next()).arrival, "resumed");
      client.close();
    } finally {
      at.restore();
    }
  });

  test("a client that never pauses waits for the network all the same", async () => {
    const at = page();
    try {
      const client = connect(far(), PartySocket);
      const statuses = events(client, "status");
      const visit = await peer.visits.next();
      assert.deepEqual([(await statuses.next()).status], ["open"]);
      at.online(false);
      visit.socket.terminate();
      assert.equal((await statuses.next()).status, "offline");
      at.online(true);
      await peer.visits.next();
      client.close();
      assert.ok(at.isAlone());
    } finally {
      at.restore();
    }
  });

  test("a page that is hidden for long pauses, and comes back to its connection when it is seen", async () => {
    const at = page();
    try {
      const { client, visit, opens } = await joined({ pauseAfter: 5 });
      const closes = events(client, "close");
      at.hide(true);
      const { code, reason } = await closes.next();
      assert.deepEqual([code, reason, client.status], [3001, "the page is hidden", "paused"]);
      await visit.ended.next();
      client.send("kept");
      at.hide(false);
      const back = await peer.visits.next();
      assert.equal(back.query.get("_since"), "1-1");
      back.joined({ arrival: "resumed" });
      await opens.next();
      assert.equal((await back.frames.next()).data, "kept");
      client.close();
      // A client that is closed listens to no page.
      at.hide(true);
      at.hide(false);
      assert.deepEqual([client.status, peer.visits.waiting, at.isAlone()], ["closed", 0, true]);
    } finally {
      at.restore();
    }
  });

  test("a server that says nothing is asked, and left when it does not answer", async () => {
    const { client, visit, opens } = await joined({ heartbeat: 10, connectionTimeout: 100 });
    const { type, ref } = await visit.frames.next();
    assert.equal(type, "ping");
    visit.say({ type: "pong", ref });
    assert.equal((await visit.frames.next()).type, "ping", "it asks again, as it was answered");
    const closes = events(client, "close");
    const { code, reason } = await closes.next();
    assert.deepEqual([code, reason], [1006, "the server is silent"]);
    (await peer.visits.next()).joined({ arrival: "resumed" });
    await opens.next();
  });
});

describe("retries", () => {
  test("each comes later than the one before, up to a bound and a part of it at random", async () => {
    const delays = [];
    const debugLogger = (_, what, ms) => { if (what === "connects in") delays.push(Math.round(ms)); };
    const { random } = Math;
    Math.random = () => 0.5;
    try {
      const bounds = { minReconnectionDelay: 10, maxReconnectionDelay: 18, maxRetries: 4, minUptime: 60_000 };
      const client = connect({ ...bounds, debug: true, debugLogger });
      const statuses = events(client, "status");
      for (let at = 0; at < 5; at++) (await peer.visits.next()).socket.close(1011);
      while ((await statuses.next()).status !== "closed");
      assert.deepEqual(delays, [0, 11, 14, 19, 20]);
    } finally {
      Math.random = random;
    }
  });
});

describe("a page of partysocket", () => {
  test("reads the frames of room.1 itself, if it asks for them", async () => {
    const client = connect({ protocols: ["room.1"] }, PartySocket);
    const messages = events(client, "message");
    const visit = await peer.visits.next();
    visit.joined();
    assert.equal(JSON.parse((await messages.next()).data).type, "joined");
    client.send('{"type":"ping","ref":1}');
    assert.deepEqual(await visit.frames.next(), { type: "ping", ref: 1 });
  });

  test("gives by its own query where it comes back, where the client does not know", async () => {
    const own = { _since: "1-2", _resume: "s", _rewind: "3" };
    connect({ protocols: ["room.ids"], query: () => own }, PartySocket);
    const { query } = await peer.visits.next();
    assert.deepEqual(Object.fromEntries(query), { _pk: "ada", ...own });
  });

  test("finds the same interface on both clients", () => {
    for (const Client of [PartySocket, RoomClient]) {
      const client = connect({ startClosed: true, room: "r", party: "p", path: "a" }, Client);
      const { id, name, room, path, roomUrl, readyState, OPEN, retryCount, url, protocol, extensions, binaryType } = client;
      assert.deepEqual({ id, name, room, path, roomUrl, readyState, OPEN, retryCount, url, protocol, extensions, binaryType }, {
        id: "ada", name: "p", room: "r", path: "/a", roomUrl: `ws://${peer.host}/parties/p/r/a`, readyState: 3, OPEN: 1,
        retryCount: 0, url: "", protocol: "", extensions: "", binaryType: "blob",
      });
      client.updateProperties({ room: "s" });
      assert.equal(client.roomUrl, `ws://${peer.host}/parties/p/s/a`);
      assert.throws(() => connect({ room: undefined }, Client), /room/);
    }
  });
});
