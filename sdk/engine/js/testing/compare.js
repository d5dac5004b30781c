// Whether two values are the same, and how they differ.
//
// Owns deep comparison and its texts. Invariant: it ends for every value, also for those that contain themselves. It does
// not know tests.

import { inspect } from "../web/inspect.js";

/** The most lines of a value that are compared one by one. */
const LINES_MAX = 400;
/** How many lines are shown before and after a difference. */
const AROUND = 2;
/** The longest text that stands on the line of its label. */
const SHORT = 100;

const HIDDEN = [Request, Response, Blob, ReadableStream, WritableStream, Promise, WeakMap, WeakSet];

/** Whether two values are the same in type and content. @param {any} a @param {any} b */
export function same(a, b) {
  return alike(a, b, new Map());
}

/** @param {any} a @param {any} b @param {Map<object, Set<object>>} met Pairs that are being compared. */
function alike(a, b, met) {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (met.get(a)?.has(b)) return true;
  met.set(a, (met.get(a) ?? new Set()).add(b));
  if (a instanceof Date) return Object.is(a.getTime(), b.getTime());
  if (a instanceof RegExp) return String(a) === String(b);
  if (a instanceof Error) return a.name === b.name && a.message === b.message && alike(a.cause, b.cause, met);
  if (a instanceof Map) return alikeMaps(a, b, met);
  if (a instanceof Set) return a.size === b.size && [...a].every((item) => b.has(item) || hasAlike(b, item, met));
  if (a instanceof ArrayBuffer) return alike(new Uint8Array(a), new Uint8Array(b), met);
  if (a instanceof URL || a instanceof URLSearchParams) return String(a) === String(b);
  if (a instanceof Headers || a instanceof FormData) return alike([...a], [...b], met);
  // What they hold cannot be seen.
  if (HIDDEN.some((type) => a instanceof type)) return false;
  const keys = Reflect.ownKeys(a);
  const others = Reflect.ownKeys(b);
  return keys.length === others.length && keys.every((key) => Object.hasOwn(b, key) && alike(a[key], b[key], met));
}

function alikeMaps(a, b, met) {
  return a.size === b.size && [...a].every(([key, value]) => b.has(key) && alike(value, b.get(key), met));
}

function hasAlike(set, wanted, met) {
  for (const item of set) if (alike(item, wanted, met)) return true;
  return false;
}

/** A value as text, whole. @param {unknown} value */
export function show(value) {
  return inspect(value, { depth: null });
}

/** What was expected and what came, line by line if they are long. @param {unknown} actual @param {unknown} expected */
export function difference(actual, expected) {
  const [came, wanted] = [show(actual), show(expected)];
  if (came === wanted) return `\n  both look like this: ${came}`;
  const short = (text) => !text.includes("\n") && text.length <= SHORT;
  if (short(came) && short(wanted)) return `\n  expected: ${wanted}\n  received: ${came}`;
  return `\n  - expected\n  + received\n${lines(spread(wanted, expected), spread(came, actual))}`;
}

/** A value in lines: one for each item of a list, and for each property. */
function spread(text, value) {
  const inner = (/** @type {string} */ item) => `${item},`.split("\n").map((line) => `  ${line}`);
  if (Array.isArray(value)) return ["[", ...value.flatMap((item) => inner(show(item))), "]"];
  const isPlain = typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
  if (!isPlain || Object.keys(value).length === 0) return text.split("\n");
  return ["{", ...Object.keys(value).flatMap((key) => inner(`${key}: ${show(value[key])}`)), "}"];
}

/** Leaves out lines that both have, but for those around a difference. @param {string[]} marked */
function near(marked) {
  const shown = new Set();
  marked.forEach((line, at) => {
    if (line.startsWith(" ")) return;
    for (let around = at - AROUND; around <= at + AROUND; around++) shown.add(around);
  });
  const kept = marked.map((line, at) => (shown.has(at) ? `  ${line}` : null));
  return kept.map((line, at) => line ?? (kept[at - 1] === null ? null : "    ...")).filter((line) => line !== null).join("\n");
}

/** The lines of two texts, each with the mark of the one that has it. @param {string[]} before @param {string[]} after */
function lines(before, after) {
  const marked = [];
  if (before.length > LINES_MAX || after.length > LINES_MAX) {
    marked.push(...before.slice(0, LINES_MAX).map((line) => `- ${line}`));
    marked.push(...after.slice(0, LINES_MAX).map((line) => `+ ${line}`));
    return near(marked);
  }
  // The longest common sequence of lines of the rest, for each pair of positions.
  const common = Array.from({ length: before.length + 1 }, () => new Uint16Array(after.length + 1));
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      common[i][j] = before[i] === after[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  let i = 0;
  let j = 0;
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      marked.push(`  ${before[i++]}`);
      j++;
    } else if (j >= after.length || (i < before.length && common[i + 1][j] >= common[i][j + 1])) {
      marked.push(`- ${before[i++]}`);
    } else {
      marked.push(`+ ${after[j++]}`);
    }
  }
  return near(marked);
}
