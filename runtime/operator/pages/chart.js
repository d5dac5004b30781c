// Small charts of the last minutes, drawn by hand. Owns the drawing.
//
// Invariant: a chart keeps no more than its width in samples; what is not known is a gap and no zero.

import { el, say, svg } from "./dom.js";

const SAMPLES = 120;
const [WIDTH, HEIGHT] = [240, 56];

/** A figure with its course: one line for each series. */
export class Chart {
  #samples = [];
  #format;
  #series;

  /** `series`: the names of the lines, the first of which is the figure. */
  constructor(title, format, series = [""]) {
    this.#format = format;
    this.#series = series.map((name, at) => ({
      name,
      line: svg("path", { class: `line line-${at}` }),
      value: el("b", {}, "–"),
    }));
    this.area = svg("path", { class: "area" });
    this.drawing = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      this.area,
      this.#series.map(({ line }) => line),
    );
    this.top = el("span", { class: "top" });
    const figures = this.#series.map(({ name, value }, at) =>
      el("span", { class: `figure figure-${at}` }, value, name && el("small", {}, ` ${name}`)),
    );
    this.title = title;
    this.node = el(
      "figure",
      { class: "chart" },
      el("figcaption", {}, title),
      el("div", { class: "figures" }, figures),
      el("div", { class: "plot" }, this.drawing, this.top),
    );
  }

  /** Adds a sample: a value for each series, null where there is none. */
  add(...values) {
    this.#samples.push(values);
    if (this.#samples.length > SAMPLES) this.#samples.shift();
    this.#series.forEach(({ value }, at) => say(value, this.#format(values[at])));
    this.#draw();
  }

  #draw() {
    const top = Math.max(...this.#samples.flat().map((value) => value ?? 0));
    const x = (at) => WIDTH - ((this.#samples.length - 1 - at) * WIDTH) / (SAMPLES - 1);
    const y = (value) => HEIGHT - 1 - (top > 0 ? (value / top) * (HEIGHT - 6) : 0);
    this.#series.forEach(({ line }, at) => line.setAttribute("d", this.#path(at, x, y)));
    const first = this.#samples.map((sample) => sample[0]);
    const filled = first.every((value) => value != null) && first.length > 1;
    this.area.setAttribute(
      "d",
      filled ? `${this.#path(0, x, y)}V${HEIGHT}H${x(0).toFixed(1)}Z` : "",
    );
    say(this.top, top > 0 ? this.#format(top) : "");
    this.drawing.setAttribute(
      "aria-label",
      `${this.title}: ${this.#spoken()}; at most ${this.#format(top)} in the last ${this.#samples.length} samples`,
    );
  }

  #path(series, x, y) {
    let drawn = false;
    return this.#samples
      .map((sample, at) => {
        const value = sample[series];
        const move = drawn ? "L" : "M";
        drawn = value != null;
        if (!drawn) return "";
        const alone = move === "M" && this.#samples[at + 1]?.[series] == null;
        return `${move}${x(at).toFixed(1)} ${y(value).toFixed(1)}${alone ? "h0.1" : ""}`;
      })
      .join("");
  }

  #spoken() {
    return this.#series.map(({ name, value }) => `${value.textContent} ${name}`.trim()).join(", ");
  }
}
