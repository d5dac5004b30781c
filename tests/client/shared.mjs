// Several rooms over one socket, and the tokens that open them. The other end is a script: it says what each case needs.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connect, failure, joined, peer, replacePeer } from "./connect.mjs";
import { events } from "./peer.mjs";

describe("several rooms", () => {
  test("they share the socket, and each has its own events", async () => {
    const { client, visit } = await joined();
    const den = client.join("den", { party: "games", query: async () => ({ word: "hi" }) });
    const opens = events(den, "open");
    const { ref, ...join } = await visit.frames.next();
    assert.deepEqual(join, { type: "join", party: "games", room: "den", id: "ada", query: "word=hi" });
    assert.equal(den.status, "connecting");
    visit.joined({ channel: 1, ref });
    await opens.next();
    const [ours, theirs] = [events(client, "message"), events(den, "message")];
    visit.say({ type: "message", channel: 1, data: "to den" });
    visit.say({ type: "message", channel: 0, data: "to lobby" });
    assert.equal((await theirs.next()).data, "to den");
    assert.equal((await ours.next()).data, "to lobby");
    const closes = events(den, "close");
    den.leave();
    assert.equal((await closes.next()).code, 1000);
    assert.equal((await visit.frames.next()).type, "leave");
    assert.deepEqual([den.status, client.status], ["closed", "open"]);
  });

  test("a join that may succeed later is repeated, and one that may not closes the room alone", async () => {
    const { client, visit } = await joined();
    const den = client.join("den");
    const closes = events(den, "close");
    const opens = events(den, "open");
    const first = await visit.frames.next();
    visit.say({ type: "error", ref: first.ref, code: "busy", message: "later", retry_ms: 1 });
    assert.equal((await closes.next()).code, 1013);
    const again = await visit.frames.next();
    visit.joined({ channel: 1, ref: again.ref });
    await opens.next();
    const nobody = client.join("nobody");
    const [errors, ends] = [events(nobody, "error"), events(nobody, "close")];
    const asked = await visit.frames.next();
    visit.say({ type: "error", ref: asked.ref, code: "forbidden", message: "not you" });
    assert.equal((await errors.next()).error.code, "forbidden");
    const { code, reason } = await ends.next();
    assert.deepEqual([code, reason], [4403, "not you"]);
    assert.deepEqual([nobody.status, den.status, client.status], ["closed", "open", "open"]);
  });

  test("a room of another node gets a socket of its own, and goes with its client", async () => {
    const { client, visit } = await joined();
    const far = client.join("far");
    const opens = events(far, "open");
    const { ref } = await visit.frames.next();
    visit.say({ type: "error", ref, code: "elsewhere", message: "another node" });
    const own = await peer.visits.next();
    assert.match(own.url, /^\/parties\/main\/far\?_pk=ada/);
    own.joined();
    await opens.next();
    far.send("hi");
    assert.equal((await own.frames.next()).data, "hi");
    client.close();
    assert.deepEqual([await own.ended.next(), await visit.ended.next(), far.status], [1000, 1000, "closed"]);
  });

  test("a room that the server closes comes back over the same socket, unless the code is final", async () => {
    const { client, visit, opens } = await joined();
    const closes = events(client, "close");
    visit.say({ type: "closed", channel: 0, code: 1013, reason: "too slow" });
    assert.equal((await closes.next()).code, 1013);
    const { type, room, since, resume, ref } = await visit.frames.next();
    assert.deepEqual([type, room, since, resume], ["join", "lobby", "1-1", "0".repeat(32)]);
    visit.joined({ channel: 5, ref, arrival: "continued" });
    assert.equal((await opens.next()).arrival, "continued");
    visit.say({ type: "closed", channel: 5, code: 4409, reason: "replaced" });
    assert.equal((await closes.next()).code, 4409);
    assert.deepEqual([client.status, client.shouldReconnect], ["closed", false]);
    assert.equal(await visit.ended.next(), 1000, "no room is left");
  });

  test("a room that is left and entered again at once is joined once", async () => {
    const { client, visit } = await joined();
    const den = client.join("den", { query: async () => ({ word: "hi" }) });
    const opens = events(den, "open");
    den.leave();
    den.enter();
    const { type, room, ref } = await visit.frames.next();
    assert.deepEqual([type, room], ["join", "den"]);
    visit.joined({ channel: 1, ref });
    await opens.next();
    den.send("hi");
    assert.equal((await visit.frames.next()).data, "hi");
  });

  test("a socket whose last room gets one of its own is closed", async () => {
    const { client, visit } = await joined();
    const den = client.join("den");
    const opens = events(den, "open");
    visit.joined({ channel: 1, ref: (await visit.frames.next()).ref });
    await opens.next();
    client.leave();
    assert.equal((await visit.frames.next()).type, "leave");
    visit.say({ type: "closed", channel: 1, code: 1012, reason: "moved" });
    const { type, ref } = await visit.frames.next();
    assert.equal(type, "join");
    visit.say({ type: "error", ref, code: "elsewhere", message: "another node" });
    assert.equal(await visit.ended.next(), 1000);
    (await peer.visits.next()).joined();
    await opens.next();
    assert.deepEqual([client.status, den.status], ["closed", "open"]);
  });

  test("a room that is joined while the application decides about a closed socket comes with the next socket", async () => {
    let den;
    const shouldReconnectOnClose = () => {
      den ??= client.join("den");
      return true;
    };
    const { client, visit } = await joined({ shouldReconnectOnClose });
    const errors = events(client, "error");
    visit.socket.close(1012);
    const back = await peer.visits.next();
    back.joined();
    const { type, room } = await back.frames.next();
    assert.deepEqual([type, room, errors.waiting], ["join", "den", 0]);
  });

  test("a room that closes right after each join is tried as often as a socket", async () => {
    const { client, visit } = await joined({ maxRetries: 2, minUptime: 60_000 });
    const den = client.join("den");
    const closes = events(den, "close");
    for (let channel = 1; channel <= 3; channel++) {
      visit.joined({ channel, ref: (await visit.frames.next()).ref });
      visit.say({ type: "closed", channel, code: 1013, reason: "too slow" });
      assert.equal((await closes.next()).code, 1013);
    }
    assert.deepEqual([den.status, client.status], ["closed", "open"]);
    den.enter();
    assert.equal((await visit.frames.next()).type, "join");
  });

  test("when the first room is refused, the others connect without it", async () => {
    const client = connect();
    const den = client.join("den");
    const [closes, opens] = [events(client, "close"), events(den, "open")];
    (await peer.visits.next()).socket.close(4403, "not you");
    assert.equal((await closes.next()).code, 4403);
    const visit = await peer.visits.next();
    assert.match(visit.url, /^\/parties\/main\/den\?/);
    visit.joined();
    await opens.next();
    assert.deepEqual([client.status, den.status], ["closed", "open"]);
  });

  test("a server without room.1 gives each room its own socket, and messages as they are", async () => {
    await replacePeer({ protocol: "chat" });
    const client = connect({ protocols: ["chat"] });
    const opens = events(client, "open");
    const visit = await peer.visits.next();
    assert.deepEqual(visit.offered, ["chat"]);
    await opens.next();
    const den = client.join("den");
    const denOpens = events(den, "open");
    const other = await peer.visits.next();
    assert.match(other.url, /den/);
    await denOpens.next();
    const messages = events(den, "message");
    other.say("raw");
    assert.equal((await messages.next()).data, '"raw"');
    den.send('"hi"');
    assert.equal(await other.frames.next(), "hi");
    assert.equal((await failure(client.send("x", { ack: true }))).code, "no_acks");
  });
});

describe("tokens", () => {
  test("the token is asked for each time, goes as a subprotocol, and is renewed before its end", async () => {
    let asked = 0;
    const token = async () => `t${(asked += 1)}`;
    const { client, visit } = await joined({ token });
    assert.deepEqual(visit.offered, ["room.1", "bearer.t1"]);
    assert.doesNotMatch(visit.url, /t1/);
    visit.say({ type: "error", channel: 0, code: "token_expires", message: "soon", retry_ms: 30_000 });
    const { type, token: shown, ref } = await visit.frames.next();
    assert.deepEqual([type, shown], ["token", "t2"]);
    const errors = events(client, "error");
    visit.say({ type: "error", ref, code: "unauthorized", message: "no" });
    assert.equal((await errors.next()).error.code, "unauthorized");
    visit.socket.close(1012);
    assert.deepEqual((await peer.visits.next()).offered, ["room.1", "bearer.t3"]);
  });

  test("a token is renewed also if the answer to the one before was lost", async () => {
    const { client, visit, opens } = await joined({ token: () => "t" });
    const expires = { type: "error", channel: 0, code: "token_expires", message: "soon", retry_ms: 30_000 };
    visit.say(expires);
    assert.equal((await visit.frames.next()).type, "token");
    client.reconnect();
    const back = await peer.visits.next();
    back.joined();
    await opens.next();
    back.say(expires);
    assert.equal((await back.frames.next()).type, "token");
  });

  test("a token that has ended is replaced once, and a second refusal is final", async () => {
    let asked = 0;
    const { client, visit, opens } = await joined({ token: () => `t${(asked += 1)}` });
    const closes = events(client, "close");
    visit.socket.close(4401, "expired");
    const back = await peer.visits.next();
    assert.deepEqual(back.offered, ["room.1", "bearer.t2"]);
    back.joined();
    await opens.next();
    back.socket.close(4401, "expired");
    (await peer.visits.next()).socket.close(4401, "expired");
    for (let at = 0; at < 3; at++) assert.equal((await closes.next()).code, 4401);
    assert.equal(client.status, "closed");
  });

  test("one room's token is for that room, and is asked for again when it ended", async () => {
    let asked = 0;
    const { client, visit } = await joined();
    const den = client.join("den", { token: () => `ticket-${(asked += 1)}` });
    const first = await visit.frames.next();
    assert.equal(first.token, "ticket-1");
    visit.joined({ channel: 1, ref: first.ref });
    visit.say({ type: "closed", channel: 1, code: 4401, reason: "expired" });
    const again = await visit.frames.next();
    assert.equal(again.token, "ticket-2");
    const closes = events(den, "close");
    visit.say({ type: "error", ref: again.ref, code: "unauthorized", message: "used" });
    assert.equal((await closes.next()).code, 4401);
    assert.deepEqual([den.status, client.status], ["closed", "open"]);
  });

  test("a function that fails is an error, and is asked again", async () => {
    let asked = 0;
    const client = connect({ token: async () => {
      if ((asked += 1) === 1) throw new Error("no network");
      return "t";
    } });
    assert.equal((await events(client, "error").next()).message, "no network");
    assert.deepEqual((await peer.visits.next()).offered, ["room.1", "bearer.t"]);
  });
});
