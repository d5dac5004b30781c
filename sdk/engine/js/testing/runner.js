// The tests of a file, and the one that runs.
//
// Owns what is declared, and what a test's end is. Invariant: a test passes if it ends, nothing was thrown, no promise was
// rejected without a handler, and no turn of its rooms failed without the test looking at it. It does not know rooms but for
// their errors.

import { reset } from "./response.js";

/** @typedef {{name: string, outer: Group | null, before: Function[], after: Function[]}} Group */

/** @type {Group} */
const file = { name: "", outer: null, before: [], after: [] };
/** Where declarations go now. */
let group = file;
/** @type {{name: string, group: Group, body: Function}[]} */
const tests = [];
/** @type {{ended: boolean, error?: unknown, failed: boolean} | null} */
let running = null;
/** Promises that are rejected, and that nobody handles. @type {Map<Promise<unknown>, unknown>} */
const rejections = new Map();
/** What tells the errors of the rooms that there are. @type {(() => string[])[]} */
let watched = [];

const NEVER =
  "the test awaits something that never settles: rooms answer at once, and their clocks stand still until room.advance(); " +
  "a request whose room waits for fetch() or another room is answered after room.fetches()[0].respond(…)";

/** How many causes of an error are shown. */
const CAUSES_MAX = 4;

function declaring(what) {
  if (running !== null) throw new Error(`${what} is for the top level of the file and for describe(), not for a running test`);
}

/** @param {any} name @param {any} body @param {string} what */
function named(name, body, what) {
  if (typeof name !== "string" || name.trim() === "") throw new TypeError(`${what} needs a name`);
  if (typeof body !== "function") throw new TypeError(`${what} ${JSON.stringify(name)} needs a function`);
}

/** @param {string} name @param {() => unknown} body */
export function test(name, body) {
  declaring("test()");
  named(name, body, "test()");
  tests.push({ name: pathOf(group, name), group, body });
}

/** @param {string} name @param {() => void} body */
export function describe(name, body) {
  declaring("describe()");
  named(name, body, "describe()");
  const outer = group;
  group = { name: pathOf(outer, name), outer, before: [], after: [] };
  try {
    const returned = body();
    if (typeof returned?.then === "function") throw new TypeError(`describe() ${JSON.stringify(name)} must not be async`);
  } finally {
    group = outer;
  }
}

/** @param {() => unknown} body */
export function beforeEach(body) {
  declaring("beforeEach()");
  group.before.push(body);
}

/** @param {() => unknown} body */
export function afterEach(body) {
  declaring("afterEach()");
  group.after.push(body);
}

/** @param {Group} outer @param {string} name */
function pathOf(outer, name) {
  return outer.name === "" ? name : `${outer.name} > ${name}`;
}

/** The errors of a room are looked at when a test ends. @param {() => string[]} errors */
export function watch(errors) {
  watched.push(errors);
}

/** Something failed that nobody awaits: the test fails with it. @param {unknown} error */
export function fail(error) {
  if (running !== null && !running.failed) Object.assign(running, { failed: true, error });
}

/** @param {Group} within @returns {Group[]} From the outermost on. */
function groups(within) {
  return within.outer === null ? [within] : [...groups(within.outer), within];
}

async function execute({ group: within, body }) {
  const all = groups(within);
  try {
    for (const { before } of all) for (const hook of before) await hook();
    await body();
  } finally {
    for (const { after } of all.reverse()) for (const hook of after) await hook();
  }
}

/** @param {number} index */
function run(index) {
  const kept = watched;
  watched = [...kept];
  rejections.clear();
  reset();
  const mine = { ended: false, failed: false, kept };
  running = mine;
  execute(tests[index]).then(
    () => void (mine.ended = true),
    (error) => {
      mine.ended = true;
      if (!mine.failed) Object.assign(mine, { failed: true, error });
    },
  );
}

/** How the test that ran ended: nothing if it passed. @returns {{text?: string, stack?: string}} */
function outcome() {
  const mine = running;
  running = null;
  const errors = watched.flatMap((take) => take());
  watched = mine.kept;
  const failure = failureOf(mine);
  if (errors.length === 0) return failure ?? {};
  const list = errors.map((error) => error.replaceAll("\n", "\n    ")).join("\n  ");
  if (failure === null) {
    const what = "a turn failed, and the test did not look at its error (room.takeErrors() takes it)";
    return { text: `${what}:\n  ${list}` };
  }
  return { ...failure, text: `${failure.text}\nand these turns failed:\n  ${list}` };
}

function failureOf({ ended, failed, error }) {
  if (failed) return told(error, "");
  const [rejection] = rejections.values();
  if (rejections.size > 0) return told(rejection, "a promise was rejected, and nobody handles it: ");
  return ended ? null : { text: NEVER, stack: "" };
}

/** @param {any} error @param {string} before @param {number} [depth] */
function told(error, before, depth = 0) {
  if (!(error instanceof Error)) return { text: `${before}a value that is not an Error was thrown: ${String(error)}`, stack: "" };
  const head = error.name === "AssertionError" ? error.message : `${error.name}: ${error.message}`;
  const isDeep = error.cause === undefined || depth === CAUSES_MAX;
  const cause = isDeep ? "" : `\ncaused by: ${told(error.cause, "", depth + 1).text}`;
  return { text: before + head + cause, stack: typeof error.stack === "string" ? error.stack : "" };
}

export default {
  names: () => tests.map(({ name }) => name),
  run,
  outcome,
  /** A promise was rejected, or its rejection is handled after all. */
  rejected(promise, reason, handled) {
    if (handled) rejections.delete(promise);
    else rejections.set(promise, reason);
  },
};
