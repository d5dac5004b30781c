// What a room stores, key by key: looked at, changed, deleted.
//
// Invariant: a key is its bytes, whatever they are; what is saved is what stands in the editor.

import { get, may, needs, parse, send } from "./api.js";
import { dialog, notice } from "./dialog.js";
import { button, choice, el, every, field, keep, panel, say, search, table } from "./dom.js";
import * as as from "./format.js";

const LOOK_MS = 2_000;
const PAGE = 50;
const FORMS = [
  ["json", "JSON"],
  ["text", "Text"],
  ["base64", "Base64"],
];

export function storage(path, signal) {
  const prefix = search("Prefix", { "aria-label": "Prefix of keys", on: { input: begin } });
  const list = table("Storage", ["Key", "Value", "#Bytes"]);
  const empty = el("p", { class: "empty" }, "Nothing is stored.");
  const back = button("Previous", () => {
    pages.pop();
    look();
  });
  const on = button("Next", () => {
    pages.push(next);
    look();
  });
  const pager = el("div", { class: "pages" }, back, on);
  const add = button("New key…", () => edit(path, null).then(look), needs("admin"));
  let pages = [""];
  let next = null;
  let asked = 0;

  function begin() {
    pages = [""];
    return look();
  }

  async function look() {
    const mine = ++asked;
    const start = pages.at(-1);
    const query = `?limit=${PAGE}&prefix=${encodeURIComponent(prefix.value)}${start && `&start=${start}`}`;
    let found = { entries: [], next: null };
    let problem = "Nothing is stored.";
    try {
      found = await get(path(`/storage${query}`));
    } catch (error) {
      if (error.status !== 404) problem = error.message;
    }
    if (signal.aborted || mine !== asked) return;
    next = found.next;
    keep(
      list.body,
      found.entries,
      (entry) => entry.key_base64 ?? `text ${entry.key}`,
      make,
      updateRow,
    );
    empty.hidden = found.entries.length > 0;
    list.node.hidden = !empty.hidden;
    say(empty, prefix.value && problem === "Nothing is stored." ? "No key begins so." : problem);
    pager.hidden = pages.length === 1 && next === null;
    back.disabled = pages.length === 1;
    on.disabled = next === null;
  }

  function make(entry) {
    const open = button(shownKey(entry), () => edit(path, row.entry).then(look), { class: "key" });
    const row = el(
      "tr",
      {},
      el("th", { scope: "row" }, open),
      el("td", { class: "mono cut" }),
      el("td", { class: "number" }),
    );
    return row;
  }

  every(LOOK_MS, signal, look);
  return panel("Storage", [prefix, add], list.node, empty, pager);
}

function updateRow(row, entry) {
  row.entry = entry;
  say(row.children[1], as.brief(shownValue(entry)));
  say(row.children[2], as.count(entry.bytes));
}

const shownKey = (entry) => entry.key ?? `${hex(bytesOf(entry.key_base64))} (bytes)`;
const shownValue = (entry) =>
  entry.text !== undefined ? entry.text : (entry.base64 ?? JSON.stringify(entry.json));
const formOf = (entry) =>
  entry === null || "json" in entry ? "json" : "text" in entry ? "text" : "base64";
const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** A key as it stands in a path. */
const encoded = (bytes) =>
  [...bytes].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
const keyOf = (entry) =>
  entry.key === undefined ? bytesOf(entry.key_base64) : new TextEncoder().encode(entry.key);

/** The editor of an entry; of a new one if there is none. */
async function edit(path, entry) {
  const key = el("input", {
    name: "key",
    value: entry ? shownKey(entry) : "",
    readonly: entry !== null,
    required: true,
    autocomplete: "off",
    spellcheck: "false",
  });
  const form = choice("form", FORMS);
  form.value = formOf(entry);
  const value = el("textarea", {
    name: "value",
    rows: "10",
    spellcheck: "false",
    readonly: !may("admin"),
  });
  value.value =
    entry === null ? "" : "json" in entry ? JSON.stringify(entry.json, null, 2) : shownValue(entry);
  const keyBytes = () => (entry ? keyOf(entry) : new TextEncoder().encode(key.value));
  const place = () => path(`/storage/${encoded(keyBytes())}`);
  const remove = button(
    "Delete",
    async () => {
      if (
        await dialog(
          "Delete this key?",
          el("p", { class: "mono" }, shownKey(entry)),
          "Delete the key",
          () => send("DELETE", place()),
          { danger: true },
        )
      ) {
        notice(`${shownKey(entry)} was deleted.`);
        remove.closest("dialog").close();
      }
    },
    { class: "danger" },
  );
  const body = el(
    "div",
    {},
    field("Key", key),
    field("Kind of value", form),
    field("Value", value),
    el(
      "p",
      { class: "hint" },
      "The room makes the change between two events, and restarts with the next one. Its connections stay.",
    ),
    entry && may("admin") ? remove : null,
  );
  await dialog(entry ? "Edit a key" : "Add a key", body, "Save", async () => {
    if (!may("admin")) throw new Error("This needs a token with the scope admin.");
    await send("PUT", place(), toBytes(form.value, value.value));
    notice(`${key.value} was saved.`);
  });
}

/** What stands in the editor, as bytes. JSON is stored as rooms do it: without the spaces of the editor. */
function toBytes(form, text) {
  if (form === "text") return text;
  try {
    return form === "json" ? JSON.stringify(parse(text)) : bytesOf(text);
  } catch (error) {
    throw new Error(`This is no ${form === "json" ? "JSON" : "Base64"}: ${error.message}`);
  }
}
