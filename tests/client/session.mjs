// The core of the client, without sockets and timers: which frames it makes of what happens, and which events.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { load } from "./packed.mjs";

const { Member, RoomError, Session } = await load("client/session.js");
const { Presence } = await load("client/presence.js");
const { decode, encode } = await load("client/frames.js");

const SOCKET = { rooms: true, acks: true, ids: true };
const POSTS = { rooms: false, acks: true, ids: false };
const PLAIN = { rooms: false, acks: false, ids: false };

/** A session, whose frames and events are kept until they are taken. */
function begin(can = SOCKET) {
  const frames = [];
  const session = new Session((frame) => frames.push(frame));
  const make = (prefix = "m") => {
    const events = [];
    const member = new Member((type, detail) => events.push([type, detail]), prefix);
    return { member, events: () => events.splice(0) };
  };
  const { member, events } = make();
  /** Opens a way to the server, whose first room is joined with these keys. */
  const open = (keys = {}) => {
    session.opened(member, can);
    session.hear({ type: "joined", channel: 0, connection: "ada", secret: "s", at: "7-40", arrival: "new", ...keys });
  };
  return { session, member, events, make, open, frames: () => frames.splice(0) };
}

/** A message, and how it was settled: `undefined` as long as it is not. */
function message(session, member, data, { acked = true, again } = {}) {
  const sent = { outcome: undefined };
  const settled = acked ? (error) => { sent.outcome = error ?? "acknowledged"; } : undefined;
  sent.entry = { data, bytes: 1, settled, again };
  sent.now = session.send(member, sent.entry);
  return sent;
}

describe("messages", () => {
  test("those before the room is joined wait, and leave in order before `joined` is reported", () => {
    const { session, member, events, open, frames } = begin();
    assert.equal(message(session, member, "a", { acked: false }).now, false);
    const b = message(session, member, "b");
    assert.deepEqual(frames(), []);
    open();
    assert.deepEqual(frames(), [
      { type: "send", channel: 0, data: "a" },
      { type: "send", channel: 0, data: "b", id: "m-1", ref: 1 },
    ]);
    assert.deepEqual(events().map(([type]) => type), ["joined"]);
    assert.equal(message(session, member, "c", { acked: false }).now, true);
    session.hear({ type: "ack", channel: 0, ref: 1 });
    assert.equal(b.outcome, "acknowledged");
    assert.deepEqual([member.bytes, member.waiting.length, member.unanswered.size], [0, 0, 0]);
  });

  test("a refusal names its code and when the same may succeed", () => {
    const { session, member, open } = begin();
    open();
    const sent = message(session, member, "x");
    session.hear({ type: "error", channel: 0, ref: 1, code: "too_fast", message: "slow down", retry_ms: 20 });
    assert.ok(sent.outcome instanceof RoomError);
    const { code, message: text, retryMs } = sent.outcome;
    assert.deepEqual([code, text, retryMs], ["too_fast", "slow down", 20]);
  });

  test("after a loss a resumed connection gets again, with its id, what had no answer, before what waits", () => {
    const { session, member, open, frames } = begin();
    open();
    const first = message(session, member, "first");
    frames();
    session.lost();
    const second = message(session, member, "second");
    open({ arrival: "resumed" });
    assert.deepEqual(frames().map(({ data, id }) => [data, id]), [["first", "m-1"], ["second", "m-2"]]);
    // The answers have the numbers of the new socket; one to the old number is nobody's.
    session.hear({ type: "ack", channel: 0, ref: 1 });
    assert.deepEqual([first.outcome, second.outcome], [undefined, undefined]);
    session.hear({ type: "ack", channel: 0, ref: 3 });
    session.hear({ type: "ack", channel: 0, ref: 2 });
    assert.deepEqual([first.outcome, second.outcome], ["acknowledged", "acknowledged"]);
  });

  test("a connection that is not the former one gets again only what may be handled twice", () => {
    for (const arrival of ["new", "continued", "gap"]) {
      const { session, member, open, frames } = begin();
      open();
      const once = message(session, member, "once");
      const twice = message(session, member, "twice", { again: true });
      frames();
      session.lost();
      open({ arrival });
      assert.equal(once.outcome.code, "lost");
      assert.equal(twice.outcome, undefined);
      assert.deepEqual(frames().map(({ data }) => data), ["twice"]);
    }
  });

  test("a post has no id, so that it is not made again although the connection is resumed", () => {
    const { session, member, open } = begin(POSTS);
    open();
    const sent = message(session, member, "x");
    session.lost();
    open({ arrival: "resumed" });
    assert.equal(sent.outcome.code, "lost");
  });

  test("at most 128 acknowledgements are owed, and further messages keep their order", () => {
    const { session, member, open, frames } = begin();
    open();
    for (let at = 0; at < 130; at++) message(session, member, `${at}`);
    message(session, member, "after", { acked: false });
    assert.equal(frames().length, 128);
    session.hear({ type: "ack", channel: 0, ref: 1 });
    session.hear({ type: "ack", channel: 0, ref: 2 });
    assert.deepEqual(frames().map(({ data }) => data), ["128", "129", "after"]);
  });

  test("a message whose bytes are still read keeps its place", () => {
    const { session, member, open, frames } = begin();
    open();
    const read = message(session, member, undefined, { acked: false });
    message(session, member, "after", { acked: false });
    assert.deepEqual([read.now, frames()], [false, []]);
    read.entry.data = "read";
    session.flush(member);
    assert.deepEqual(frames().map(({ data }) => data), ["read", "after"]);
  });

  test("one that is settled early is not sent, and its late answer is nobody's", () => {
    const { session, member, open, frames } = begin();
    const early = message(session, member, "early");
    member.settle(early.entry, new RoomError("no_answer", ""));
    open();
    assert.deepEqual(frames(), []);
    const late = message(session, member, "late");
    member.settle(late.entry, new RoomError("no_answer", ""));
    session.hear({ type: "ack", channel: 0, ref: 1 });
    assert.equal(late.outcome.code, "no_answer");
  });

  test("a server without room.1 acknowledges nothing, and says so", () => {
    const { session, member, open, frames } = begin(PLAIN);
    const sent = message(session, member, "x");
    message(session, member, "y", { acked: false });
    open({ secret: undefined, at: undefined });
    assert.equal(sent.outcome.code, "no_acks");
    assert.deepEqual(frames().map(({ data }) => data), ["y"]);
    assert.equal(member.secret, undefined);
  });
});

describe("rooms", () => {
  test("several share one socket, and a loss brings each back to its own connection", () => {
    const { session, member, make, open, frames } = begin();
    const den = make("d");
    open();
    const ask = { party: "main", room: "den", id: "ada", query: "", token: "t", rewind: 5 };
    session.join(den.member, ask);
    assert.deepEqual(frames(), [{ type: "join", ...ask, since: undefined, resume: undefined, ref: 1 }]);
    session.hear({ type: "joined", channel: 3, ref: 1, connection: "ada", secret: "d", at: "9-1", arrival: "new" });
    session.hear({ type: "message", channel: 3, id: "9-2", data: "to den" });
    session.hear({ type: "message", channel: 9, id: "9-3", data: "to nobody" });
    assert.deepEqual(den.events().map(([type, { data }]) => [type, data]), [["joined", undefined], ["message", "to den"]]);
    session.lost();
    open({ arrival: "resumed" });
    session.join(den.member, ask);
    const [join] = frames();
    assert.deepEqual([join.since, join.resume, join.rewind], ["9-2", "d", 5]);
    assert.deepEqual([member.since, member.secret], ["7-40", "s"]);
  });

  test("a refused join is reported with its frame", () => {
    const { session, make, open } = begin();
    const den = make();
    open();
    session.join(den.member, { room: "den" });
    session.hear({ type: "error", ref: 1, code: "forbidden", message: "no" });
    assert.deepEqual(den.events(), [["refused", { type: "error", ref: 1, code: "forbidden", message: "no" }]]);
  });

  test("a room that closes one connection ends no other, and what it owed waits for the next one", () => {
    const { session, member, events, open, frames } = begin();
    open();
    const sent = message(session, member, "x");
    events();
    session.hear({ type: "closed", channel: 0, code: 1013, reason: "slow" });
    assert.deepEqual(events(), [["closed", { type: "closed", channel: 0, code: 1013, reason: "slow" }]]);
    assert.equal(member.channel, undefined);
    session.hear({ type: "message", channel: 0, data: "after its end" });
    assert.deepEqual(events(), []);
    message(session, member, "later", { acked: false });
    frames();
    session.join(member, { room: "lobby" });
    session.hear({ type: "joined", channel: 1, ref: 2, secret: "t", at: "7-50", arrival: "continued" });
    assert.equal(sent.outcome.code, "lost");
    assert.deepEqual(frames().map(({ type, data, channel }) => [type, data, channel]), [
      ["join", undefined, undefined], ["send", "later", 1],
    ]);
  });

  test("a room that is left while it is joined is left when the answer comes", () => {
    const { session, make, open, frames } = begin();
    const den = make();
    open();
    session.join(den.member, { room: "den" });
    session.leave(den.member);
    frames();
    session.hear({ type: "joined", channel: 1, ref: 1, arrival: "new", at: null });
    assert.deepEqual(frames(), [{ type: "leave", channel: 1, ref: 2 }]);
    assert.deepEqual(den.events(), []);
  });

  test("a room that is left and entered again at once has the newer connection alone", () => {
    const { session, make, open, frames } = begin();
    const den = make();
    open();
    session.join(den.member, { room: "den" });
    session.leave(den.member);
    session.join(den.member, { room: "den" });
    frames();
    session.hear({ type: "joined", channel: 1, ref: 1, arrival: "new", at: null });
    assert.deepEqual(frames(), [{ type: "leave", channel: 1, ref: 3 }]);
    assert.equal(den.member.channel, undefined);
    session.hear({ type: "joined", channel: 2, ref: 2, arrival: "new", at: null });
    // The server replaced the older one, and says so.
    session.hear({ type: "closed", channel: 1, code: 4409, reason: "replaced" });
    assert.equal(den.member.channel, 2);
    assert.deepEqual(den.events().map(([type, { channel }]) => [type, channel]), [["joined", 2]]);
  });

  test("a refusal of an older join is not told", () => {
    const { session, make, open } = begin();
    const den = make();
    open();
    session.join(den.member, { room: "den" });
    session.leave(den.member);
    session.join(den.member, { room: "den" });
    session.hear({ type: "error", ref: 1, code: "busy", message: "no" });
    assert.deepEqual(den.events(), []);
  });

  test("the first room is left although it is entered again before the server has answered", () => {
    const { session, member, events, frames } = begin();
    session.opened(member, SOCKET);
    session.leave(member);
    session.join(member, { room: "lobby" });
    frames();
    session.hear({ type: "joined", channel: 0, secret: "s", at: "7-1", arrival: "new" });
    assert.deepEqual(frames(), [{ type: "leave", channel: 0, ref: 2 }]);
    session.hear({ type: "joined", channel: 1, ref: 1, secret: "t", at: "7-1", arrival: "new" });
    assert.deepEqual([member.channel, member.secret, events().length], [1, "t", 1]);
  });

  test("what waits in a room that is left is refused", () => {
    const { session, member, open } = begin();
    open();
    const sent = message(session, member, "x");
    session.leave(member);
    assert.equal(sent.outcome.code, "left");
    assert.equal(member.bytes, 0);
  });
});

describe("coming back", () => {
  test("a client continues after the last message, and after `at` where it had none or misses some", () => {
    const { session, member, open } = begin();
    open();
    assert.equal(member.since, "7-40");
    session.hear({ type: "message", channel: 0, id: "7-42", data: "x" });
    session.hear({ type: "message", channel: 0, data: "without an id" });
    assert.equal(member.since, "7-42");
    session.lost();
    open({ arrival: "continued", at: "7-42" });
    assert.equal(member.since, "7-42");
    session.lost();
    open({ arrival: "gap", gap: "too_old", at: "8-1", secret: "t" });
    assert.deepEqual([member.since, member.secret], ["8-1", "t"]);
  });

  test("messages of the time before are told apart, and do not move where the client continues", () => {
    const { session, member, events, open } = begin();
    open({ at: "10-9" });
    events();
    session.hear({ type: "message", channel: 0, id: "9-100", data: "9-100" });
    assert.equal(member.since, "10-9");
    for (const id of ["10-9", "10-10"]) session.hear({ type: "message", channel: 0, id, data: id });
    assert.deepEqual(events().map(([, { id, replayed }]) => [id, replayed]), [
      ["9-100", true], ["10-9", true], ["10-10", false],
    ]);
    assert.equal(member.since, "10-10");
  });

  test("a party without ids gives nothing to come back with", () => {
    const { member, open } = begin();
    open({ at: null });
    assert.deepEqual([member.secret, member.since], [undefined, undefined]);
  });

  test("a token's end and other notices are told to their room", () => {
    const { session, events, open, frames } = begin();
    open();
    events();
    session.hear({ type: "error", channel: 0, code: "token_expires", message: "soon", retry_ms: 30_000 });
    session.hear({ type: "error", channel: 0, code: "too_slow", message: "lost" });
    assert.deepEqual(events().map(([type, { code, retryMs }]) => [type, code, retryMs]), [
      ["expires", "token_expires", 30_000], ["error", "too_slow", undefined],
    ]);
    const answers = [];
    session.token("new", (error) => answers.push(error?.code));
    assert.deepEqual(frames(), [{ type: "token", token: "new", ref: 1 }]);
    session.hear({ type: "error", ref: 1, code: "other_client", message: "no" });
    assert.deepEqual(answers, ["other_client"]);
  });
});

describe("presence", () => {
  const users = (presence) => [...presence.users.keys()];

  test("the list follows the server's events, and each change is reported", () => {
    const presence = new Presence(() => true);
    const [ada, bob, eve] = ["ada", "bob", "eve"].map((user) => ({ user, data: { x: 1 }, connections: 1 }));
    assert.deepEqual(presence.hear({ sync: [ada, bob] }), { joined: [ada, bob], updated: [], left: [] });
    const before = presence.users;
    presence.hear({ joined: [eve], updated: [{ ...ada, flags: ["typing"] }], left: ["bob"] });
    assert.deepEqual(users(presence), ["ada", "eve"]);
    assert.deepEqual(presence.users.get("ada").flags, ["typing"]);
    assert.deepEqual(presence.users.get("eve").flags, []);
    assert.deepEqual([...before.keys()], ["ada", "bob"], "who keeps a list sees that there is a newer one");
    assert.deepEqual(presence.hear({ sync: [bob, eve] }), { joined: [bob], updated: [eve], left: ["ada"] });
  });

  test("what a client shows is said again to a connection that is not resumed, and to no other", () => {
    const { session, member, open, frames } = begin();
    member.presence.set({ color: "red" });
    assert.deepEqual(frames(), [], "it is not joined yet");
    open();
    const shown = { type: "presence", channel: 0, data: { color: "red" } };
    assert.deepEqual(frames(), [{ ...shown, ref: 1 }]);
    session.hear({ type: "ack", channel: 0, ref: 1 });
    session.lost();
    open({ arrival: "resumed" });
    assert.deepEqual(frames(), []);
    session.lost();
    open({ arrival: "continued" });
    assert.deepEqual(frames(), [{ ...shown, ref: 2 }]);
    member.presence.set(null);
    assert.deepEqual(frames(), [{ type: "presence", channel: 0, data: null, ref: 3 }]);
    session.hear({ type: "ack", channel: 0, ref: 3 });
    session.lost();
    open({ arrival: "gap" });
    assert.deepEqual(frames(), []);
  });

  test("what has no answer is said again to each connection, until it has one", () => {
    for (const data of [{ color: "red" }, null]) {
      for (const arrival of ["resumed", "continued", "gap", "new"]) {
        const { session, member, open, frames } = begin();
        open();
        member.presence.set({ color: "blue" });
        session.hear({ type: "ack", channel: 0, ref: 1 });
        session.lost();
        member.presence.set(data);
        frames();
        open({ arrival });
        assert.deepEqual(frames(), [{ type: "presence", channel: 0, data, ref: 2 }]);
        // The answer is lost, too.
        session.lost();
        open({ arrival });
        assert.deepEqual(frames(), [{ type: "presence", channel: 0, data, ref: 3 }]);
        session.hear({ type: "ack", channel: 0, ref: 3 });
        session.lost();
        open({ arrival: "resumed" });
        assert.deepEqual(frames(), []);
      }
    }
  });

  test("an answer to an older value is none to the newest, and only what may succeed later is tried again", () => {
    const { session, member, open, frames } = begin();
    open();
    member.presence.set(1);
    member.presence.set(2);
    session.hear({ type: "ack", channel: 0, ref: 1 });
    const back = () => {
      frames();
      session.lost();
      open({ arrival: "resumed" });
      return frames().map(({ data }) => data);
    };
    assert.deepEqual(back(), [2]);
    session.hear({ type: "error", channel: 0, ref: 3, code: "busy", message: "full", retry_ms: 9 });
    assert.deepEqual(back(), [2]);
    session.hear({ type: "error", channel: 0, ref: 4, code: "too_large", message: "no" });
    assert.deepEqual(back(), []);
  });

  test("a flag that is shown again and again is a frame each half of its time", () => {
    let now = 0;
    const said = [];
    const presence = new Presence((keys) => said.push(keys), () => now);
    for (now of [0, 100, 2_499, 2_500]) presence.flag("typing", 5_000);
    presence.flag("typing", 0);
    now = 2_600;
    presence.flag("typing", 5_000);
    assert.deepEqual(said.map((keys) => keys.for_ms), [5_000, 5_000, 0, 5_000]);
  });

  test("a flag is sent at once if it is to end earlier, was refused, or went away with its user", () => {
    const said = [];
    const presence = new Presence((keys, answered) => said.push({ ...keys, answered }), () => 0);
    const sent = () => said.splice(0).map((keys) => keys.for_ms);
    presence.flag("typing", 60_000);
    presence.flag("typing", 1_000);
    assert.deepEqual(sent(), [60_000, 1_000]);
    presence.flag("typing", 1_000);
    presence.flag("typing", 2_000);
    assert.deepEqual(sent(), []);
    presence.set(null);
    presence.flag("typing", 1_000);
    const [, { answered }] = said;
    assert.deepEqual(sent(), [undefined, 1_000]);
    answered(new RoomError("not_present", ""));
    presence.flag("typing", 1_000);
    assert.deepEqual(sent(), [1_000]);
  });

  test("a refusal is an error of the room", () => {
    const { session, member, events, open } = begin();
    open();
    member.presence.set({});
    events();
    session.hear({ type: "error", channel: 0, ref: 1, code: "no_presence", message: "off" });
    assert.deepEqual(events().map(([type, { code }]) => [type, code]), [["error", "no_presence"]]);
  });
});

describe("frames", () => {
  test("texts are JSON, and bytes have a head as PROTOCOL.md shows it", () => {
    assert.equal(encode({ type: "send", channel: 1, data: "hi" }), '{"type":"send","channel":1,"data":"hi"}');
    const bytes = encode({ type: "send", channel: 258, ref: 2, id: "m-1", data: new Uint8Array([9, 8]) });
    assert.deepEqual([...bytes], [0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 2, 3, 109, 45, 49, 9, 8]);
    const plain = encode({ type: "send", channel: 0, data: new Uint8Array([0, 7]).subarray(1).buffer.slice(1) });
    assert.deepEqual([...plain], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
  });

  test("bytes of a room are read with their id, or without one", () => {
    const said = (epoch, seq) => {
      const bytes = new Uint8Array(22);
      const head = new DataView(bytes.buffer);
      head.setUint32(0, 3);
      head.setBigUint64(4, epoch);
      head.setBigUint64(12, seq);
      bytes.set([5, 6], 20);
      return decode(bytes.buffer);
    };
    const { data, ...rest } = said(7n, 2n ** 60n);
    assert.deepEqual(rest, { type: "message", channel: 3, id: `7-${2n ** 60n}` });
    assert.deepEqual([...new Uint8Array(data)], [5, 6]);
    assert.equal(said(0n, 0n).id, undefined);
  });
});
