// The log, as it is written: filtered at the server.

import { link } from "./address.js";
import { node } from "./api.js";
import { choice, el, field, panel, search } from "./dom.js";
import * as as from "./format.js";
import { Lines } from "./lines.js";
import { follow } from "./stream.js";

const TAIL = 300;
const TYPING_MS = 250;
const LEVELS = [
  ["debug", "debug"],
  ["info", "info"],
  ["warn", "warn"],
  ["error", "error"],
];

export function logs(main, signal) {
  const room = search("game-*");
  const party = search("any", { size: "10" });
  const level = choice("level", LEVELS, watch);
  level.value = "info";
  const grep = search("text");
  let watching = new AbortController();
  let typing;
  signal.addEventListener("abort", () => watching.abort());
  [room, party, grep].forEach((input) =>
    input.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(watch, TYPING_MS);
    }),
  );
  const form = el(
    "form",
    {
      class: "filters",
      role: "search",
      on: {
        submit: (event) => {
          event.preventDefault();
          watch();
        },
      },
    },
    field("Room", room),
    field("Party", party),
    field("Level", level),
    field("Text", grep),
  );
  // The server filters, and knows more than what is shown here.
  const lines = new Lines("log", make, ({ text }) => text);
  const tools = [lines.state, lines.pause, lines.clear];
  main.append(el("h1", { class: "hidden" }, "Logs"), panel("Logs", tools, form, lines.list));

  /** Restarts with the current filters. */
  function watch() {
    if (signal.aborted) return;
    watching.abort();
    watching = new AbortController();
    const { signal: mine } = watching;
    lines.forget();
    let last = null;
    const query = () => {
      const asked = new URLSearchParams({ follow: 1, level: level.value });
      if (room.value) asked.set("room", room.value);
      if (party.value) asked.set("party", party.value);
      if (grep.value) asked.set("grep", grep.value);
      asked.set(last === null ? "tail" : "after", last ?? TAIL);
      return asked;
    };
    follow(() => node(`logs?${query()}`), mine, {
      event: ({ id, name, data }) => {
        if (mine.aborted) return;
        last = id ?? last;
        if (name === "missed") lines.add({ level: "warn", text: `… ${data.missed} lines missed` });
        else if (name === "restarted")
          lines.add({ level: "warn", text: "… the server was started again" });
        else if (data) lines.add(data);
      },
      state: (kind, text) => lines.tell(kind, text),
    });
  }

  watch();
}

function make({ time_ms, level, kind, party, room, text }) {
  return el(
    "li",
    { class: `line ${level} ${kind ?? ""}` },
    el("time", {}, time_ms ? as.clock(time_ms) : ""),
    el("span", { class: "level" }, level),
    room != null
      ? el("a", { class: "where", href: link("room", party, room) }, `${party}/${room}`)
      : el("span", { class: "where" }),
    el("span", { class: "said" }, text),
  );
}
