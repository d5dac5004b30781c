// What the node comes to, second by second.

import { get, node, text } from "./api.js";
import { Chart } from "./chart.js";
import { el, every, keep, panel, say, table } from "./dom.js";
import * as as from "./format.js";
import { parse, quantile } from "./metrics.js";
import { makeRow, updateRow } from "./rooms.js";

const LOOK_MS = 1_000;
const BUSIEST = 8;

export function overview(main, signal) {
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
  const busiest = table("The rooms with the most connections", ["Room", "Phase", "#Connections", "#In", "#Out", "#Keys", "#Stored", "Active"]);
  const nobody = el("p", { class: "empty", hidden: true }, "No room is in memory.");
  main.append(el("h1", { class: "hidden" }, "Overview"), problem,
    el("div", { class: "charts" }, Object.values(charts).map(({ node }) => node)),
    el("div", { class: "two" },
      panel("Busiest rooms", [], busiest.node, nobody), panel("Node", [], facts)));

  let before;
  every(LOOK_MS, signal, async () => {
    try {
      const [now, metrics, { rooms }] = await Promise.all([
        get(node("overview")), text(node("metrics")), get(node(`rooms?sort=connections&limit=${BUSIEST}`))]);
      if (signal.aborted) return;
      const look = { at: performance.now(), ...parse(metrics), now };
      draw(charts, before, look);
      before = look;
      tell(facts, now);
      keep(busiest.body, rooms, ({ party, room }) => `${party}/${room}`, makeRow, updateRow);
      nobody.hidden = rooms.length > 0;
      problem.hidden = !now.storage_failure;
      say(problem, `The storage fails: ${now.storage_failure}`);
    } catch (error) {
      if (signal.aborted) return;
      problem.hidden = false;
      say(problem, error.message);
    }
  });
}

function draw(charts, before, { at, buckets, now }) {
  const seconds = before && (at - before.at) / 1000;
  const rate = (name) => (before ? Math.max(0, now[name] - before.now[name]) / seconds : null);
  const quantiles = (name) => [0.5, 0.99].map((q) => (before ? quantile(q, before.buckets[name], buckets[name]) : null));
  charts.connections.add(now.connections);
  charts.messages.add(rate("messages_in"), rate("messages_out"));
  charts.turns.add(...quantiles("room_turn_seconds"));
  charts.commits.add(...quantiles("room_store_commit_seconds"));
  charts.memory.add(now.guest_memory_bytes);
  charts.rooms.add(now.rooms.live);
}

function tell(facts, now) {
  const rows = [
    ["Rooms in memory", `${as.count(now.rooms.running)}, ${as.count(now.rooms.live)} of ${as.count(now.rooms.live_max)} instances`],
    ["Broken rooms", as.count(now.rooms.broken)],
    ["Stored rooms", now.stored ? `${as.count(now.stored.rooms)}, ${as.bytes(now.stored.bytes)}` : "too many to count"],
    ["Turns", as.count(now.turns)],
    ["Faults", as.count(now.faults)],
    ["Memory of guests", `${as.bytes(now.guest_memory_bytes)} of ${as.bytes(now.guest_memory_bytes_max)}`],
    ["Up", as.span(now.uptime_seconds)],
  ];
  keep(facts, rows, ([name]) => name, ([name]) => el("div", {}, el("dt", {}, name), el("dd")),
    (row, [, value]) => say(row.lastChild, value));
}
