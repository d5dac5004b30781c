// The hooks in React, under Node: in StrictMode, and rendered on a server.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, afterEach, beforeEach, test } from "node:test";
import WebSocket from "ws";
import { home, load } from "./packed.mjs";
import { Peer, Queue } from "./peer.mjs";

// Development builds, which mount everything twice.
process.env.NODE_ENV = "development";
const require = createRequire(`${home}/index.js`);
const { StrictMode, createElement, useEffect } = require("react");
const { renderToString } = require("react-dom/server");
const { create } = require("react-test-renderer");
const { RoomClient, useHistory, usePresence, useRoom } = await load("react.js");

let peer;
let shown;
beforeEach(async () => { peer = await Peer.start(); });
afterEach(() => {
  shown?.unmount();
  shown = undefined;
  peer.stop();
});
const complaints = [];
const { error } = console;
console.error = (...what) => complaints.push(what.join(" "));
after(() => { console.error = error; });

const QUICK = { WebSocket, minReconnectionDelay: 20, maxReconnectionDelay: 50 };

/** Renders what the function returns, in StrictMode. Returns each rendering's value, and how to render again. */
function render(use, props) {
  const values = new Queue("rendering");
  const Probe = (props) => {
    const value = use(props);
    // After the effects of the hooks, so that what they set up is there.
    useEffect(() => { values.push(value); });
    return null;
  };
  const element = (props) => createElement(StrictMode, null, createElement(Probe, props));
  shown = create(element(props));
  return { values, again: (props) => shown.update(element(props)) };
}

/** The next rendering whose value fulfils this. */
async function until(values, holds) {
  for (;;) {
    const value = await values.next();
    if (holds(value)) return value;
  }
}

test("a component that is mounted twice opens one socket, and leaves when it is unmounted", async () => {
  const heard = [];
  const onMessage = ({ data }) => heard.push(data);
  const { values } = render(() => useRoom({ host: peer.host, room: "lobby", onMessage, ...QUICK }));
  assert.equal((await values.next()).status, "connecting");
  const visit = await peer.visits.next();
  visit.joined();
  visit.say({ type: "message", channel: 0, data: "hi" });
  const { room } = await until(values, ({ status }) => status === "open");
  room.send("once");
  assert.equal((await visit.frames.next()).data, "once");
  assert.equal(peer.visits.waiting, 0);
  shown.unmount();
  assert.equal(await visit.ended.next(), 1000);
  assert.deepEqual(heard, ["hi"]);
});

test("a new handler or function makes no new connection, and another room does", async () => {
  const heard = [];
  const use = ({ room, word }) => {
    const onMessage = ({ data }) => heard.push(`${word} ${data}`);
    const { status } = useRoom({ host: peer.host, room, query: () => ({ word }), onMessage, ...QUICK });
    return { status, word };
  };
  const { values, again } = render(use, { room: "lobby", word: "first" });
  const visit = await peer.visits.next();
  assert.equal(visit.query.get("word"), "first");
  visit.joined();
  await until(values, ({ status }) => status === "open");
  again({ room: "lobby", word: "second" });
  await until(values, ({ word }) => word === "second");
  visit.say({ type: "message", channel: 0, data: "hi" });
  visit.socket.close(1012);
  const back = await peer.visits.next();
  assert.equal(back.query.get("word"), "second", "the latest function is asked");
  assert.deepEqual(heard, ["second hi"]);
  back.joined();
  await until(values, ({ status }) => status === "open");
  again({ room: "den", word: "third" });
  const den = await peer.visits.next();
  assert.match(den.url, /^\/parties\/main\/den\?/);
  assert.equal(await back.ended.next(), 1000);
  assert.equal(peer.visits.waiting, 0);
});

test("a component that is not enabled is in no room until it is", async () => {
  const use = ({ enabled }) => useRoom({ host: peer.host, room: "lobby", enabled, ...QUICK });
  const { values, again } = render(use, { enabled: false });
  assert.equal((await values.next()).status, "closed");
  again({ enabled: true });
  const visit = await peer.visits.next();
  visit.joined();
  await until(values, ({ status }) => status === "open");
  again({ enabled: false });
  assert.equal(await visit.ended.next(), 1000);
});

test("several components share the socket of one client", async () => {
  const client = new RoomClient({ host: peer.host, room: "lobby", ...QUICK });
  const visit = await peer.visits.next();
  visit.joined();
  const { values } = render(() => useRoom({ client, room: "den", rewind: 5 }));
  const { ref, ...join } = await visit.frames.next();
  assert.deepEqual(join, { type: "join", party: "main", room: "den", id: client.id, query: "", rewind: 5 });
  visit.joined({ channel: 1, ref });
  await until(values, ({ status }) => status === "open");
  shown.unmount();
  const left = await visit.frames.next();
  assert.deepEqual([left.type, left.channel, visit.frames.waiting], ["leave", 1, 0]);
  client.close();
});

test("usePresence shows who is here, and what the component shows", async () => {
  const use = ({ color }) => {
    const { room } = useRoom({ host: peer.host, room: "lobby", ...QUICK });
    return usePresence(room, { color });
  };
  const { values, again } = render(use, { color: "red" });
  const visit = await peer.visits.next();
  visit.joined();
  const said = await visit.frames.next();
  assert.deepEqual([said.type, said.data], ["presence", { color: "red" }]);
  visit.say({ type: "presence", channel: 0, sync: [{ user: "ada", data: { color: "red" }, connections: 1 }] });
  const { users, flag } = await until(values, ({ users }) => users.size === 1);
  assert.deepEqual(users.get("ada"), { user: "ada", data: { color: "red" }, connections: 1, flags: [] });
  again({ color: "blue" });
  assert.deepEqual((await visit.frames.next()).data, { color: "blue" });
  flag("typing", 3_000);
  const typing = await visit.frames.next();
  assert.deepEqual([typing.flag, typing.for_ms], ["typing", 3_000]);
});

test("useHistory has what was before and what comes, and restarts after a gap", async () => {
  const use = () => {
    const { room } = useRoom({ host: peer.host, room: "lobby", rewind: 10, ...QUICK });
    return useHistory(room, { keep: 3, parse: JSON.parse });
  };
  const { values } = render(use);
  const visit = await peer.visits.next();
  assert.equal(visit.query.get("_rewind"), "10");
  visit.joined({ at: "1-4" });
  for (const [id, data] of [["1-3", 1], ["1-4", 2], ["1-5", 3], ["1-6", 4]]) {
    visit.say({ type: "message", channel: 0, id, data: `{"n":${data}}` });
  }
  const list = await until(values, (list) => list.at(-1)?.data.n === 4);
  assert.deepEqual(list, [
    { id: "1-4", data: { n: 2 }, replayed: true },
    { id: "1-5", data: { n: 3 }, replayed: false },
    { id: "1-6", data: { n: 4 }, replayed: false },
  ]);
  visit.socket.terminate();
  const back = await peer.visits.next();
  assert.equal(back.query.get("_since"), "1-6");
  back.joined({ arrival: "gap", gap: "too_old", at: "1-90" });
  await until(values, (list) => list.length === 0);
});

test("a server renders without a window and without a socket", () => {
  const Page = () => {
    const { room, status } = useRoom({ room: "lobby", onMessage() {} });
    const { users } = usePresence(room, { color: "red" });
    const history = useHistory(room);
    return createElement("p", null, `${status} ${users.size} ${history.length}`);
  };
  assert.equal(renderToString(createElement(StrictMode, null, createElement(Page))), "<p>connecting 0 0</p>");
  assert.equal(peer.visits.waiting, 0);
});

test("React complained about nothing but the age of its test renderer", () => {
  assert.deepEqual(complaints.filter((text) => !text.includes("react-test-renderer is deprecated")), []);
});
