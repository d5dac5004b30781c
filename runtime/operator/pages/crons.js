// The crons of the project: what each calls, when it does so next, and how its last calls ended.

import { link } from "./address.js";
import { get, node } from "./api.js";
import { el, every, keep, panel, say, table } from "./dom.js";
import * as as from "./format.js";

const LOOK_MS = 2_000;
const COLUMNS = ["Cron", "Schedule", "+Zone", "Calls", "Next", "Last", "+#Rooms", "#Failed"];

/** The panel of the crons, which is not there as long as the project has none. */
export function crons(signal) {
  const list = table("The crons of the project", COLUMNS);
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const whole = panel("Crons", [], problem, list.node);
  whole.hidden = true;
  every(LOOK_MS, signal, async () => {
    let trouble = "";
    try {
      const found = (await get(node("crons"))).crons;
      if (signal.aborted) return;
      whole.hidden = found.length === 0;
      keep(list.body, found, ({ name, party, room }) => `${name} ${party}/${room}`, make, update);
    } catch (error) {
      // What keeps the first list from being there, the overview tells.
      trouble = error.message;
    }
    problem.hidden = !trouble;
    say(problem, trouble);
  });
  return whole;
}

function make({ name, party, room }) {
  const called =
    room === null
      ? el("span", { class: "party" }, `each room of ${party}`)
      : el(
          "a",
          { href: link("room", party, room) },
          el("span", { class: "party" }, `${party}/`),
          room,
        );
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, name),
    el("td", { class: "mono" }),
    el("td", { class: "wide" }),
    el("td", {}, called),
    el("td"),
    el("td", {}, el("div"), el("div", { class: "problem" })),
    el("td", { class: "number wide" }),
    el("td", { class: "number" }),
  );
}

function update(row, { schedule, zone, next_ms, running_ms, last }) {
  const [, when, where, , next, ended, rooms, failed] = row.children;
  say(when, schedule);
  say(where, zone);
  say(next, running_ms === null ? due(next_ms) : "runs now");
  say(ended.firstChild, last ? as.ago(last.ended_ms) : "–");
  say(ended.lastChild, as.brief(last?.error ?? ""));
  say(rooms, last ? as.count(last.rooms) : "–");
  say(failed, last ? as.count(last.dropped) : "–");
  failed.classList.toggle("failed", Boolean(last?.dropped));
}

function due(next_ms) {
  if (next_ms === null) return "never";
  const left = (next_ms - Date.now()) / 1000;
  return left > 0 ? `in ${as.span(left)}` : "due";
}
