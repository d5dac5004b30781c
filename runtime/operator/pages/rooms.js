// All rooms: found, sorted, a page at a time.

import { link } from "./address.js";
import { get, node } from "./api.js";
import { button, choice, el, every, field, keep, panel, say, search, table } from "./dom.js";
import * as as from "./format.js";

const LOOK_MS = 2_000;
const PAGE = 50;
const SORTS = [
  ["name", "Name"],
  ["connections", "Connections"],
  ["messages", "Messages"],
  ["bytes", "Stored bytes"],
  ["active", "Last active"],
];

export function rooms(main, signal) {
  const named = search("game-*");
  const party = search("any", { size: "10" });
  const sort = choice("sort", SORTS, begin);
  const list = table("Rooms", COLUMNS);
  const empty = el("p", { class: "empty", hidden: true });
  const back = button("Previous", () => {
    pages.pop();
    look();
  });
  const on = button("Next", () => {
    pages.push(next);
    look();
  });
  const page = el("span", { class: "state", role: "status" });
  /** Where each page up to this one begins. */
  let pages = [""];
  let next = null;
  let asked = 0;

  const form = el(
    "form",
    {
      class: "filters",
      role: "search",
      on: {
        submit: (event) => {
          event.preventDefault();
          begin();
        },
      },
    },
    field("Name", named),
    field("Party", party),
    field("Sort by", sort),
  );
  [named, party].forEach((input) => input.addEventListener("input", begin));
  main.append(
    el("h1", { class: "hidden" }, "Rooms"),
    panel("Rooms", form, list.node, empty, el("div", { class: "pages" }, back, page, on)),
  );

  function begin() {
    pages = [""];
    return look();
  }

  async function look() {
    const mine = ++asked;
    const query = new URLSearchParams({ limit: PAGE, sort: sort.value });
    // Part of a name is what people type; a pattern is one that has a star in it.
    const words = named.value.trim();
    if (words) query.set("search", /[*?]/.test(words) ? words : `*${words}*`);
    if (party.value.trim()) query.set("party", party.value.trim());
    const after = pages.at(-1);
    let found = { rooms: [], next: null };
    let problem = "";
    try {
      found = await get(node(`rooms?${query}${after && `&after=${after}`}`));
    } catch (error) {
      problem = error.message;
    }
    if (signal.aborted || mine !== asked) return;
    next = found.next;
    keep(list.body, found.rooms, (row) => `${row.party}/${row.room}`, makeRow, updateRow);
    back.disabled = pages.length === 1;
    on.disabled = next === null;
    say(page, found.rooms.length ? `Page ${pages.length}` : "");
    empty.hidden = found.rooms.length > 0;
    say(
      empty,
      problem ||
        (words || party.value
          ? "No room is called so."
          : "There are no rooms yet: the first one begins when somebody connects."),
    );
  }

  return every(LOOK_MS, signal, look);
}

const CELLS = [
  ["phase", "", ({ phase }) => phase],
  ["connections", "number", ({ connections }) => as.count(connections)],
  ["in", "number", ({ messages_in }) => as.count(messages_in)],
  ["out", "number", ({ messages_out }) => as.count(messages_out)],
  ["keys", "number", ({ keys }) => as.count(keys)],
  ["bytes", "number", ({ bytes }) => as.bytes(bytes)],
  ["active", "", ({ last_active_ms }) => as.ago(last_active_ms)],
];

export const COLUMNS = [
  "Room",
  "Phase",
  "#Connections",
  "+#In",
  "+#Out",
  "+#Keys",
  "+#Stored",
  "+Active",
];

/** A row of a table of rooms. */
export function makeRow({ party, room }) {
  const name = el(
    "a",
    { href: link("room", party, room) },
    el("span", { class: "party" }, `${party}/`),
    room,
  );
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, name),
    CELLS.map(([cell, kind]) => el("td", { class: `${kind} ${cell}` })),
  );
}

export function updateRow(row, found) {
  CELLS.forEach(([, , text], at) => say(row.children[at + 1], text(found)));
  row.dataset.phase = found.phase;
}
