// What the node comes to, second by second. It is looked at from the first sight of this view on, also while
// another one is shown, so that the charts have no holes.

import { get, node, session, text } from "./api.js";
import { Chart } from "./chart.js";
import { crons } from "./crons.js";
import { el, every, keep, panel, say, table } from "./dom.js";
import * as as from "./format.js";
import { parse, quantile } from "./metrics.js";
import { COLUMNS, makeRow, updateRow } from "./rooms.js";

const LOOK_MS = 1_000;
const BUSIEST = 8;

/** The node that is looked at: `{project, token, charts, facts, problem, stop}`. */
let watch = null;

export function overview(main, signal) {
  if (watch?.project !== session.project || watch.token !== session.token) {
    watch?.stop.abort();
    watch = begin();
  }
  const busiest = table("The rooms with the most connections", COLUMNS);
  const nobody = el("p", { class: "empty", hidden: true }, "No room is in memory.");
  main.append(
    el("h1", { class: "hidden" }, "Overview"),
    watch.problem,
    el(
      "div",
      { class: "charts" },
      Object.values(watch.charts).map(({ node }) => node),
    ),
    el(
      "div",
      { class: "two" },
      panel("Busiest rooms", [], busiest.node, nobody),
      panel("Node", [], watch.facts),
    ),
    crons(signal),
  );

  every(LOOK_MS, signal, async () => {
    // What keeps it from being told is told above.
    const found = await get(node(`rooms?sort=connections&limit=${BUSIEST}`)).catch(() => null);
    if (signal.aborted || !found) return;
    keep(busiest.body, found.rooms, ({ party, room }) => `${party}/${room}`, makeRow, updateRow);
    nobody.hidden = found.rooms.length > 0;
  });
}

/** Begins to look at the node. */
function begin() {
  const charts = {
    connections: new Chart("Connections", as.count),
    messages: new Chart("Messages a second", as.rate, ["in", "out"]),
    turns: new Chart("Turn", as.seconds, ["p50", "p99"]),
    commits: new Chart("Commit", as.seconds, ["p50", "p99"]),
    memory: new Chart("Memory of guests", as.bytes),
    rooms: new Chart("Rooms with an instance", as.count),
  };
  const facts = el("dl", { class: "facts" });
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const stop = new AbortController();
  const { project, token } = session;
  const paths = [node("overview"), node("metrics")];
  let before = null;
  every(LOOK_MS, stop.signal, async () => {
    if (session.token !== token || session.project !== project) return stop.abort();
    let trouble = "";
    try {
      const [now, metrics] = await Promise.all([get(paths[0]), text(paths[1])]);
      const look = { at: performance.now(), ...parse(metrics), now };
      draw(charts, before, look);
      before = look;
      tell(facts, now);
      if (now.storage_failure) trouble = `The storage fails: ${now.storage_failure}`;
    } catch (error) {
      trouble = error.message;
      before = null;
    }
    problem.hidden = !trouble;
    say(problem, trouble);
  });
  return { project, token, charts, facts, problem, stop };
}

function draw(charts, before, { at, buckets, now }) {
  const seconds = before && (at - before.at) / 1000;
  const rate = (name) => (before ? Math.max(0, now[name] - before.now[name]) / seconds : null);
  const quantiles = (name) =>
    [0.5, 0.99].map((q) => (before ? quantile(q, before.buckets[name], buckets[name]) : null));
  charts.connections.add(now.connections);
  charts.messages.add(rate("messages_in"), rate("messages_out"));
  charts.turns.add(...quantiles("room_turn_seconds"));
  charts.commits.add(...quantiles("room_store_commit_seconds"));
  charts.memory.add(now.guest_memory_bytes);
  charts.rooms.add(now.rooms.live);
}

function tell(facts, now) {
  const rows = [
    [
      "Rooms in memory",
      `${as.count(now.rooms.running)}, ${as.count(now.rooms.live)} of ${as.count(now.rooms.live_max)} instances`,
    ],
    ["Broken rooms", as.count(now.rooms.broken)],
    [
      "Stored rooms",
      now.stored
        ? `${as.count(now.stored.rooms)}, ${as.bytes(now.stored.bytes)}`
        : "too many to count",
    ],
    ["Turns", as.count(now.turns)],
    ["Faults", as.count(now.faults)],
    [
      "Webhooks",
      `${as.count(now.webhooks.waiting)} waiting, ${as.count(now.webhooks.dead)} dead`,
    ],
    [
      "Memory of guests",
      `${as.bytes(now.guest_memory_bytes)} of ${as.bytes(now.guest_memory_bytes_max)}`,
    ],
    ["Up", as.span(now.uptime_seconds)],
  ];
  keep(
    facts,
    rows,
    ([name]) => name,
    ([name]) => el("div", {}, el("dt", {}, name), el("dd")),
    (row, [, value]) => say(row.lastChild, value),
  );
}
