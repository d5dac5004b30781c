// Who is connected to a room, and how one is sent away.

import { needs, send } from "./api.js";
import { dialog, notice } from "./dialog.js";
import { button, el, field, keep, panel, say, table } from "./dom.js";
import * as as from "./format.js";

/** The panel, and how it is told what there is. */
export function connections(path) {
  const list = table("Connections", ["Id", "Since", "+By", "+#Lag", "+Tags", "State", ""]);
  const empty = el("p", { class: "empty" }, "Nobody is connected.");
  const total = el("span", { class: "state" });
  const node = panel("Connections", [total], list.node, empty);
  return {
    node,
    show({ connections: found = [], connection_count: all = 0, next }) {
      keep(
        list.body,
        found,
        ({ id, since_ms }) => `${since_ms} ${id}`,
        (one) => makeRow(one, path),
        updateRow,
      );
      say(total, next ? `${as.count(found.length)} of ${as.count(all)}` : all ? as.count(all) : "");
      empty.hidden = found.length > 0;
      list.node.hidden = found.length === 0;
    },
  };
}

function makeRow({ id, uri }, path) {
  const away = button("Kick…", () => kick(path, id), {
    ...needs("admin"),
    "aria-label": `Kick ${id}`,
  });
  return el(
    "tr",
    {},
    el("th", { scope: "row", title: uri }, id),
    el("td", { class: "since" }),
    el("td", { class: "transport" }),
    el("td", { class: "number lag" }),
    el("td", { class: "tags" }),
    el("td", { class: "mono cut" }),
    el("td", { class: "act" }, away),
  );
}

function updateRow(row, { since_ms, transport, lag, tags, state, state_bytes, closing, away }) {
  const [, since, by, behind, tagged, stated] = row.children;
  say(since, closing ? "closing" : away ? "away" : as.ago(since_ms));
  say(by, transport);
  say(behind, as.count(lag.messages));
  say(tagged, tags.join(", "));
  say(
    stated,
    state ? as.brief(JSON.stringify(state.json ?? state.text ?? `${state_bytes} bytes`)) : "",
  );
}

function kick(path, id) {
  const code = el("input", {
    name: "code",
    type: "number",
    min: "1000",
    max: "4999",
    value: "4403",
    required: true,
  });
  const reason = el("input", { name: "reason", maxlength: "120", autocomplete: "off" });
  const body = el(
    "div",
    {},
    el(
      "p",
      {},
      `Closes the connection ${id}. Codes from 4400 to 4499 tell clients that coming back is of no use.`,
    ),
    field("Close code", code),
    field("Reason", reason),
  );
  return dialog(
    "Send this client away?",
    body,
    "Kick",
    async () => {
      const said = { connection: id, code: Number(code.value), reason: reason.value };
      await send("POST", path("/kick"), JSON.stringify(said));
      notice(`${id} was sent away with ${code.value}.`);
    },
    { danger: true },
  );
}
