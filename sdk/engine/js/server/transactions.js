// The transactions of a turn.
//
// Owns the stack of marks. A mark is a savepoint of the host, whose end ends those made after it, also when the
// functions that made them end in another order. Invariant: no mark is open between two turns. It does not know what a
// transaction does.

import * as native from "room:native";
import * as undone from "./undone.js";

/** @typedef {{savepoint: number, open: boolean, finished: boolean, undone: Error | null, wanted: boolean, before: undone.Point, reject: (error: Error) => void}} Mark */

/** The open marks, the outermost first. @type {Mark[]} */
const marks = [];

/** Begins a transaction. @returns {Mark} */
export function open() {
  const before = undone.point();
  const mark = { savepoint: native.savepoint(), open: true, finished: false, undone: null, wanted: false, before, reject() {} };
  marks.push(mark);
  return mark;
}

/** Keeps what a transaction did, unless it was undone meanwhile: then it throws. @param {Mark} mark */
export function closed(mark) {
  if (mark.undone !== null) {
    if (mark.wanted) return;
    throw mark.undone;
  }
  mark.finished = true;
  // One inside is still at work: the mark ends with it.
  while (marks.length > 0 && marks[marks.length - 1].finished) {
    const last = /** @type {Mark} */ (marks.pop());
    native.release(last.savepoint);
    last.open = false;
  }
}

/** Undoes what a transaction did, and those that began in it. @param {Mark} mark */
export function undo(mark) {
  if (!mark.open) return;
  native.rollBack(mark.savepoint);
  end(marks.indexOf(mark), new Error("the transaction around this one was undone"));
  undone.restore(mark.before);
}

/** The turn ends: a transaction that waits for something else is undone. Returns whether one was. */
export function endOfTurn() {
  if (marks.length === 0) return false;
  const { savepoint, before } = marks[0];
  native.rollBack(savepoint);
  end(
    0,
    new Error(
      "the transaction was undone: it waited for an event, and a transaction ends with its turn. " +
        "Await fetch() and timers before it, and only the storage in it",
    ),
  );
  undone.restore(before);
  return true;
}

/** The host undid or ended all savepoints. */
export function dropped() {
  end(0, new Error("the transaction was undone: its turn failed"));
}

/** @param {number} from @param {Error} why */
function end(from, why) {
  for (const mark of marks.splice(from)) {
    mark.open = false;
    mark.undone = why;
    mark.reject(why);
  }
}
