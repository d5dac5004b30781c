/**
 * `console`: what the author says to the log.
 *
 * Invariant: a call never throws and never waits. It does not know where the log is shown.
 */
import * as native from "room:native";
import { inspect } from "./inspect.js";

/** How many names `count` and `time` keep each; what comes beyond is not kept. */
const LABELS_MAX = 1000;

let indent = "";
const counts = new Map();
const starts = new Map();

/** What the directives of a format text make of an argument. */
const DIRECTIVES = {
  s: (value) => {
    if (typeof value === "string") return value;
    if (typeof value === "bigint") return `${value}n`;
    if (Object.is(value, -0)) return "-0";
    if (value === null || typeof value !== "object") return String(value);
    return inspect(value, { depth: 0 });
  },
  d: (value) => (typeof value === "bigint" ? `${value}n` : typeof value === "symbol" ? "NaN"
    : typeof value === "object" && value !== null ? "NaN" : inspect(Number(value))),
  i: (value) => (typeof value === "bigint" ? `${value}n` : typeof value === "symbol" ? "NaN"
    : typeof value === "object" && value !== null ? "NaN" : inspect(Number.parseInt(value, 10))),
  f: (value) => (typeof value === "symbol" ? "NaN" : inspect(Number.parseFloat(value))),
  j: (value) => {
    try {
      return String(JSON.stringify(value));
    } catch {
      return "[Circular]";
    }
  },
  o: (value) => inspect(value, { depth: 4 }),
  O: (value) => inspect(value),
  c: () => "",
};

/** Returns the text of the arguments of a call, as Node's `util.format`. */
export function format(...args) {
  let rest = args;
  let text = "";
  if (typeof args[0] === "string") {
    rest = args.slice(1);
    text = args.length === 1 ? args[0] : args[0].replace(/%[sdifjoOc%]/g, (directive) => {
      if (directive === "%%") return "%";
      return rest.length === 0 ? directive : DIRECTIVES[directive[1]](rest.shift());
    });
    if (rest.length > 0) text += " ";
  }
  return text + rest.map((value) => (typeof value === "string" ? value : inspect(value))).join(" ");
}

function say(level, args) {
  let text = format(...args);
  if (indent !== "") text = indent + text.replaceAll("\n", `\n${indent}`);
  native.log(level, text, {});
}

/** The room's clock; 0 while the module is evaluated, which has none. */
const clock = () => (native.mode() === "global" ? 0 : native.now());

function labelled(map, label, value) {
  if (map.size < LABELS_MAX || map.has(label)) map.set(label, value);
}

function elapsed(label, args) {
  const start = starts.get(label);
  if (start === undefined) return say("warn", [`No such label '${label}' for console.time()`]);
  say("info", [`${label}: ${clock() - start}ms`, ...args]);
}

/** Returns the text of a table: rows are items, columns their keys. */
function tableOf(data, wanted) {
  const rows = data instanceof Map || data instanceof Set ? [...data].entries() : Object.entries(data);
  const columns = [];
  let values = false;
  const cells = [];
  for (const [index, row] of rows) {
    const line = new Map([["(index)", String(index)]]);
    if (row !== null && typeof row === "object") {
      for (const key of wanted ?? Object.keys(row)) {
        if (!columns.includes(key)) columns.push(key);
        if (Object.hasOwn(row, key)) line.set(key, inspect(row[key], { depth: 0 }));
      }
    } else {
      values = true;
      line.set("Values", inspect(row));
    }
    cells.push(line);
  }
  const heads = ["(index)", ...columns, ...(values ? ["Values"] : [])];
  const widths = heads.map((head) => Math.max(head.length, ...cells.map((line) => (line.get(head) ?? "").length)) + 2);
  const rule = (left, middle, right) => left + widths.map((width) => "─".repeat(width)).join(middle) + right;
  const line = (texts) => `│${texts.map((text, i) => ` ${text.padEnd(widths[i] - 1)}`).join("│")}│`;
  return [rule("┌", "┬", "┐"), line(heads), rule("├", "┼", "┤"),
    ...cells.map((cell) => line(heads.map((head) => cell.get(head) ?? ""))), rule("└", "┴", "┘")].join("\n");
}

export const console = {
  log: (...args) => say("info", args),
  info: (...args) => say("info", args),
  warn: (...args) => say("warn", args),
  error: (...args) => say("error", args),
  debug: (...args) => say("debug", args),

  trace(...args) {
    const at = {};
    Error.captureStackTrace?.(at, console.trace);
    say("debug", [`Trace${args.length === 0 ? "" : `: ${format(...args)}`}\n${at.stack ?? ""}`.trimEnd()]);
  },

  assert(condition, ...args) {
    if (condition) return;
    if (typeof args[0] === "string") say("error", [`Assertion failed: ${args[0]}`, ...args.slice(1)]);
    else say("error", ["Assertion failed", ...args]);
  },

  dir: (value, options) => say("info", [inspect(value, options ?? {})]),
  dirxml: (...args) => say("info", args),

  table(data, columns) {
    if (data === null || typeof data !== "object") return say("info", [data]);
    say("info", [tableOf(data, columns)]);
  },

  count(label = "default") {
    labelled(counts, `${label}`, (counts.get(`${label}`) ?? 0) + 1);
    say("info", [`${label}: ${counts.get(`${label}`) ?? 1}`]);
  },

  countReset(label = "default") {
    if (!counts.delete(`${label}`)) say("warn", [`Count for '${label}' does not exist`]);
  },

  time(label = "default") {
    if (starts.has(`${label}`)) return say("warn", [`Label '${label}' already exists for console.time()`]);
    labelled(starts, `${label}`, clock());
  },

  timeLog(label = "default", ...args) {
    elapsed(`${label}`, args);
  },

  timeEnd(label = "default") {
    elapsed(`${label}`, []);
    starts.delete(`${label}`);
  },

  group(...args) {
    if (args.length > 0) say("info", args);
    if (indent.length < 40) indent += "  ";
  },

  groupCollapsed: (...args) => console.group(...args),

  groupEnd() {
    indent = indent.slice(2);
  },
};
Object.defineProperty(console, Symbol.toStringTag, { value: "console", configurable: true });
