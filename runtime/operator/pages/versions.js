// The versions of a project on a server, and the way back to one.

import { get, learnProjects, may, send, session } from "./api.js";
import { attempt, notice } from "./dialog.js";
import { button, el, every, keep, panel, say, table } from "./dom.js";
import * as as from "./format.js";

const LOOK_MS = 3_000;

export function versions(main, signal) {
  const base = `admin/projects/${encodeURIComponent(session.project)}`;
  const list = table("Versions", ["#Version", "Deployed", "By", "Modules", "#Files", ""]);
  const empty = el("p", { class: "empty", hidden: true });
  main.append(el("h1", { class: "hidden" }, "Versions"), panel("Versions", [], list.node, empty));

  async function look() {
    let found = [];
    let problem = "There are no versions yet.";
    try {
      found = (await get(`${base}/versions`)).reverse();
    } catch (error) {
      problem = error.message;
    }
    if (signal.aborted) return;
    keep(list.body, found, ({ number }) => number, make, updateRow);
    empty.hidden = found.length > 0;
    say(empty, problem);
  }

  function make({ number, created_ms, by, parties, files }) {
    const go = button(
      "Roll back",
      () =>
        attempt(async () => {
          go.disabled = true;
          const done = await send("POST", `${base}/rollback?version=${number}`).finally(
            () => (go.disabled = false),
          );
          notice(
            `Version ${done.version} serves: ${as.counted(done.rooms, "room")} took it over, ${as.counted(done.connections, "connection")} stayed.`,
          );
          await learnProjects();
          await look();
        }),
      { "aria-label": `Serve version ${number}` },
    );
    const needs = may("deploy") ? go : el("small", {}, "needs a deploy token");
    const modules = parties.map(({ name, module }) =>
      el("div", {}, `${name} `, el("span", { class: "mono" }, String(module).slice(0, 12))),
    );
    return el(
      "tr",
      {},
      el("th", { scope: "row", class: "number" }, String(number)),
      el("td", {}, as.date(created_ms)),
      el("td", {}, by),
      el("td", {}, modules),
      el("td", { class: "number" }, as.count(files)),
      el("td", { class: "act" }, needs, el("span", { class: "badge" }, "serving")),
    );
  }

  every(LOOK_MS, signal, look);
}

function updateRow(row, { current }) {
  row.classList.toggle("current", current);
  const [act, badge] = row.lastChild.children;
  act.hidden = current;
  badge.hidden = !current;
}
