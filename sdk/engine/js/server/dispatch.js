// What the engine calls.
//
// Owns the three steps of an event: `enter` (`message` for a message, the event of which there are most), the jobs, which
// the engine runs, and `leave`. Invariant: `enter` does not
// throw; whatever an event throws leaves by `leave`. It does not know what events are.
//
// - `enter` returns true if the event is complete. If jobs were left to run all the same, `leave` must be called after
//   them, as after false.
// - `leave` returns false if the jobs must run and `leave` be called again: events that waited run then, each as a part
//   of the turn that can be undone alone. Otherwise it returns what the event returns.

import { prepare } from "./ahead.js";
import * as events from "./events.js";
import { choose } from "./load.js";
import { Handler } from "./handler.js";
import * as turns from "./turns.js";

/** Chooses the room among the exports of the author's module. @param {any} namespace @param {string} [name] */
function load(namespace, name) {
  events.use(choose(namespace, name));
}

/** @param {string} kind What the event has beside it depends on its kind. @returns {boolean} */
function enter(kind, a, b, c, d) {
  try {
    events.enter(kind, a, b, c, d);
  } catch (error) {
    turns.failed(new Handler(kind, "nothing"), error);
  }
  return false;
}

export default {
  prepare,
  load,
  enter,
  message: events.message,
  leave: turns.leave,
  rejected: turns.rejected,
  evaluated: turns.evaluated,
};
