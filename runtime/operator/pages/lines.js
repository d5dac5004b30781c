// A list of lines that goes on: of a log, of a room, of a client. Owns pause, filter and bounds.
//
// Invariant: it keeps the newest lines, no more than its bound, paused or not; what went while it was paused is
// counted. What is selected or scrolled to stays: it follows the end only if it stands there.

import { button, el, say, search } from "./dom.js";

const LINES_MAX = 1_000;

export class Lines {
  #all = [];
  #fresh = [];
  #held = 0;
  #gone = 0;
  #drawing = false;
  #make;
  #text;
  #words = "";

  /** `make(item)` is a line's node, `text(item)` what the filter looks at. */
  constructor(label, make, text) {
    this.#make = make;
    this.#text = text;
    this.list = el("ol", {
      class: "lines",
      tabindex: "0",
      role: "log",
      "aria-live": "off",
      "aria-label": label,
    });
    this.pause = button("Pause", () => this.#pause(), { "aria-pressed": "false" });
    this.clear = button("Clear", () => this.forget());
    this.filter = search("Filter", {
      "aria-label": `Filter ${label}`,
      on: { input: () => this.#refilter() },
    });
    this.state = el("span", { class: "state", role: "status" });
  }

  /** Adds a line. One without a text is shown whatever the filter. */
  add(item) {
    this.#all.push(item);
    if (this.#all.length > LINES_MAX) {
      this.#all.shift();
      this.#gone += Number(this.paused);
    }
    if (this.paused) {
      this.#held += 1;
      const gone = this.#gone ? `, ${this.#gone} of the oldest dropped` : "";
      return say(this.pause, `Resume (${this.#held} new${gone})`);
    }
    this.#fresh.push(item);
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => this.#draw());
  }

  /** What is told of where the lines come from. */
  tell(kind, text) {
    this.state.className = `state ${kind}`;
    say(this.state, text);
  }

  get paused() {
    return this.pause.getAttribute("aria-pressed") === "true";
  }

  #draw() {
    this.#drawing = false;
    const fresh = this.#fresh
      .splice(0)
      .slice(-LINES_MAX)
      .filter((item) => this.#fits(item));
    const { list } = this;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
    list.append(...fresh.map((item) => this.#make(item)));
    while (list.childElementCount > LINES_MAX) list.firstChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  #fits(item) {
    return !this.#words || this.#text(item).toLowerCase().includes(this.#words);
  }

  #pause() {
    this.pause.setAttribute("aria-pressed", String(!this.paused));
    if (this.paused) return;
    this.#held = this.#gone = 0;
    say(this.pause, "Pause");
    this.#redraw();
  }

  /** Drops all lines. */
  forget() {
    this.#all = [];
    this.#held = this.#gone = 0;
    if (this.paused) say(this.pause, "Resume");
    this.#redraw();
  }

  #refilter() {
    this.#words = this.filter.value.toLowerCase();
    if (!this.paused) return this.#redraw();
    // What came meanwhile is not shown by a filter either.
    const shown = this.#all.slice(0, this.#all.length - Math.min(this.#held, this.#all.length));
    this.list.replaceChildren(
      ...shown.filter((item) => this.#fits(item)).map((item) => this.#make(item)),
    );
  }

  #redraw() {
    this.list.replaceChildren();
    this.#fresh = [...this.#all];
    this.#draw();
  }
}
