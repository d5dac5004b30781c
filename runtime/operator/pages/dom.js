// Nodes. The only file that makes them.
//
// Invariant: text becomes text. Nothing here or elsewhere makes HTML of a string, and the page's policy
// forbids it: what rooms are called, log and store is written by strangers.

const SVG = "http://www.w3.org/2000/svg";

/** An element: attributes, `on` for listeners, and children, of which strings are text. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An element of a drawing. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  for (const [event, listener] of Object.entries(on)) node.addEventListener(event, listener);
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}

/** Sets a node's text, if it is another one: what is selected or focused stays so. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Makes the children of `parent` those of `items`, in their order. A child stays as long as there is an item
 * with its key, so that focus and selection do.
 */
export function keep(parent, items, key, make, update) {
  const known = parent.kept ?? new Map();
  const next = new Map();
  let at = parent.firstChild;
  for (const item of items) {
    const id = key(item);
    const node = known.get(id) ?? make(item);
    update(node, item);
    next.set(id, node);
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  for (const [id, node] of known) if (!next.has(id)) node.remove();
  parent.kept = next;
}

/** A labelled field. */
export function field(label, input) {
  return el("label", { class: "field" }, el("span", {}, label), input);
}

/** A choice: pairs of value and text. */
export function choice(name, options, on) {
  const items = options.map(([value, text]) => el("option", { value }, text));
  return el("select", { name, on: { change: on } }, items);
}

/** A field for what is looked for. */
export const search = (placeholder, attributes = {}) =>
  el("input", {
    type: "search",
    placeholder,
    autocomplete: "off",
    spellcheck: "false",
    ...attributes,
  });

export function button(text, on, attributes = {}) {
  return el("button", { type: "button", ...attributes, on: { click: on } }, text);
}

/** A part of a page, with a heading and what stands beside it. */
export function panel(title, tools = [], ...children) {
  const id = `panel-${title.toLowerCase().replaceAll(/\W+/g, "-")}`;
  return el(
    "section",
    { class: "panel", "aria-labelledby": id },
    el(
      "div",
      { class: "panel-head" },
      el("h2", { id }, title),
      el("div", { class: "tools" }, tools),
    ),
    children,
  );
}

/** A table with a heading for each column. One that begins with # is of numbers, with + of what small screens leave out. */
export function table(caption, columns) {
  const heads = columns.map((name) => {
    const kinds = [name.includes("#") && "number", name.includes("+") && "wide"];
    return el(
      "th",
      { scope: "col", class: kinds.filter(Boolean).join(" ") || null },
      name.replace(/^[#+]+/, ""),
    );
  });
  const body = el("tbody");
  const whole = el(
    "table",
    {},
    el("caption", { class: "hidden" }, caption),
    el("thead", {}, el("tr", {}, heads)),
    body,
  );
  return {
    body,
    node: el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
      whole,
    ),
  };
}

/** Runs `work` now and then, while the page is looked at, until the signal. */
export function every(ms, signal, work) {
  let timer;
  const run = async () => {
    clearTimeout(timer);
    if (!document.hidden) await work();
    if (!signal.aborted) timer = setTimeout(run, ms);
  };
  document.addEventListener("visibilitychange", () => !document.hidden && run(), { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  return run();
}
