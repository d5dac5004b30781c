// One room: how it is, who is there, what it stores and says.

import { link } from "./address.js";
import { get, may, needs, roomPath, send, session } from "./api.js";
import { client } from "./client.js";
import { connections } from "./connections.js";
import { dialog, notice } from "./dialog.js";
import { button, el, every, keep, panel, say } from "./dom.js";
import * as as from "./format.js";
import { messages } from "./messages.js";
import { storage } from "./storage.js";

const LOOK_MS = 1_000;
const CLIENTS = 100;

export function room(main, signal, party, name) {
  const path = (rest) => roomPath(party, name, rest);
  const phase = el("span", { class: "badge" });
  const facts = el("dl", { class: "facts" });
  const faults = el("ol", { class: "faults" });
  const none = el("p", { class: "empty" }, "None.");
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const clients = connections(path);
  const acts = [
    button("Close…", () => close(path, name), {
      ...needs("admin"),
    }),
    button("Delete…", () => remove(path, name), {
      class: "danger",
      ...needs("admin"),
    }),
  ];
  main.append(
    el(
      "div",
      { class: "room-head" },
      el("a", { class: "back", href: link("rooms") }, "Rooms"),
      el("h1", {}, el("span", { class: "party" }, `${party}/`), name),
      phase,
      el("div", { class: "tools" }, acts),
    ),
    may("admin")
      ? ""
      : el(
          "p",
          { class: "hint" },
          `This token has the scope ${session.scope}: it looks, and changes nothing here.`,
        ),
    problem,
    el(
      "div",
      { class: "inspector" },
      el(
        "div",
        {},
        panel("State", [], facts),
        clients.node,
        storage(path, signal),
        panel("Recent faults", [], faults, none),
      ),
      el("div", {}, messages(path, signal), client(party, name, signal)),
    ),
  );

  every(LOOK_MS, signal, async () => {
    let seen = { phase: "not there", storage: {} };
    let trouble = "";
    try {
      seen = await get(path(`?connections=${CLIENTS}`));
    } catch (error) {
      if (error.status !== 404) trouble = error.message;
    }
    if (signal.aborted) return;
    problem.hidden = !trouble;
    say(problem, trouble);
    say(phase, seen.busy ? `${seen.phase}, busy` : seen.phase);
    phase.dataset.phase = seen.phase;
    tell(facts, seen);
    clients.show(seen);
    const found = seen.recent_faults ?? [];
    keep(
      faults,
      found,
      (fault) => `${fault.at_ms} ${fault.event} ${fault.reason}`,
      makeFault,
      () => {},
    );
    none.hidden = found.length > 0;
  });
}

function tell(facts, seen) {
  const times = seen.turn_times;
  const rows = [
    ["Module", seen.module ? seen.module.slice(0, 16) : "–"],
    [
      "Turns",
      times
        ? `${as.count(times.count)}, p50 ${as.micros(times.p50_us)}, p99 ${as.micros(times.p99_us)}, longest ${as.micros(times.longest_us)}`
        : as.count(seen.storage.turns),
    ],
    ["Messages", `${as.count(seen.messages_in)} in, ${as.count(seen.messages_out)} out`],
    ["Stored", `${as.counted(seen.storage.keys, "key")}, ${as.bytes(seen.storage.bytes)}`],
    ["Alarm", alarm(seen.alarm)],
    ["Timers", timers(seen.timers)],
    ["Requests", requests(seen.requests)],
    ["Streams", streams(seen.streams)],
    ["Remembers", remembered(seen.log)],
    ["Present", seen.presence ? as.counted(seen.presence.users, "user") : "–"],
    ["Webhooks", webhooks(seen.webhooks)],
    ["Ticks", seen.ticks_ms ? `every ${as.count(seen.ticks_ms)} ms` : "–"],
    [
      "At work",
      seen.at_work ? `${seen.at_work.event} for ${as.seconds(seen.at_work.for_ms / 1000)}` : "–",
    ],
    [
      "Waiting",
      `${as.count(seen.waiting_events)} events, ${as.bytes(seen.held_bytes)} for the disk`,
    ],
    ["Last active", as.ago(seen.last_active_ms)],
    ["Rests", seen.rests_ms ? as.seconds(seen.rests_ms / 1000) : "–"],
  ];
  keep(
    facts,
    rows,
    ([name]) => name,
    ([name]) => el("div", {}, el("dt", {}, name), el("dd")),
    (row, [, value]) => say(row.lastChild, value),
  );
}

function alarm(alarm) {
  if (!alarm) return "–";
  return `${due(alarm.due_ms)}${alarm.tries ? `, try ${alarm.tries + 1}` : ""}`;
}

// A room that is not there has none.
function timers(pending) {
  if (!pending?.next_ms) return "–";
  return `${pending.count ? `${as.count(pending.count)}, next ` : "next "}${due(pending.next_ms)}`;
}

// Requests to other servers and rooms that have no answer yet.
function requests(pending) {
  if (!pending?.count) return "–";
  const [first] = pending.oldest;
  const oldest = first ? `, oldest ${first.target}` : "";
  return `${as.count(pending.count)}, ${as.count(pending.running)} under way${oldest}`;
}

// Responses that are open.
function streams(open) {
  if (!open?.count) return "–";
  return `${as.count(open.count)} open, ${as.bytes(open.bytes)} queued`;
}

// The messages that it has sent and remembers, for clients that come back.
function remembered(log) {
  if (!log) return "–";
  const away = log.away ? `, ${as.counted(log.away, "client")} away` : "";
  return `${as.counted(log.messages, "message")}, ${as.bytes(log.bytes)}, newest ${log.newest}${away}`;
}

// What its project's receiver has not got.
function webhooks(counts) {
  if (!counts?.waiting && !counts?.dead) return "–";
  return `${as.count(counts.waiting)} waiting, ${as.count(counts.dead)} dead`;
}

function due(due_ms) {
  const left = (due_ms - Date.now()) / 1000;
  return `${as.date(due_ms)}, ${left > 0 ? `in ${as.span(left)}` : "due"}`;
}

function makeFault({ at_ms, event, reason, backtrace }) {
  return el(
    "li",
    {},
    el("div", { class: "meta" }, el("time", {}, as.clock(at_ms)), ` in ${event}`),
    el("p", {}, reason),
    backtrace
      ? el("details", {}, el("summary", {}, "Backtrace"), el("pre", { tabindex: "0" }, backtrace))
      : null,
  );
}

function close(path, name) {
  const why = el(
    "p",
    {},
    `Closes all connections of ${name} with 1012, so that they come back, and lets the room leave memory. What is stored stays.`,
  );
  return dialog("Close this room?", why, "Close the room", async () => {
    const { connections } = await send("POST", path("/close"));
    notice(`Closed, with ${as.counted(connections, "connection")}.`);
  });
}

function remove(path, name) {
  const why = el(
    "p",
    {},
    `Deletes all stored data of ${name} permanently, and closes its connections with 4410.`,
  );
  return dialog(
    "Delete this room?",
    why,
    "Delete permanently",
    async () => {
      const { keys, connections } = await send("DELETE", path());
      notice(
        `Deleted ${as.counted(keys, "key")}, and closed ${as.counted(connections, "connection")}.`,
      );
      location.hash = link("rooms");
    },
    { danger: true },
  );
}
