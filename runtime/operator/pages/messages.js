// What passes through a room, as it does.

import { el, panel } from "./dom.js";
import * as as from "./format.js";
import { Lines } from "./lines.js";
import { follow } from "./stream.js";

export function messages(path, signal) {
  const lines = new Lines("live messages", make, ({ text, connection, kind, event }) =>
    [text, connection, kind, event].join(" "),
  );
  follow(() => path("/messages"), signal, {
    event: ({ name, data }) =>
      lines.add(
        name === "missed" ? { kind: "missed", text: `${data.missed} more passed unseen` } : data,
      ),
    state: (kind, text) => lines.tell(kind, text),
  });
  return panel("Live messages", [lines.state, lines.filter, lines.pause, lines.clear], lines.list);
}

const ARROWS = { in: ["→", "in"], out: ["←", "out"] };

function make(passed) {
  const [arrow, spoken] = ARROWS[passed.direction] ?? ["·", ""];
  const binary = passed.kind === "binary";
  return el(
    "li",
    { class: `passed ${passed.kind} ${passed.direction ?? ""}` },
    passed.time_ms ? el("time", {}, as.clock(passed.time_ms)) : null,
    el("span", { class: "arrow", role: "img", "aria-label": spoken }, arrow),
    el("span", { class: "whose" }, whose(passed)),
    el("span", { class: "what" }, what(passed)),
    el(
      "span",
      { class: "said", title: binary ? "hexadecimal" : null },
      `${passed.text ?? ""}${passed.cut ? "…" : ""}`,
    ),
  );
}

const whose = ({ connection, to, event }) =>
  connection ?? (to != null ? `to ${as.count(to)}` : event ? `on ${event}` : "");

function what({ kind, bytes, code }) {
  if (kind === "close") return `close ${code}`;
  return bytes == null ? kind : `${kind === "text" ? "" : `${kind} `}${as.bytes(bytes)}`;
}
